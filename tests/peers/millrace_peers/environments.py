"""A locked Python environment for each peer, in the cache outside the checkout, keyed by its lock file."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from millrace_cluster import binaries

ROOT = Path(__file__).resolve().parents[1]


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment, which is made when it is not there (a minute, from the package index).

    Raises:
        subprocess.CalledProcessError: the packages could not be installed; pip's words are on standard error.
    """
    lock = ROOT / peer / "requirements.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(f"{version}\n{lock.read_text()}".encode()).hexdigest()[:12]
    home = binaries.cache() / "peers" / f"{peer}-{key}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"{peer}: installing its packages", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        _install(python, lock)
        (home / "complete").touch()
    return python


def version_of(peer: str) -> str:
    """The pinned version of the peer's own package."""
    pins = dict(line.split("==") for line in (ROOT / peer / "requirements.in").read_text().split() if "==" in line)
    return pins[peer]


def _install(python: Path, lock: Path) -> None:
    """With uv, which is several times faster, else with pip, which knows every pip setting."""
    wanted = ["--quiet", "--require-hashes", "-r", str(lock)]
    fast = subprocess.run([uv.find_uv_bin(), "pip", "install", "--python", str(python), *wanted], check=False)
    if fast.returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--disable-pip-version-check", *wanted], check=True)
