"""One API server with its controllers, a scheduler and fake nodes: pods start, and answer nothing.

Every client may ask as often as it likes: the limits of the controllers are raised, KWOK has none. Each operator under
measurement is a user of its own, and an audit log says who wrote what, when and with what answer.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from millrace.render import admission, roles
from millrace_cluster import binaries
from millrace_cluster.control_plane import ControlPlane
from millrace_cluster.failure import ClusterError
from millrace_kit.widgets import widget_definition
from millrace_scale import builds

ROOT = Path(__file__).resolve().parents[4]
NODES = 10
QPS, BURST = 2000, 4000
"""Limits of every client that has any."""
MAKER = "maker"
OURS = "millrace"
"""The user name of the operator as installed."""
WITNESS = "witness"
AUDIT: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "users": []},
        {"level": "None"},
    ],
}
STAGES = (
    "kustomize/stage/node/fast/node-initialize.yaml",
    "kustomize/stage/node/heartbeat/node-heartbeat.yaml",
    "kustomize/stage/pod/fast/pod-ready.yaml",
    "kustomize/stage/pod/fast/pod-delete.yaml",
)
"""What KWOK plays, from its own module. Pods of Jobs do not complete by themselves: what they say matters."""
ROLLOUTS_CRDS = ("rollout", "analysis-run", "analysis-template", "cluster-analysis-template", "experiment")


class Plane:
    """The control plane and everything around it, for operators that are users of these names."""

    def __init__(self, directory: Path, operators: Sequence[str]) -> None:
        self.directory = directory
        self.audit_log = directory / "audit.jsonl"
        self._operators = operators
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        policy = self.directory / "audit.yaml"
        self.directory.mkdir(parents=True, exist_ok=True)
        rules = [{**AUDIT["rules"][0], "users": [MAKER, *self._operators]}, AUDIT["rules"][1]]
        policy.write_text(yaml.safe_dump({**AUDIT, "rules": rules}))
        flags = [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=4096"]
        users = {MAKER: ["system:masters"], **{name: [] for name in self._operators}}
        with self._stack as stack:
            self.control = stack.enter_context(
                ControlPlane(self.directory / "plane", users, controller_manager=True, apiserver_flags=flags)
            )
            self._install()
            self.control.restart_controller_manager(
                f"--kube-api-qps={QPS}", f"--kube-api-burst={BURST}", "--concurrent-deployment-syncs=10",
                "--concurrent-replicaset-syncs=10", "--concurrent-gc-syncs=20")  # fmt: skip
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def namespace(self, name: str) -> None:
        """A clean namespace in which our operator has its own role and the others may do everything."""
        rules = [*roles.operator_rules(), *roles.lease_rules()]
        manifests = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            roles.role("operator", name, rules),
            *(_binding(user, name) for user in self._operators),
        ]
        self.apply(manifests)

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Kubectl apply as the maker."""
        text = yaml.safe_dump_all([dict(one) for one in manifests])
        self.control.kubectl("apply", "--server-side", "-f", "-", stdin=text, user=MAKER)

    def spawn(self, name: str, command: Sequence[str | Path], **environment: str) -> subprocess.Popen[bytes]:
        """Start a program that the kernel ends with us; its output goes to a file of its own."""
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "KILL"] if guard else []
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*prefix, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, env=environment or None)  # fmt: skip

    def last_words(self, name: str) -> str:
        """The end of what a program printed, and of what the API server did."""
        logs = (self.directory / f"{name}.log", self.directory / "plane" / "kube-apiserver.log")
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs if log.exists())

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End what `spawn` started, gracefully if it can."""
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _install(self) -> None:
        """Kinds, policies, nodes, scheduler, kubelets."""
        crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("millrace.dev_*.yaml"))]
        module = "github.com/argoproj/argo-rollouts"
        crds += [yaml.safe_load(builds.module_file("rollouts", module, f"manifests/crds/{name}-crd.yaml"))
                 for name in ROLLOUTS_CRDS]  # fmt: skip
        crds.append(widget_definition())
        # The maker makes models that nobody needs to approve, and that is the operator's alone.
        trusted = admission.trust([MAKER, *self._operators])
        self.apply([*crds, *roles.cluster_roles(), *witness(), *admission.manifests(trusted)])
        names = [f"crd/{one['metadata']['name']}" for one in crds]
        self.control.kubectl("wait", "--for=condition=Established", *names, "--timeout=60s", user=MAKER)
        scheduler = binaries.ensure(["kube-scheduler"])["kube-scheduler"]
        self._keep("scheduler", [
            scheduler, f"--kubeconfig={self.control.kubeconfig_for('admin')}", "--leader-elect=false",
            "--secure-port=0", f"--kube-api-qps={QPS}", f"--kube-api-burst={BURST}"])  # fmt: skip
        stages = self.directory / "stages.yaml"
        played = [_stage(builds.module_file("kwok", "sigs.k8s.io/kwok", path)) for path in STAGES]
        stages.write_text(yaml.safe_dump_all(played))
        self._keep("kwok", [
            builds.ensure("kwok"), f"--kubeconfig={self.control.kubeconfig_for('admin')}", f"--config={stages}",
            "--manage-all-nodes=true", "--node-lease-duration-seconds=0"])  # fmt: skip
        self.apply([_node(number) for number in range(NODES)])
        self.control.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s", user=MAKER)

    def _keep(self, name: str, command: Sequence[str | Path]) -> None:
        self._stack.callback(self.stop, self.spawn(name, command))


def _stage(text: str) -> dict[str, Any]:
    """A stage of KWOK's; that of starting pods leaves Jobs' alone, because it matters what these say."""
    stage: dict[str, Any] = yaml.safe_load(text)
    if stage["metadata"]["name"] == "pod-ready":
        of_a_job = {"key": '.metadata.labels["batch.kubernetes.io/job-name"]', "operator": "DoesNotExist"}
        stage["spec"]["selector"]["matchExpressions"].append(of_a_job)
    return stage


def _node(number: int) -> dict[str, Any]:
    room = {"cpu": "10k", "memory": "100Ti", "pods": "10k", "ephemeral-storage": "100Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"fake-{number}", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": room, "capacity": room},
    }


def witness() -> list[dict[str, Any]]:
    """Ours may look at the policies: else it never knows whether they are in force, and promotes nothing."""
    bound = roles.cluster_role_binding(WITNESS, account=OURS, account_namespace="")
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OURS}
    return [roles.cluster_role(WITNESS, roles.witness_rules()), {**bound, "subjects": [subject]}]


def _binding(user: str, namespace: str) -> dict[str, Any]:
    """Our operator has the role it is installed with, so that forged approvals are refused to it as in life."""
    ours = user == OURS
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": namespace},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role" if ours else "ClusterRole",
            "name": "operator" if ours else "cluster-admin",
        },
        "subjects": [{"kind": "User", "name": user}],
    }


@contextlib.contextmanager
def running(
    plane: Plane, name: str, command: Sequence[str | Path], **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """An operator for the time of the block. Raises ClusterError if it ends within it."""
    process = plane.spawn(name, command, **environment)
    try:
        yield process
        if process.poll() is not None:
            log = plane.directory / f"{name}.log"
            raise ClusterError(f"{name} ended with code {process.returncode}", log.read_text()[-800:])
    finally:
        if process.poll() is None:
            plane.stop(process)
    time.sleep(0.1)
