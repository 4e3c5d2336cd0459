"""Runs groups of tiers one after another, and the lanes of a group side by side; stops at the first that fails."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from millrace_machine import wants
from millrace_tiers.display import Display
from millrace_tiers.process import SIGNALLED, Running
from millrace_tiers.table import ROOT, Tier, groups

FOLDER = ROOT / "build" / "tiers"
POLL = 0.2


class Stopped(Exception):
    """Somebody sent a signal: Ctrl-C, or a time limit."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = SIGNALLED + number


class Sequencer:
    """One run of some tiers. `run` returns the exit code; everything is said on the display."""

    def __init__(
        self, tiers: Sequence[Tier], display: Display, folder: Path = FOLDER, *, removes_cluster: bool
    ) -> None:
        self.tiers = tuple(tiers)
        self.display = display
        self.folder = folder
        self.removes_cluster = removes_cluster
        self.runs: list[Running] = []
        self._going: list[Running] = []

    def run(self, arguments: Sequence[str] = ()) -> int:
        """0, or the exit code of the first tier that failed; 128 and the signal's number when a signal stopped it."""
        began, code = time.monotonic(), 0
        with signals():
            try:
                code = self._take(groups(self.tiers), arguments)
            except Stopped as stopped:
                code = stopped.code
                self.display.write(f"\n  stopped by {stopped}\n")
                self._stop()
            self._remove_cluster()
            self._conclude(time.monotonic() - began, code)
        return code

    def _conclude(self, seconds: float, code: int) -> None:
        """The table, and then whatever somebody who looks at the last lines wants to know."""
        if len(self.tiers) > 1:
            started = {run.tier.name for run in self.runs}
            left = [tier.name for tier in self.tiers if tier.name not in started]
            self.display.table(self.runs, left, seconds, code)
        interrupted = code > SIGNALLED
        for run in self.runs:
            if run.code and (interrupted or not run.stopped):
                self.display.failure(run)

    def _take(self, found: Sequence[Sequence[Sequence[Tier]]], arguments: Sequence[str]) -> int:
        for lanes in found:
            failed = self._along(lanes[0], arguments) if len(lanes) == 1 else self._side_by_side(lanes)
            if failed:
                return failed.code
        return 0

    def _along(self, lane: Sequence[Tier], arguments: Sequence[str]) -> Running | None:
        """Tiers one after another; the first that fails."""
        return next((failed for tier in lane if (failed := self._one(tier, arguments))), None)

    def _one(self, tier: Tier, arguments: Sequence[str]) -> Running | None:
        """A tier alone, its output shown while it comes."""
        self.display.header(tier.name)
        run = Running(tier, self.folder, arguments, self.display.write)
        self._begin([run])
        while not run.done.wait(POLL):
            pass
        self._going.remove(run)
        return run if run.code else None

    def _side_by_side(self, lanes: Sequence[Sequence[Tier]]) -> Running | None:
        """The output of each tier when it ended. At the first that fails the others are stopped."""
        self.display.header(" + ".join(tier.name for lane in lanes for tier in lane))
        following = {before.name: after for lane in lanes for before, after in pairwise(lane)}
        self._begin([Running(lane[0], self.folder) for lane in lanes])
        while self._going:
            time.sleep(POLL)
            self.display.progress(self._going)
            for run in [one for one in self._going if one.done.is_set()]:
                self._going.remove(run)
                self.display.ended(run)
                if run.code:
                    self._stop()
                    return run
                if run.tier.name in following:
                    self._begin([Running(following[run.tier.name], self.folder)])
        return None

    def _begin(self, runs: list[Running]) -> None:
        self.runs += runs
        self._going += runs
        for run in runs:
            run.start()

    def _stop(self) -> None:
        """End what is going, all at once, and say what each had printed."""
        stopping = [threading.Thread(target=run.stop) for run in self._going]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for run in self._going:
            self.display.ended(run)
        self._going = []

    def _remove_cluster(self) -> None:
        if self.removes_cluster and any(wants.CLUSTER in run.tier.needs for run in self.runs):
            subprocess.run([sys.executable, "tests/cluster", "down"], cwd=ROOT, check=False)


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Ctrl-C, a time limit and a closed terminal become Stopped, once: a second one is not heard while all ends.

    That they are handled at all also means that what is started here can be interrupted: a shell makes what it runs in
    the background ignore Ctrl-C, and that would be inherited.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, lambda *_: None)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
