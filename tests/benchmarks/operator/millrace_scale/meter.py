"""CPU and memory of a process, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """CPU seconds since the process began, resident and peak memory in MiB."""

    cpu: float
    rss: float
    peak: float


def read(pid: int) -> Sample:
    """The process's own sample, threads included, children not. Raises FileNotFoundError for one that ended."""
    process = Path("/proc", str(pid))
    return parse((process / "stat").read_text(), (process / "status").read_text())


def parse(stat: str, status: str) -> Sample:
    """From the text of /proc/<pid>/stat and /status. A process's name may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    sizes = dict(line.split()[:2] for line in status.splitlines() if line.startswith("Vm"))
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Sample(cpu, int(sizes["VmRSS:"]) / 1024, int(sizes["VmHWM:"]) / 1024)
