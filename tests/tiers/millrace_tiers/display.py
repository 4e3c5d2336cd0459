"""What is printed: a header for each tier, one line while several run, the table, and last of all what failed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from millrace_tiers import output
from millrace_tiers.process import Running

LINES = 40
PERIOD = 30.0
"""Seconds between two lines of progress where they cannot be drawn over each other."""


class Display:
    """Everything goes to one stream, in whole tiers: no line of one tier is ever between two of another."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._redraws = self._stream.isatty()
        self._said_at = time.monotonic()
        self._drawn = False

    def write(self, text: str) -> None:
        """Print as it is."""
        self._clear()
        self._stream.write(text)
        self._stream.flush()

    def header(self, title: str) -> None:
        """Begin a section."""
        self.write(f"\n== {title} ==\n")

    def progress(self, running: Sequence[Running]) -> None:
        """How long each that still runs has been running."""
        line = "  ..   " + ", ".join(f"{one.tier.name} {one.seconds:.0f} s" for one in running)
        if self._redraws:
            self._stream.write(f"\r\033[K{line}")
            self._stream.flush()
            self._drawn = True
        elif time.monotonic() - self._said_at >= PERIOD:
            self._said_at = time.monotonic()
            self.write(f"{line}\n")

    def ended(self, run: Running) -> None:
        """A tier that ran beside others: all that it printed, at once."""
        if run.live:
            return
        self.header(run.tier.name)
        self.write(run.log.read_text(errors="replace"))
        self.write(f"  {run.tier.name}: {verdict(run)} after {run.seconds:.0f} s\n")

    def table(self, runs: Sequence[Running], left: Sequence[str], seconds: float, code: int) -> None:
        """What each tier took and how it ended, those that never began, and the whole."""
        self.header("tiers")
        for run in runs:
            self.write(f"  {run.tier.name:<18} {run.seconds:4.0f}s  {verdict(run)}\n")
        for name in left:
            self.write(f"  {name:<18}     -  not run\n")
        self.write(f"  {'all':<18} {seconds:4.0f}s{f'  exit code {code}' if code else ''}\n")

    def failure(self, run: Running) -> None:
        """What failed in a tier: its own report, else the last lines of the step that it ended in."""
        self.header(f"{run.tier.name} {'was stopped' if run.stopped else 'failed'}")
        if run.stopped or not run.failures.exists():
            lines = output.last_lines(run.printed_by_last_step(), LINES)
            self.write("".join(f"{line}\n" for line in lines))
        if run.failures.exists():
            self.write(run.failures.read_text(errors="replace").rstrip("\n") + "\n")
        else:
            of = f"{run.step.title}, " if run.step.title else ""
            where = os.path.relpath(run.log)
            self.write(f"{verdict(run)} ({of}exit code {run.code}); all of its output: {where}\n")

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write("\r\033[K")
            self._drawn = False


def verdict(run: Running) -> str:
    """How a tier ended, with what to type when it failed."""
    if run.stopped:
        return "stopped"
    return f"FAILED: make {run.tier.name}" if run.code else "passed"
