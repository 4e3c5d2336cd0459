"""The embedded cluster: a single-node Kubernetes of real components, in namespaces of its own on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from millrace_cluster import (
    addresses,
    binaries,
    console,
    hostnet,
    kernel,
    layout,
    prerequisites,
    record,
    removal,
    volumes,
)
from millrace_cluster.cluster import Cluster, bind_kubectl
from millrace_cluster.failure import ClusterError

STATE = addresses.STATE
CHECKOUT = Path(__file__).resolve().parents[3]
_LOCK_NAME = f"\0millrace-cluster-{addresses.INSTANCE}"
_LOCK_SECONDS = 300.0
_START_SECONDS = 90.0


def up() -> Cluster:
    """Bring this checkout's cluster up, or return the one already up; anything else left behind is replaced."""
    prerequisites.check()
    programs = binaries.ensure(binaries.NODE_PROGRAMS)
    with _exclusive():
        owner = record.read_owner(STATE / "owner.json")
        mark = fingerprint()
        if owner and (owner.checkout, owner.fingerprint) == (str(CHECKOUT), mark) and not find_fault():
            console.say("  ok   the cluster is already up")
            cluster = describe()
            recycle_volumes(cluster)
            return cluster
        if removal.remains():
            with console.step(f"removing the cluster of {owner.checkout if owner else 'an interrupted run'}"):
                removal.remove()
        conflict = hostnet.find_conflict()
        if conflict:
            raise ClusterError("this machine already routes addresses the embedded cluster uses", conflict,
                               "MILLRACE_CLUSTER=kubeconfig MILLRACE_KUBECONFIG=<file> python tests/cluster up",
                               exit_code=2)  # fmt: skip
        try:
            return _create(programs, mark)
        except BaseException as error:
            _keep_logs()
            with contextlib.suppress(ClusterError):
                removal.remove()
            if isinstance(error, subprocess.CalledProcessError):
                raise ClusterError("the cluster did not start", str(error), "python tests/cluster up") from error
            raise


def down() -> bool:
    """Remove the embedded cluster, whoever started it. False when there was none."""
    if os.geteuid() != 0 and removal.remains():
        again = "sudo python tests/cluster down"
        raise ClusterError(
            "the embedded cluster was started by root", "it has to be removed by root", again, exit_code=2
        )
    if os.geteuid() != 0:
        return False
    with _exclusive():
        found = removal.remains()
        if found:
            with console.step("removing the cluster"):
                removal.remove()
        else:
            removal.remove()
        return found


def describe() -> Cluster:
    """The embedded cluster that is up."""
    path = STATE / "kubeconfig"
    kubectl = bind_kubectl(binaries.path_of("kubectl"), path)
    return Cluster("embedded", path, kubectl, "localhost/", addresses.NODE_IP, load_image)


