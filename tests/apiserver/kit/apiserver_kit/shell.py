"""A person's shell: a printed command is run as it stands."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass

import millrace_cluster
from millrace_cluster.control_plane import ADMIN, ControlPlane


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is None where it would have gone on for ever."""

    code: int | None
    out: str
    err: str


def run(plane: ControlPlane, command: str, *, user: str = ADMIN, seconds: float = 60.0) -> Ended:
    """Run it as that user, whose editor changes nothing; one that watches is stopped after `seconds`."""
    kubectl = millrace_cluster.binary("kubectl")
    environment = {
        "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
        "HOME": str(plane.directory),
        "KUBECONFIG": str(plane.kubeconfig_for(user)),
        "KUBE_EDITOR": "true",
    }
    process = subprocess.Popen(
        ["sh", "-c", command], env=environment, cwd=plane.directory, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Ended(None, out, err)
    return Ended(process.returncode, out, err)
