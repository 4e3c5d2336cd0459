"""Brings up and removes the cluster that `millrace_machine.choice` names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from millrace_cluster import binaries, embedded, kind
from millrace_cluster.cluster import Cluster, Kind, bind_kubectl
from millrace_cluster.failure import ClusterError
from millrace_machine import choice
from millrace_machine.problem import Problem

T = TypeVar("T")


def choose() -> tuple[Kind, str]:
    """The kind of cluster and why. MILLRACE_CLUSTER decides when set: kubeconfig, kind or embedded."""
    chosen, reason = _refused(choice.choose)
    return cast(Kind, chosen), reason


def up() -> Cluster:
    """Bring the chosen cluster up (or find it up) and return it. Raises ClusterError."""
    chosen, _ = choose()
    if chosen == "own":
        return _own()
    return kind.up() if chosen == "kind" else embedded.up()


def down() -> bool:
    """Remove the chosen cluster; the caller's own is never touched. False when there was none."""
    chosen, _ = choose()
    if chosen == "own":
        return False
    removed = embedded.down()
    return kind.down() or removed if chosen == "kind" else removed


def own_kubeconfig() -> Path:
    """The kubeconfig the caller gave for MILLRACE_CLUSTER=kubeconfig."""
    return _refused(choice.own_kubeconfig)


def _refused(ask: Callable[[], T]) -> T:
    """The answer, with a problem of the machine's as this tool's own error."""
    try:
        return ask()
    except Problem as problem:
        raise ClusterError(problem.what, problem.why, problem.following, exit_code=2) from None


def _own() -> Cluster:
    path = own_kubeconfig()
    prefix = os.environ.get("IMAGE_PREFIX", "")
    kubectl = shutil.which("kubectl")
    program = Path(kubectl) if kubectl else binaries.ensure(["kubectl"])["kubectl"]

    def load(archive: Path) -> list[str]:
        raise ClusterError(f"{archive.name} cannot be loaded into this cluster", "its nodes pull from a registry",
                           "push the images and set IMAGE_PREFIX=<registry>/<path>/", exit_code=2)  # fmt: skip

    cluster = Cluster("own", path, bind_kubectl(program, path), prefix, None, load)
    answer = cluster.kubectl("--request-timeout=10s", "get", "--raw=/readyz", check=False)
    if answer.returncode:
        detail = answer.stderr.strip() or subprocess.list2cmdline(answer.args)
        again = f"kubectl --kubeconfig={path} cluster-info"
        raise ClusterError(f"the cluster of {path} does not answer", detail, again)
    return cluster
