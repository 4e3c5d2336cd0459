"""Which Python makes the environment: PYTHON if set, else the first of the usual names that is new enough."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NAMES = ("python3", "python3.13", "python3.12", "python3.11")


def version_of(python: str) -> tuple[int, int] | None:
    """Major and minor version of an interpreter, or None where that is none."""
    program = "import sys; print(sys.version_info[0], sys.version_info[1])"
    answer = _ask(python, program).split()
    return (int(answer[0]), int(answer[1])) if len(answer) == 2 else None


def find() -> str | None:
    """An interpreter that is new enough, or None."""
    chosen = os.environ.get("PYTHON")
    if not chosen and sys.version_info >= OLDEST and shutil.which(NAMES[0]):
        return sys.executable  # what runs this is python3, or the next best name
    for name in [chosen] if chosen else NAMES:
        if name and shutil.which(name) and (version_of(name) or (0, 0)) >= OLDEST:
            return name
    return None


def makes_environments() -> bool:
    """Whether that interpreter has what `python -m venv` needs. True where there is none: that is told of itself."""
    python = find()
    if python is None:
        return True
    if python == sys.executable:
        return all(importlib.util.find_spec(name) for name in ("ensurepip", "venv"))
    return _ask(python, "import ensurepip, venv; print('yes')") == "yes"


def _ask(python: str, program: str) -> str:
    try:
        return subprocess.run([python, "-c", program], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
