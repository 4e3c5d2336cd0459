"""Progress on standard error: one line per step with the seconds it took, redrawn in place on a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator


class Step:
    """A running step. Assign `detail` to show what it is doing now."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, file=sys.stderr, flush=True)


def _redraw(step: Step, done: threading.Event) -> None:
    plain_period, tty = 15.0, sys.stderr.isatty()
    while not done.wait(0.2 if tty else plain_period):
        detail = f" {step.detail}" if step.detail else ""
        if tty:
            print(f"\r\033[K  ..   {step.title}{detail} {step.seconds:.0f} s", end="", file=sys.stderr, flush=True)
        else:
            say(f"  ..   {step.title}{detail} {step.seconds:.0f} s")


@contextlib.contextmanager
def step(title: str) -> Iterator[Step]:
    """Show a step while its block runs, then its outcome and duration."""
    running, done = Step(title), threading.Event()
    drawer = threading.Thread(target=_redraw, args=(running, done), daemon=True)
    drawer.start()
    outcome = "FAIL"
    try:
        yield running
        outcome = "ok"
    finally:
        done.set()
        drawer.join()
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        say(f"{clear}  {outcome:<4} {title} ({running.seconds:.1f} s)")
