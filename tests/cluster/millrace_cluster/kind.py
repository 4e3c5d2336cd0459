"""A kind cluster, for machines with a Docker engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from millrace_cluster import binaries, console
from millrace_cluster.cluster import Cluster, bind_kubectl
from millrace_cluster.failure import ClusterError

NAME = "millrace"


def docker_answers() -> bool:
    """Whether a Docker engine answers: the client alone is not enough."""
    if not shutil.which("docker"):
        return False
    try:
        done = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True,
                              check=False, timeout=10)  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


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


def up() -> Cluster:
    """Create the kind cluster `millrace`, or find it."""
    program = binaries.ensure(["kind", "kubectl"])["kind"]
    if _exists(program):
        _call(program, "export", "kubeconfig", f"--kubeconfig={_kubeconfig()}")
        console.say("  ok   the kind cluster is already up")
    else:
        with console.step("creating the kind cluster"):
            _call(program, "create", "cluster", f"--kubeconfig={_kubeconfig()}", "--wait=180s")
    return describe()


def down() -> bool:
    """Delete the kind cluster `millrace`. False when there was none."""
    program = binaries.path_of("kind")
    if not program.exists() or not docker_answers() or not _exists(program):
        return False
    with console.step("deleting the kind cluster"):
        _call(program, "delete", "cluster", f"--kubeconfig={_kubeconfig()}")
    return True
