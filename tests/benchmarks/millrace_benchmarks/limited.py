"""What a process takes: seconds, CPU and memory at most; in a memory cgroup where one is asked for, as in a pod."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
_PAUSE_SECONDS = 0.02


def run(command: Sequence[str], environ: dict[str, str] | None = None, limit: int = 0) -> tuple[float, float, int]:
    """Seconds, seconds of CPU, and MiB of memory at most, of a process of its own.

    Memory is the high-water mark of the process itself; CPU is its own and that of its children. Raises SystemExit
    where it fails.
    """
    group = _limited(limit)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    environment = os.environ | (environ or {})
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=_joins(group))  # noqa: PLW1509
    memory = _watched(process)
    taken = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if group is not None:
        group.rmdir()
    if process.returncode != 0:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}")
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory


def _watched(process: subprocess.Popen[bytes]) -> int:
    """MiB at most. What the kernel tells of a child that ended begins with what its parent had when it was made."""
    memory = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = max(memory, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
        time.sleep(_PAUSE_SECONDS)
    return memory


def _limited(mib: int) -> Path | None:
    """A memory cgroup, without swap; None without a limit."""
    if not mib:
        return None
    is_second = (CGROUPS / "cgroup.controllers").exists()
    group = (CGROUPS if is_second else CGROUPS / "memory") / f"millrace-bench-{os.getpid()}"
    group.mkdir()
    (group / ("memory.max" if is_second else "memory.limit_in_bytes")).write_text(str(mib << 20))
    return group


def _joins(group: Path | None) -> Any:
    return None if group is None else lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
