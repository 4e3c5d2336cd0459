"""The base image where none can be pulled: Debian 12 with Python 3.11, made by debootstrap and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from millrace_cluster import binaries, console
from millrace_cluster.failure import ClusterError
from millrace_machine import packages

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
# What no container needs: package caches, documentation, translations.
LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "tmp",
            "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")  # fmt: skip
_RECIPE = hashlib.sha256(repr((SUITE, PACKAGES, LEFT_OUT, 1)).encode()).hexdigest()[:12]
REFERENCE = f"localhost/millrace/base:{SUITE}-{_RECIPE}"
DOCKERFILE = 'FROM scratch\nADD rootfs.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n'


def rootfs() -> Path:
    """The folder with rootfs.tar and its Dockerfile; made on first use (about a minute).

    Raises:
        ClusterError: debootstrap is missing, not allowed, or cannot reach a mirror.
    """
    home = binaries.cache() / "images" / f"base-{SUITE}-{_RECIPE}"
    if (home / "rootfs.tar").exists():
        return home
    _check()
    home.mkdir(parents=True, exist_ok=True)
    title = f"base image: Debian {SUITE}"
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="base-") as scratch, console.step(title):
        tree = Path(scratch) / "tree"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stdout + done.stderr).strip()[-400:]
            raise ClusterError("the base image could not be made", words, "python tests/images build")
        _pack(tree, Path(scratch) / "rootfs.tar")
        (home / "Dockerfile").write_text(DOCKERFILE)
        (Path(scratch) / "rootfs.tar").rename(home / "rootfs.tar")
    for stale in home.parent.glob(f"base-{SUITE}-*"):
        if stale != home:
            shutil.rmtree(stale)
    return home


def _check() -> None:
    for lacking in packages.missing({packages.BASE}):
        raise ClusterError(f"{lacking.name} is not installed", f"it {lacking.reason}",
                           packages.install_line([lacking.name]), 2)  # fmt: skip
    if os.geteuid() != 0:
        raise ClusterError("not root", "debootstrap makes device nodes and changes owners", "sudo make images", 2)


def _pack(tree: Path, target: Path) -> None:
    for path in LEFT_OUT:
        for entry in (tree / path).iterdir() if (tree / path).is_dir() else ():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    with tarfile.open(target, "w") as archive:
        archive.add(tree, arcname=".", filter=lambda member: None if member.isdev() else member)
