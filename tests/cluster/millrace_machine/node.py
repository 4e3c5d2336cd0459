"""What the embedded cluster needs beside packages: Linux, root, namespaces, control groups."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

from millrace_machine.problem import Problem

OTHERS = "give a cluster of your own: MILLRACE_CLUSTER=kubeconfig MILLRACE_KUBECONFIG=<file>"
OWN_SETTINGS = ("MILLRACE_", "IMAGE_PREFIX", "BASE_IMAGE")
MOUNTS = Path("/proc/mounts")


def as_root(command: str) -> str:
    """The line that runs a command as root, with the caller's settings."""
    return f"sudo -E {command}" if any(name.startswith(OWN_SETTINGS) for name in os.environ) else f"sudo {command}"


def rights(command: str) -> Iterator[Problem]:
    """What no package can supply; `command` is what was typed."""
    if platform.system() != "Linux":
        yield Problem("the embedded cluster runs on Linux only", f"this is {platform.system()}",
                      f"start Docker, or {OTHERS}")  # fmt: skip
        return
    if os.geteuid() != 0:
        yield Problem("the embedded cluster needs root", "it makes namespaces, mounts and control groups",
                      f"{as_root(command)}  # or {OTHERS}")  # fmt: skip
        return
    for line in MOUNTS.read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and not os.access(target, os.W_OK):
            yield Problem("this machine does not allow control groups", f"{target} is read-only",
                          f"run on a machine (or a privileged container) that does, or {OTHERS}")  # fmt: skip
            return


def namespaces() -> Iterator[Problem]:
    """Tries them, with a program of util-linux."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    if probe.returncode:
        yield Problem("this machine does not allow namespaces", probe.stderr.strip(),
                      f"run on a machine (or a privileged container) that does, or {OTHERS}")  # fmt: skip
