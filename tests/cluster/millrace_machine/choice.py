"""Which cluster tests and the demo use: the caller's own when asked, kind where Docker answers, else the embedded one.

An ambient KUBECONFIG is never used unasked: it may name a production cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from millrace_machine.problem import Problem

NAMES = {"kubeconfig": "own", "own": "own", "kind": "kind", "embedded": "embedded"}


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


def choose(docker: Callable[[], bool] = docker_answers) -> tuple[str, str]:
    """`own`, `kind` or `embedded`, and why. MILLRACE_CLUSTER decides when set: kubeconfig, kind or embedded.

    Raises:
        Problem: MILLRACE_CLUSTER is none of these.
    """
    wish = os.environ.get("MILLRACE_CLUSTER", "")
    if wish and wish not in NAMES:
        raise Problem(f"MILLRACE_CLUSTER={wish} is unknown", "it knows kubeconfig, kind and embedded",
                      "unset MILLRACE_CLUSTER")  # fmt: skip
    if wish:
        return NAMES[wish], f"MILLRACE_CLUSTER={wish}"
    if docker():
        return "kind", "a Docker engine answers"
    return "embedded", "no Docker engine answers"


def own_kubeconfig() -> Path:
    """The file of a cluster of the caller's own, with `~` spelled out.

    Raises:
        Problem: none is named, or there is no such file.
    """
    named = os.environ.get("MILLRACE_KUBECONFIG") or os.environ.get("KUBECONFIG")
    following = "export MILLRACE_KUBECONFIG=<file>"
    if not named:
        raise Problem("no kubeconfig is named", "neither MILLRACE_KUBECONFIG nor KUBECONFIG is set", following)
    path = Path(named).expanduser()
    if not path.is_file():
        raise Problem(f"there is no kubeconfig {path}", "", following)
    return path.resolve()
