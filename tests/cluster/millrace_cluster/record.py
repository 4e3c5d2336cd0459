"""What a running cluster wrote down: whose it is and which processes are its root, so that no other is ever killed.

A process is known by its id, its start time and the machine's boot, so a recycled id is never taken for it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of this boot: `started` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        stat = _stat(self.pid)
        return stat is not None and int(stat[19]) == self.started and stat[0] != "Z"

    def kill(self) -> None:
        """Send SIGKILL, unless it is gone or its id now belongs to another."""
        if self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def descendants(self) -> list[Process]:
        """The processes below this one, parents first."""
        found: list[Process] = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                children = task.read_text().split()
            except OSError:
                continue
            for child in map(process, map(int, children)):
                if child:
                    found += [child, *child.descendants()]
        return found

    def first_in_a_namespace(self) -> Process | None:
        """The first process below this one that has a PID namespace of its own, once there is one.

        Other descendants may be older: the shell of `recording_command` has a `mv` that can still be ending.
        """
        ours = _pid_namespace(os.getpid())
        return next((one for one in self.descendants() if _pid_namespace(one.pid) not in (ours, None)), None)


def _parse(line: str) -> list[str]:
    # The second field, the program's name, may itself hold spaces and parentheses.
    return line.rpartition(")")[2].split()


def _stat(pid: int) -> list[str] | None:
    try:
        return _parse(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return None


def _pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def process(pid: int) -> Process | None:
    """The running process with that id, or None."""
    stat = _stat(pid)
    return Process(pid, int(stat[19])) if stat else None


def recording_command(path: Path, command: list[str]) -> list[str]:
    """`command` behind a shell that first writes its own identity, which `exec` keeps, to `path`.

    So there is no moment in which the process runs and is not recorded.
    """
    script = f'cat /proc/$$/stat {BOOT_ID} >"$1".new && mv "$1".new "$1" && shift && exec "$@"'
    return ["/bin/sh", "-c", script, "sh", str(path), *command]


def write_process(path: Path, running: Process) -> None:
    """Record a running process in the form `read_process` reads."""
    path.write_text(Path(f"/proc/{running.pid}/stat").read_text().strip() + "\n" + BOOT_ID.read_text())


def read_process(path: Path) -> Process | None:
    """The process recorded at `path`, if it was recorded in this boot and still runs."""
    try:
        stat, boot = path.read_text().splitlines()[:2]
    except (OSError, ValueError):
        return None
    if boot.strip() != BOOT_ID.read_text().strip():
        return None
    recorded = Process(int(stat.split()[0]), int(_parse(stat)[19]))
    return recorded if recorded.alive() else None


def await_end(processes: list[Process], seconds: float) -> list[Process]:
    """Wait until all have ended; return those that have not within `seconds`."""
    deadline = time.monotonic() + seconds
    while left := [one for one in processes if one.alive()]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return []


@dataclasses.dataclass(frozen=True)
class Owner:
    """Which checkout brought the cluster up, from what, and on which loopback port its API answers."""

    checkout: str
    fingerprint: str
    port: int

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)))


def read_owner(path: Path) -> Owner | None:
    """The recorded owner, or None when there is no readable record."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
