"""What a number was measured on: without it the number means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def describe() -> dict[str, Any]:
    """Cores, memory in GiB, load average of the last minute, Python, and the commit (`+`: with changes)."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def phrase(machine: dict[str, Any]) -> str:
    """The description in one line."""
    return (
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, load average {machine['load_average']} before, "
        f"Python {machine['python']}, commit {machine['commit']}"
    )


def _commit() -> str:
    short, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    return f"{short}{'+' if changes else ''}" if short else "none"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
