"""Installs packages with apt, asking nobody anything."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from millrace_machine import interpreters
from millrace_machine.packages import Package, install_line
from millrace_machine.problem import Problem

# A machine that has just started may be updating itself: wait for it.
OPTIONS = ("-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Update::Error-Mode=any")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}


def install(lacking: Iterable[Package]) -> None:
    """Update the lists, then install.

    Raises:
        Problem: apt failed, in its own last words; or no package is a Python that is new enough.
    """
    lacking = list(lacking)
    _apt("update")
    names = _names(lacking)
    _apt("install", "-y", "--no-install-recommends", *names, following=install_line(names))
    importlib.invalidate_caches()


def _names(lacking: list[Package]) -> list[str]:
    """Their names in apt. Where python3 is too old, a Python that is not is one of several."""
    names = [package.name for package in lacking]
    if "python3" in names and interpreters.version_of("python3"):
        names = [name for name in names if name not in ("python3", "python3-venv")]
        return [*names, *_newer_python()]
    if "python3" in names:
        return [*names, "python3-venv"]
    python = Path(interpreters.find() or "").name
    return [f"{python}-venv" if name == "python3-venv" and python in interpreters.NAMES[1:] else name for name in names]


def _newer_python() -> list[str]:
    for name in interpreters.NAMES[1:]:
        shown = subprocess.run(["apt-cache", "show", "--no-all-versions", name], capture_output=True, check=False)
        if shown.returncode == 0:
            return [name, f"{name}-venv"]
    has = ".".join(map(str, interpreters.version_of("python3") or ()))
    raise Problem("Python 3.11 or newer is not among this release's packages", f"python3 is {has}",
                  "install one (Debian 12 and Ubuntu 24.04 have it) and name it: PYTHON=<path>")  # fmt: skip


def _apt(action: str, *arguments: str, following: str = "sudo apt-get update") -> None:
    command = ["apt-get", *OPTIONS, action, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **QUIET}, text=True, check=False)  # fmt: skip
    if done.returncode:
        words = "\n        ".join(done.stdout.strip().splitlines()[-8:])
        raise Problem(f"apt-get {action} failed", words, following)


def is_here() -> bool:
    """Whether this machine installs with apt."""
    return shutil.which("apt-get") is not None
