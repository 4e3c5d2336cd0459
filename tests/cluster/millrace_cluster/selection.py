"""Which cluster tests and the demo use: the caller's own when asked, kind where Docker answers, else the embedded one.

An ambient KUBECONFIG is never used: it may name a production cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from millrace_cluster import binaries, embedded, kind
from millrace_cluster.cluster import Cluster, Kind, bind_kubectl
from millrace_cluster.failure import ClusterError

_NAMES: dict[str, Kind] = {"kubeconfig": "own", "own": "own", "kind": "kind", "embedded": "embedded"}


def choose() -> tuple[Kind, str]:
    """The kind of cluster and why. MILLRACE_CLUSTER decides when set: kubeconfig, kind or embedded."""
    wish = os.environ.get("MILLRACE_CLUSTER", "")
    if wish:
        if wish not in _NAMES:
            known = "it knows kubeconfig, kind and embedded"
            raise ClusterError(f"MILLRACE_CLUSTER={wish} is unknown", known, "unset MILLRACE_CLUSTER", exit_code=2)
        return _NAMES[wish], f"MILLRACE_CLUSTER={wish}"
    if kind.docker_answers():
        return "kind", "a Docker engine answers"
    return "embedded", "no Docker engine answers"


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
    named = os.environ.get("MILLRACE_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if not named:
        raise ClusterError("no kubeconfig is named", "neither MILLRACE_KUBECONFIG nor KUBECONFIG is set",
                           "export MILLRACE_KUBECONFIG=<file>", exit_code=2)  # fmt: skip
    path = Path(named).expanduser()
    if not path.is_file():
        raise ClusterError(f"there is no kubeconfig {path}", "", "export MILLRACE_KUBECONFIG=<file>", exit_code=2)
    return path.resolve()


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
