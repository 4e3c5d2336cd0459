"""The Go programs of this benchmark, built from the go.mod files beside this one into the cache of the local cluster.

Each folder with a go.mod is one program; what is built is kept under a name made of a hash of its sources and pins.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from millrace_cluster import binaries, console, golang
from millrace_cluster.failure import ClusterError

HERE = Path(__file__).parents[1]
PROGRAMS = {"twin": "twin", "rollouts": "rollouts-controller", "kwok": "kwok"}
"""What `go install` makes of each folder."""
TOOLS = frozenset({"rollouts", "kwok"})
"""Folders that hold no source but pin somebody else's program."""


def ensure(folder: str) -> Path:
    """Build the program of a folder if it is not in the cache, and return its path. Raises ClusterError."""
    target = home(folder)
    program = target / PROGRAMS[folder]
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.access(program, os.X_OK):
            _install(folder, target)
    return program


def home(folder: str) -> Path:
    """The cache directory of a folder's program as pinned and written now."""
    digest = hashlib.sha256()
    for source in sorted(path for path in (HERE / folder).iterdir() if path.suffix in (".go", ".mod", ".sum")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return binaries.cache() / "bin" / f"benchmark-{folder}-{digest.hexdigest()[:12]}"


def module_file(folder: str, module: str, path: str) -> str:
    """The text of a file of a module that the folder pins, such as its CRDs. Raises ClusterError."""
    go = str(golang.locate(binaries.cache()))
    _run([go, "mod", "download", module], folder)
    return (Path(_run([go, "list", "-m", "-f", "{{.Dir}}", module], folder).strip()) / path).read_text()


def _install(folder: str, target: Path) -> None:
    go = golang.locate(binaries.cache())
    package = "tool" if folder in TOOLS else "."
    with console.step(f"building {PROGRAMS[folder]} for the benchmark"):
        _run([str(go), "install", "-trimpath", "-ldflags", "-s -w", package], folder, GOBIN=str(target))


def _run(command: list[str], folder: str, **more: str) -> str:
    flags = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off", "GOOS": "", "GOARCH": ""}
    environment = {**os.environ, **flags, **more}
    done = subprocess.run(command, cwd=HERE / folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"go failed in tests/benchmarks/operator/{folder}", done.stderr.strip()[-800:],
                           f"cd {HERE / folder} && CGO_ENABLED=0 {' '.join(command)}")  # fmt: skip
    return done.stdout
