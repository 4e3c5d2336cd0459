"""The embedded cluster for real, as instance 7 so that the one in daily use stays up. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_cluster import record
from millrace_cluster.cluster import Kubectl, bind_kubectl

pytestmark = pytest.mark.e2e

TOOL = Path(record.__file__).resolve().parents[1]
STATE = Path("/var/cache/millrace-cluster7")
ENVIRONMENT = {**os.environ, "MILLRACE_CLUSTER": "embedded", "MILLRACE_CLUSTER_INSTANCE": "7"}
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def run(*arguments: str, tool: Path = TOOL, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The tool's command line, as a user runs it."""
    done = subprocess.run(
        [sys.executable, str(tool), *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def read(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def traces() -> dict[str, set[str]]:
    """What a cluster could leave behind on this machine."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    rules = [*read("iptables-save"), *read("ip6tables-save")]
    settings = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {
        # Image builds elsewhere on the machine come and go; they are overlays outside the state directory.
        "mounts": {line for line in mounts if line.split()[2] != "overlay" or str(STATE) in line},
        "links": {line.split()[0] for line in read("ip", "-brief", "link")},
        "routes": set(read("ip", "route", "show", "table", "all")),
        "network namespaces": set(read("ip", "netns")),
        "rules": {
            line.split(" [")[0] for line in rules if line.startswith("-A") or (line.startswith(":") and " - " in line)
        },
        "hosts": set(Path("/etc/hosts").read_text().splitlines()),
        # Pods of another cluster come and go, and a walk passes over what has just gone.
        "control groups": {path for path, _, _ in os.walk("/sys/fs/cgroup") if Path(path).name == "millrace7"},
        "settings": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in settings},
        "directories": {
            str(path) for path in (*Path("/var/cache").iterdir(), *Path("/var/lib").iterdir(), *Path("/run").iterdir())
        },
    }


def members(namespaces: set[str]) -> list[int]:
    """Processes inside any of the given namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = {str((process / "ns" / kind).readlink()) for kind in ("pid", "net", "mnt")}
        except OSError:
            continue
        if inside & namespaces:
            found.append(int(process.name))
    return found


def daemon(name: str) -> int:
    """Process id of one of the cluster's daemons."""
    node = record.read_process(STATE / "node.pid")
    assert node
    for process in node.descendants():
        if Path(f"/proc/{process.pid}/comm").read_text().strip() == name:
            return process.pid
    raise AssertionError(f"{name} does not run")


def eventually(seconds: float, condition):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module", autouse=True)
def _removed_afterwards() -> Iterator[None]:
    run("down")
    yield
    run("down")


@pytest.fixture
def kubectl() -> Kubectl:
    run("up")
    return bound()


def bound() -> Kubectl:
    """What runs kubectl on the cluster that is up."""
    program = Path(run("binaries", "kubectl").stdout.strip())
    return bind_kubectl(program, Path(run("kubeconfig").stdout.strip()))


def pod(name: str, script: str, **extra: object) -> dict[str, object]:
    container = {
        "name": "main",
        "image": "localhost/busybox:1",
        "command": ["sh", "-c", script],
        "securityContext": CONFINED,
    }
    mounts = extra.pop("mounts", [])
    specification = {
        "restartPolicy": "Never",
        "securityContext": {**RESTRICTED, "fsGroup": 65532},
        "terminationGracePeriodSeconds": 0,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {**specification, "containers": [{**container, "volumeMounts": mounts}], **extra},
    }


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace under the `restricted` Pod Security level."""
    name = f"test-{time.monotonic_ns()}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("create", "--filename=-", stdin=json.dumps(manifest))
    kubectl("--namespace", name, "wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def create(kubectl: Kubectl, namespace: str, *objects: dict[str, object]) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl("--namespace", namespace, "apply", "--filename=-", stdin=json.dumps(document))


def output_of(kubectl: Kubectl, namespace: str, name: str) -> list[str]:
    """What a pod printed, once it has ended."""

    def ended() -> bool:
        return kubectl("-n", namespace, "get", "pod", name, "--output=jsonpath={.status.phase}").stdout in (
            "Succeeded",
            "Failed",
        )

    eventually(60, ended)
    return kubectl("-n", namespace, "logs", name).stdout.splitlines()


def test_down_leaves_no_trace_of_a_cluster_that_ran_pods():
    run("down")
    before = traces()
    run("up")
    kubectl = bound()
    create(kubectl, "default", pod("busy", "sleep 600"))
    kubectl("wait", "pod/busy", "--for=condition=Ready", "--timeout=60s")
    node = record.read_process(STATE / "node.pid")
    assert node
    namespaces = {str(Path(f"/proc/{node.pid}/ns/{kind}").readlink()) for kind in ("pid", "net", "mnt")}
    assert len(members(namespaces)) > 9
    assert traces() != before
    run("down")
    after = traces()
    assert {kind: after[kind] - before[kind] for kind in before} == {kind: set() for kind in before}
    assert {kind: before[kind] - after[kind] for kind in before} == {kind: set() for kind in before}
    assert members(namespaces) == []
    assert not record.read_process(STATE / "machine.pid")


def test_up_finds_the_healthy_cluster_again(kubectl: Kubectl):
    node = record.read_process(STATE / "node.pid")
    began = time.monotonic()
    assert "already up" in run("up").stderr
    assert time.monotonic() - began < 10
    assert record.read_process(STATE / "node.pid") == node
    assert "state:      up" in run("status").stdout


def test_a_restricted_pod_has_a_volume_a_token_and_cluster_names(kubectl: Kubectl, namespace: str):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    script = (
        "nslookup -type=a kubernetes.default.svc.cluster.local && touch /data/written && id -u"
        " && test -s /var/run/secrets/kubernetes.io/serviceaccount/token"
        " && nc -w 5 kubernetes.default.svc.cluster.local 443 </dev/null && echo all"
    )
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    mounts = [{"name": "data", "mountPath": "/data"}]
    create(kubectl, namespace, claim, pod("one", script, volumes=[volume], mounts=mounts))
    lines = output_of(kubectl, namespace, "one")
    assert lines[-2:] == ["65532", "all"]
    assert any((path / "written").exists() for path in (STATE / "node/var-lib/millrace-volumes").iterdir())


def test_released_volumes_are_emptied_and_offered_again(kubectl: Kubectl, namespace: str):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    create(kubectl, namespace, claim)
    kubectl("-n", namespace, "wait", "pvc/data", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s")
    volume = kubectl("-n", namespace, "get", "pvc", "data", "--output=jsonpath={.spec.volumeName}").stdout
    kubectl("-n", namespace, "delete", "pvc", "data")
    kubectl("wait", f"pv/{volume}", "--for=jsonpath={.status.phase}=Released", "--timeout=30s")
    run("up")
    kubectl("wait", f"pv/{volume}", "--for=jsonpath={.status.phase}=Available", "--timeout=30s")


def test_a_service_answers_from_the_machine_by_every_way_in(kubectl: Kubectl, namespace: str):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"name": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    script = "echo hello >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    server = pod("web", script, volumes=[{"name": "tmp", "emptyDir": {}}],
                 mounts=[{"name": "tmp", "mountPath": "/tmp"}])  # fmt: skip
    create(kubectl, namespace, service, server)
    kubectl("-n", namespace, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    seen = json.loads(kubectl("-n", namespace, "get", "service", "web", "--output=json").stdout)["spec"]
    node = run("status").stdout.split("node:")[1].strip()
    assert fetch(seen["clusterIP"], 80) == "hello\n"
    assert fetch(node, seen["ports"][0]["nodePort"]) == "hello\n"
    assert kubectl("-n", namespace, "exec", "web", "--", "cat", "/tmp/index.html").stdout == "hello\n"
    forward = [str(kubectl), f"--kubeconfig={kubectl.kubeconfig}", "-n", namespace, "port-forward", "pod/web", ":8080"]
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as forwarder:
        assert forwarder.stdout is not None
        port = int(forwarder.stdout.readline().split(" -> ")[0].rpartition(":")[2])
        answer = fetch("127.0.0.1", port)
        forwarder.kill()
    assert answer == "hello\n"


def fetch(host: str, port: int) -> str:
    """Body of `GET /index.html`. kube-proxy may need a moment for a new service."""

    def attempt() -> str:
        try:
            with socket.create_connection((host, port), timeout=2) as connection:
                connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                with connection.makefile("rb") as reader:
                    return reader.read().partition(b"\r\n\r\n")[2].decode()
        except OSError:
            return ""

    return str(eventually(10, attempt))


def test_a_changed_config_map_reaches_the_pod_at_once_when_the_pod_is_annotated(kubectl: Kubectl, namespace: str):
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"value": "old"}}
    reader = pod("reader", "sleep 600", volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
                 mounts=[{"name": "settings", "mountPath": "/settings"}])  # fmt: skip
    create(kubectl, namespace, settings, reader)
    kubectl("-n", namespace, "wait", "pod/reader", "--for=condition=Ready", "--timeout=60s")
    uid = kubectl("-n", namespace, "get", "pod", "reader", "--output=jsonpath={.metadata.uid}").stdout
    mounted = STATE / f"node/var-lib/kubelet/pods/{uid}/volumes/kubernetes.io~configmap/settings/value"
    assert mounted.read_text() == "old"
    kubectl("-n", namespace, "patch", "configmap", "settings", "--type=merge", '--patch={"data":{"value":"new"}}')
    kubectl("-n", namespace, "annotate", "pod", "reader", "millrace.dev/config-hash=new")
    eventually(3, lambda: mounted.read_text() == "new")


def test_a_pod_address_without_its_route_is_refused_and_not_sent_out(kubectl: Kubectl):
    # Without the rule the connection below would leave the machine; so look before trying.
    rules = read("iptables", "-S")
    assert any("-d 10.251.0.0/16 -j REJECT" in rule for rule in rules)
    assert {"-A OUTPUT -j MILLRACE-GUARD7", "-A FORWARD -j MILLRACE-GUARD7"} <= set(rules)
    subprocess.run(["ip", "route", "delete", "10.251.0.0/16"], check=True)
    try:
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("10.251.0.99", 80), timeout=5)
        assert time.monotonic() - began < 2
    finally:
        subprocess.run(["ip", "route", "add", "10.251.0.0/16", "via", "10.243.255.30", "dev", "millrace7"], check=True)


def test_pods_reach_the_machine_and_nothing_beyond_it(kubectl: Kubectl, namespace: str):
    with socket.create_server(("10.243.255.29", 0)) as server:

        def answer_once() -> None:
            server.accept()[0].close()

        threading.Thread(target=answer_once, daemon=True).start()
        script = (
            "nc -w 2 198.51.100.1 80 </dev/null; echo outside $?;"
            f" nc -w 2 host.millrace.internal {server.getsockname()[1]} </dev/null; echo machine $?;"
            " nslookup -type=a example.com; echo outside name $?"
        )
        create(kubectl, namespace, pod("probe", script))
        lines = output_of(kubectl, namespace, "probe")
    assert [line for line in lines if line.startswith(("outside", "machine"))] == [
        "outside 1",
        "machine 0",
        "outside name 1",
    ]


@pytest.mark.parametrize("victim", ["etcd", "kubelet", "containerd"])
def test_up_replaces_a_cluster_that_lost_a_daemon(kubectl: Kubectl, victim: str):
    node = record.read_process(STATE / "node.pid")
    os.kill(daemon(victim), signal.SIGKILL)
    status = eventually(10, lambda: None if (now := run("status", check=False)).returncode == 0 else now)
    assert f"{victim} was killed by signal 9" in status.stdout
    run("up")
    assert record.read_process(STATE / "node.pid") not in (None, node)
    assert kubectl("get", "--raw=/readyz").stdout == "ok"


def test_up_from_another_checkout_replaces_the_cluster_and_so_does_the_first_again(kubectl: Kubectl, tmp_path: Path):
    other = tmp_path / "checkout" / "tests" / "cluster"
    shutil.copytree(TOOL, other)
    run("up", tool=other)
    assert f"owner:      {tmp_path / 'checkout'}" in run("status", tool=other).stdout
    assert "removing the cluster of" in run("up").stderr
    assert str(tmp_path) not in run("status").stdout


def test_up_recovers_when_the_node_died_and_its_record_is_gone(kubectl: Kubectl):
    node = record.read_process(STATE / "node.pid")
    assert node
    node.kill()
    assert record.await_end([node], 10) == []
    shutil.rmtree(STATE)
    run("up")
    assert kubectl("get", "--raw=/readyz").stdout == "ok"


def test_up_recovers_when_only_the_record_is_gone(kubectl: Kubectl):
    node = record.read_process(STATE / "node.pid")
    assert node
    for name in ("owner.json", "machine.pid", "node.pid"):
        (STATE / name).unlink()
    run("up")
    assert not node.alive()


def test_up_recovers_from_an_up_that_was_killed():
    run("down")
    with subprocess.Popen([sys.executable, str(TOOL), "up"], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as starting:
        eventually(30, lambda: record.read_process(STATE / "node.pid"))
        starting.kill()
    assert run("status", check=False).returncode == 1
    run("up")
    assert "state:      up" in run("status").stdout


def test_an_interrupted_up_leaves_nothing():
    run("down")
    # What a shell starts in the background ignores an interrupt, and so does all that it starts.
    command = ["env", "--default-signal=INT", sys.executable, str(TOOL), "up"]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as starting:
        eventually(30, lambda: record.read_process(STATE / "node.pid"))
        starting.send_signal(signal.SIGINT)
        assert starting.wait(30) == 130
    assert not STATE.exists()
    assert "millrace7" not in "".join(read("ip", "-brief", "link"))


def test_down_of_nothing_is_harmless():
    run("down")
    assert "there was no cluster to remove" in run("down").stderr