def fingerprint() -> str:
    """Changes when a program or the node's configuration changes."""
    here = Path(__file__).parent
    parts = [str(binaries.path_of(program)) for program in binaries.NODE_PROGRAMS]
    parts += [(here / name).read_text() for name in ("addresses.py", "daemons.py", "nodefiles.py", "machine.py")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def find_fault() -> str | None:
    """What is wrong with the recorded cluster, or None when it works."""
    if record.read_process(STATE / "machine.pid") is None or record.read_process(STATE / "node.pid") is None:
        return "the node is not running"
    dead = exited()
    if dead:
        return dead
    if not os.access(STATE / "kubeconfig", os.R_OK):
        return "its files are for root only"
    if not binaries.path_of("kubectl").exists():
        return f"kubectl is not in {binaries.cache()}"
    if not _api_answers():
        return "the API server does not answer"
    return None if _node_ready() else "the node is not Ready"


def exited() -> str | None:
    """The first daemon that has ended, with the end of its log, or None."""
    with contextlib.suppress(OSError):
        for line in (STATE / "exits").read_text().splitlines():
            name, status = line.split()
            ending = f"was killed by signal {status[1:]}" if status.startswith("-") else f"exited {status}"
            log = STATE / "logs" / f"{name}.log"
            tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
            return "\n        ".join([f"{name} {ending}", *tail])
    return None


def load_image(archive: Path) -> list[str]:
    """Import a docker or OCI archive into the node; return the names in it."""
    node = record.read_process(STATE / "node.pid")
    if node is None:
        raise ClusterError("the embedded cluster is not up", "", "python tests/cluster up")
    done = subprocess.run(layout.import_command(STATE, node.pid, archive), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"importing {archive} failed", done.stderr.strip()[-600:])
    return list(dict.fromkeys(re.findall(r"^unpacking (\S+)", done.stdout, re.MULTILINE)))


def recycle_volumes(cluster: Cluster) -> None:
    """Empty the volumes whose claims are gone and offer them again."""
    names = volumes.released(cluster.kubectl("get", "persistentvolumes", "--output=json").stdout)
    if not names:
        return
    cluster.kubectl("delete", "persistentvolumes", *names)
    for name in names:
        volumes.make_directory(layout.volumes_on_host(STATE) / name)
    _apply(cluster, volumes.manifests(layout.VOLUMES))


def _create(programs: dict[str, Path], mark: str) -> Cluster:
    listener = _listen()
    port = int(listener.getsockname()[1])
    with console.step("writing certificates and configuration"):
        STATE.mkdir(parents=True, mode=0o755)
        record.Owner(str(CHECKOUT), mark, port).write(STATE / "owner.json")
        kernel.save_settings(STATE / "settings.json")
        layout.write(STATE, programs, port)
    with console.step("starting etcd and kube-apiserver"):
        kernel.make_cgroups()
        _start_machine(listener)
        _await("the API server did not become ready", _api_answers)
    cluster = describe()
    with console.step("starting the node"):
        _await("containerd did not start", _has_containerd)
        _apply(cluster, volumes.manifests(layout.VOLUMES))
        _await("the sandbox image could not be loaded", _load_sandbox)
        _await("the node did not become Ready", _node_ready)
    with console.step("starting cluster DNS and services"):
        _await("cluster DNS does not answer", _dns_answers)
        _await("the service network does not answer", _services_answer)
        _await("no ServiceAccount is made", lambda: _kubectl("get", "serviceaccount", "default").returncode == 0)
    return cluster


def _start_machine(listener: socket.socket) -> None:
    os.set_inheritable(listener.fileno(), True)
    command = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL",
               "--mount-proc", "--propagation", "private", "--", sys.executable, "-m", "millrace_cluster.machine",
               str(STATE), str(listener.fileno())]  # fmt: skip
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/root", "LANG": "C.UTF-8",
                   "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    with (STATE / "logs" / "machine.log").open("wb") as log:
        outer = subprocess.Popen(
            record.recording_command(STATE / "machine.pid", command), stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, pass_fds=[listener.fileno()], cwd="/", env=environment,
            start_new_session=True)  # fmt: skip
    listener.close()
    inner: list[record.Process] = []

    def forked() -> bool:
        running = record.read_process(STATE / "machine.pid")
        first = running.first_in_a_namespace() if running else None
        inner[:] = [first] if first else []
        return bool(inner)

    _await("the node's namespaces could not be made", forked)
    record.write_process(STATE / "node.pid", inner[0])
    hostnet.connect(inner[0].pid)
    outer.returncode = 0  # It outlives this program on purpose, and is found again by its record.


def _await(complaint: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        gone = exited()
        if not gone and (STATE / "node.pid").exists() and not record.read_process(STATE / "node.pid"):
            gone = "the node ended: " + (STATE / "logs" / "machine.log").read_text(errors="replace")[-600:]
        if gone or time.monotonic() > deadline:
            raise ClusterError(complaint, gone or f"waited {_START_SECONDS:.0f} s",
                               f"ls {binaries.cache() / 'last-failure'}")  # fmt: skip
        time.sleep(0.1)


def _kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return describe().kubectl("--request-timeout=5s", *arguments, check=False)


def _api_answers() -> bool:
    return _kubectl("get", "--raw=/readyz").returncode == 0


def _node_ready() -> bool:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return _kubectl("get", "node", addresses.NODE_NAME, "--output", path).stdout == "True"


def _in_node(*command: str) -> bool:
    node = record.read_process(STATE / "node.pid")
    if node is None:
        return False
    entered = layout.enter_command(node.pid, *command)
    return subprocess.run(entered, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0


def _has_containerd() -> bool:
    return _in_node("test", "-S", layout.CONTAINERD_SOCKET)


def _load_sandbox() -> bool:
    try:
        return bool(load_image(STATE / "files" / "busybox.tar"))
    except ClusterError:
        return False


def _dns_answers() -> bool:
    name = f"kubernetes.default.svc.{addresses.DNS_DOMAIN}"
    return _in_node("busybox", "nslookup", "-type=a", name, addresses.NODE_IP)


def _services_answer() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((addresses.API_SERVICE_IP, 443), timeout=0.5):
        return True
    return False


def _apply(cluster: Cluster, objects: list[dict[str, object]]) -> None:
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=millrace-cluster",
                    "--filename=-", stdin=document)  # fmt: skip


def _listen() -> socket.socket:
    for port in (addresses.PREFERRED_HOST_PORT, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            return listener
        listener.close()
    raise ClusterError("no TCP port is free on 127.0.0.1", "", "ss -ltn")


def _keep_logs() -> None:
    kept = binaries.cache() / "last-failure"
    with contextlib.suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
        for log in (STATE / "logs").glob("*.log"):
            (kept / log.name).write_bytes(log.read_bytes()[-200_000:])


@contextlib.contextmanager
def _exclusive() -> Iterator[None]:
    """One `up` or `down` at a time. The lock is an abstract socket: the kernel frees it, and no file is left."""
    deadline = time.monotonic() + _LOCK_SECONDS
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind(_LOCK_NAME)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ClusterError("another `up` or `down` is running", f"it has held on for {_LOCK_SECONDS:.0f} s",
                                       "python tests/cluster status") from None  # fmt: skip
                time.sleep(0.2)
        yield
