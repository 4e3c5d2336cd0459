"""Kills the operator the hard way, at named points of the story."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from .release import Release
from .timeline import Moment

POINTS = ("frozen", "fetching", "approved", "started", "canary")
"""After a version was frozen, while a run fetches rows, after an approval, after a trigger fired, at the first step."""


@dataclass
class Killer:
    """Listens to a timeline and kills the operator the first time each point is passed."""

    release: Release
    killed: list[str] = field(default_factory=list)

    def __call__(self, moment: Moment) -> None:
        if moment.word in POINTS and moment.word not in self.killed:
            self.killed.append(moment.word)
            kill(self.release)


def kill(release: Release) -> None:
    """SIGKILL where the operator's processes can be seen from here, then replace the pod without a grace period."""
    pod = release.home.get("pod", release.operator_pod())
    if pod is None:
        return
    for status in pod["status"].get("containerStatuses", []):
        container = status.get("containerID", "").partition("://")[2]
        for pid in _processes(container):
            os.kill(pid, signal.SIGKILL)
    release.home.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def _processes(container: str) -> list[int]:
    if not container or os.geteuid() != 0:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if container in (entry / "cgroup").read_text():
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found
