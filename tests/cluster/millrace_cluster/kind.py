"""A kind cluster, for machines with a Docker engine.

Its node carries a label from the start. A cluster of the same name without it is somebody else's, and left alone.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from millrace_cluster import binaries, console
from millrace_cluster.cluster import Cluster, bind_kubectl
from millrace_cluster.failure import ClusterError
from millrace_machine.choice import docker_answers

NAME = "millrace-tests"
MARK = "millrace.dev/made-by"
"""Label of the node; its value is the cluster's name."""
_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [{"role": "control-plane", "labels": {MARK: NAME}}],
}


def _kubeconfig() -> Path:
    return binaries.cache() / "kind-kubeconfig"


def _exists(program: Path) -> bool:
    done = subprocess.run([str(program), "get", "clusters"], capture_output=True, text=True, check=False)
    return NAME in done.stdout.split()


def _call(program: Path, *arguments: str) -> None:
    done = subprocess.run([str(program), *arguments, f"--name={NAME}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"kind {' '.join(arguments[:2])} failed", done.stderr.strip()[-800:],
                           "MILLRACE_CLUSTER=embedded python tests/cluster up")  # fmt: skip


def describe() -> Cluster:
    """The kind cluster, assumed up."""
    program = binaries.path_of("kind")

    def load(archive: Path) -> list[str]:
        _call(program, "load", "image-archive", str(archive))
        return []

    kubectl = bind_kubectl(binaries.path_of("kubectl"), _kubeconfig())
    return Cluster("kind", _kubeconfig(), kubectl, "localhost/", None, load)


def _check_is_ours() -> None:
    """Raises ClusterError, with exit code 2, unless the node carries our label. The node's own kubectl is asked."""
    command = ["docker", "exec", f"{NAME}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
               "get", "nodes", f"--selector={MARK}={NAME}", "--output=name", "--request-timeout=10s"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        why = done.stderr.strip() or f"no node of it has the label {MARK}={NAME}"
        raise ClusterError(f"the kind cluster {NAME} was not made here, or does not answer: it is left as it is", why,
                           f"kind delete cluster --name {NAME}   # only if it may go", exit_code=2)  # fmt: skip


def up() -> Cluster:
    """Create the kind cluster, or find it. Raises ClusterError when there is one that was not made here."""
    program = binaries.ensure(["kind", "kubectl"])["kind"]
    if _exists(program):
        _check_is_ours()
        _call(program, "export", "kubeconfig", f"--kubeconfig={_kubeconfig()}")
        console.say("  ok   the kind cluster is already up")
    else:
        with console.step("creating the kind cluster"), tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "kind.json"
            config.write_text(json.dumps(_CONFIG))
            _call(program, "create", "cluster", f"--kubeconfig={_kubeconfig()}", f"--config={config}", "--wait=180s")
    return describe()


def down() -> bool:
    """Delete the kind cluster. False when there was none; raises ClusterError when it was not made here."""
    program = binaries.path_of("kind")
    if not program.exists() or not docker_answers() or not _exists(program):
        return False
    _check_is_ours()
    with console.step("deleting the kind cluster"):
        _call(program, "delete", "cluster", f"--kubeconfig={_kubeconfig()}")
    return True
