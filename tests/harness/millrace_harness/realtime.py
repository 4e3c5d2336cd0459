"""A loop on the machine's clock whose tasks belong to owners, as those of the virtual one: replicas that are paused and
killed without a process each.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from millrace.clients.clock import SystemClock
from millrace.handlers import adapter

from .virtual import OWNER


class RealLoop(asyncio.SelectorEventLoop):
    """`asyncio.Runner(loop_factory=RealLoop)`. What is ready and belongs to a paused owner waits for its `resume`.

    Sockets are read meanwhile, as a kernel does; whoever waits for what they bring is not told.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready()
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # it takes no generators

    def put_first(self, handles: list[asyncio.Handle]) -> None:
        """Run these before anything else."""
        self._ready.extendleft(reversed(handles))

    def _add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any:
        return _NOBODY.copy().run(super()._add_reader, fd, callback, *args)  # type: ignore[misc]

    def _add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any:
        return _NOBODY.copy().run(super()._add_writer, fd, callback, *args)  # type: ignore[misc]


_NOBODY = contextvars.Context()


class _Ready(collections.deque[asyncio.Handle]):
    """The loop's ready callbacks; hands out nothing of a paused owner."""

    def popleft(self) -> asyncio.Handle:
        handle = super().popleft()
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is not None and not handle.cancelled() and owner.park(handle):
            return _NOTHING
        return handle


class _Nothing(asyncio.Handle):
    """A cancelled callback: the loop passes over it."""

    def __init__(self) -> None:
        self._cancelled = True


_NOTHING = _Nothing()


def _make_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    owner = context.get(OWNER) if context is not None else OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task


class _NotOfThisOwner(adapter.NotKopfs):
    """Nor of another replica on the same loop: kopf cancels every task that it does not know to be somebody else's."""

    def __init__(self) -> None:
        self._owner = OWNER.get()

    def __contains__(self, task: object) -> bool:
        return (self._owner is not None and task not in self._owner._tasks) or super().__contains__(task)


adapter.NotKopfs = _NotOfThisOwner  # type: ignore[misc]


class SkewedClock(SystemClock):
    """`skew` (seconds) moves the time of day and nothing else."""

    def __init__(self, skew: float = 0.0) -> None:
        self.skew = skew

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.skew)
