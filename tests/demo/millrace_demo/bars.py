"""Two bars that together count every request once: those of the first callers, and those after the shift."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn


class Bars:
    """Shows how many requests were sent; `expected` is how many come before the shift, about."""

    def __init__(self, console: Console, expected: int) -> None:
        self.progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} requests"),
            console=console,
        )
        self._before = 0
        self._task = self.progress.add_task("callers of slice A", total=expected)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def show(self, sent: int) -> None:
        """So many were sent since the beginning."""
        self.progress.update(self._task, completed=sent - self._before)

    def shift(self, sent: int) -> None:
        """What is sent from now on is sent by other callers."""
        self.end(sent)
        self._before = sent
        self._task = self.progress.add_task("callers of slice B", total=None)

    def end(self, sent: int) -> None:
        """The present callers send no more: their bar is full, and nothing turns beside it."""
        self.progress.update(self._task, completed=sent - self._before, total=sent - self._before)
