"""A control plane alone: etcd and kube-apiserver on free loopback ports, in one temporary directory, unprivileged.

For tests of an API (schemas, CEL rules, admission policies, RBAC, leases) that need no pod to run:

    with ControlPlane(tmp_path, users={"alice": ["dev"], "bob": ["approvers"]}) as cp:
        cp.kubectl("apply", "-f", "crds/")
        cp.kubectl("get", "models", user="alice")
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import time
import types
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from millrace_cluster import binaries, certificates, evidence, kubeconfig, ports
from millrace_cluster.failure import ClusterError

ADMIN = "admin"
_START_SECONDS = 60.0
_ATTEMPTS = 3


class ControlPlane:
    """etcd + kube-apiserver (+ kube-controller-manager when asked), stopped when the block ends or the parent dies.

    `users` maps a user name to its groups; `admin` (group system:masters) always exists. RBAC is on. Without the
    controller manager nothing runs, deletes owned objects or creates the `default` ServiceAccount, so the
    ServiceAccount admission plugin is off then and pods can still be created to look at.
    """

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, Sequence[str]] | None = None,
        *,
        controller_manager: bool = False,
        apiserver_flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self._groups = {ADMIN: ["system:masters"], **{user: list(groups) for user, groups in (users or {}).items()}}
        self._tokens = {user: secrets.token_hex(16) for user in self._groups}
        self._controller_manager = controller_manager
        self._flags = list(apiserver_flags)
        # Memory is cheaper here than the processor time that goes into collecting it.
        self._environment = {**os.environ, "GOGC": "400", **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = ""
        self.ca = self.directory / "pki" / "ca.crt"
        self.kubeconfig = self.directory / "kubeconfig"

    def __enter__(self) -> Self:
        programs = ["kube-apiserver", "etcd", "kubectl"] + ["kube-controller-manager"] * self._controller_manager
        self._programs = binaries.ensure(programs)
        self.directory.mkdir(parents=True, exist_ok=True)
        evidence.offer(self, lambda: evidence.logs(self.directory))
        self._prepare()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start()
                return self
            except BaseException as error:
                self.stop()
                # A port can be taken between choosing and binding it; any other failure repeats and is then reported.
                if attempt == _ATTEMPTS or not isinstance(error, ClusterError):
                    raise
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()

    def token(self, user: str = ADMIN) -> str:
        """The bearer token of `user`."""
        return self._tokens[user]

    def kubectl(
        self, *arguments: str, user: str = ADMIN, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as `user`. With `check`, a failure raises ClusterError carrying kubectl's own message."""
        command = [str(self._programs["kubectl"]), f"--kubeconfig={self.kubeconfig}", f"--context={user}",
                   f"--cache-dir={self.directory / 'discovery' / user}", *arguments]  # fmt: skip
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed", (done.stderr or done.stdout).strip())
        return done

    def kubeconfig_for(self, user: str) -> Path:
        """A kubeconfig file whose only user is `user`."""
        credential = {user: {"token": self._tokens[user]}}
        return kubeconfig.write(self.directory / f"kubeconfig-{user}", self.url, self.ca, credential)

    def restart_controller_manager(self, *flags: str) -> None:
        """Kill it and start it again with further flags. It then collects garbage of kinds that were installed
        meanwhile at once, not after the up to 30 s between its looks for new kinds.
        """
        process = self._processes.pop("kube-controller-manager")
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._spawn_controller_manager(*flags)

    def stop(self) -> None:
        """Kill what was started; the directory stays with its logs."""
        evidence.withdraw(self)
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def _prepare(self) -> None:
        authority = certificates.Authority(self.directory / "pki")
        self._serving = authority.issue(
            "apiserver", "/CN=kube-apiserver",
            ("IP:127.0.0.1", "IP:10.96.0.1", "DNS:localhost", "DNS:kubernetes.default.svc"))  # fmt: skip
        self._token_key = certificates.make_token_key(self.directory / "pki" / "tokens.key")
        lines = [f'{self._tokens[user]},{user},{user},"{",".join(groups)}"' for user, groups in self._groups.items()]
        self._token_file = self.directory / "tokens.csv"
        self._token_file.write_text("\n".join(lines) + "\n")

    def _start(self) -> None:
        client, peer, secure = ports.free_ports(3)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        self.url = f"https://127.0.0.1:{secure}"
        users = {user: {"token": token} for user, token in self._tokens.items()}
        kubeconfig.write(self.kubeconfig, self.url, self.ca, users)
        self._spawn("etcd", f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls=http://127.0.0.1:{client}",
                    f"--advertise-client-urls=http://127.0.0.1:{client}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync", "--log-level=warn")  # fmt: skip
        disabled = [] if self._controller_manager else ["--disable-admission-plugins=ServiceAccount"]
        self._spawn(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={secure}", "--authorization-mode=RBAC",
            f"--tls-cert-file={self._serving[0]}", f"--tls-private-key-file={self._serving[1]}",
            f"--token-auth-file={self._token_file}", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={self._token_key}",
            f"--service-account-signing-key-file={self._token_key}", "--allow-privileged=true",
            # Clients here come in bursts on few cores; fairness queues only add waiting.
            "--enable-priority-and-fairness=false", *disabled, *self._flags)  # fmt: skip
        self._await_ready()
        if self._controller_manager:  # it gives up on an API server that takes long to start
            self._spawn_controller_manager()

    def _spawn_controller_manager(self, *flags: str) -> None:
        self._spawn(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0",
            "--use-service-account-credentials=false", f"--service-account-private-key-file={self._token_key}",
            f"--root-ca-file={self.ca}", *flags)  # fmt: skip

    def _spawn(self, program: str, *flags: str) -> None:
        guard = shutil.which("setpriv")
        # Should the test run be killed, the kernel ends its control plane with it.
        prefix = [guard, "--pdeathsig", "KILL"] if guard else []
        with (self.directory / f"{program}.log").open("wb") as log:
            self._processes[program] = subprocess.Popen(
                [*prefix, str(self._programs[program]), *flags], env=self._environment, cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip

    def _await_ready(self) -> None:
        trusted = ssl.create_default_context(cafile=str(self.ca))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))  # fmt: skip
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token()}"})
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), opener.open(request, timeout=5):
                return
            for program, process in self._processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"{program} exited {process.returncode} while starting",
                                       self._last_lines(program), f"cat {self.directory / program}.log")  # fmt: skip
            time.sleep(0.1)
        raise ClusterError(f"kube-apiserver was not ready within {_START_SECONDS:.0f} s",
                           self._last_lines("kube-apiserver"), f"cat {self.directory}/kube-apiserver.log")  # fmt: skip

    def _last_lines(self, program: str) -> str:
        return "\n".join((self.directory / f"{program}.log").read_text(errors="replace").splitlines()[-6:])
