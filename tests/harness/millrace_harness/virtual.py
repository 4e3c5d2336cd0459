"""An event loop on which waiting takes no time, and the clock that goes with it.

When nothing is ready, time jumps to the next timer. Nothing depends on the machine: two runs do the same in the same
order. Tasks belong to an *owner* (a replica, inherited by the tasks they start), so that a replica can be paused and
killed as a process can.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
START: Final = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
OWNER: Final[contextvars.ContextVar[Owner | None]] = contextvars.ContextVar("OWNER", default=None)
"""Whose code is running. Set by `Owner.spawn`."""
MOST_STEPS: Final = 20_000
"""Rounds within one instant of virtual time, after which something is taken to spin."""


class Stuck(RuntimeError):
    """The simulation cannot go on: nothing is left to happen, or something spins without waiting."""


class Loop(Protocol):
    """What an owner needs of its loop: a virtual one, or a real one that parks the callbacks of paused owners too."""

    def create_task(
        self, work: Coroutine[Any, Any, Any], /, *, name: str | None, context: contextvars.Context | None
    ) -> asyncio.Task[Any]: ...

    def put_first(self, handles: list[asyncio.Handle]) -> None: ...


class Owner:
    """The tasks of one process."""

    def __init__(self, name: str, loop: Loop) -> None:
        self.name = name
        self.is_alive = True
        self._loop = loop
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._parked: list[asyncio.Handle] | None = None

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task of this owner."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        return self._loop.create_task(work, name=name, context=context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Remember a task until it is done."""
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    @property
    def is_paused(self) -> bool:
        return self._parked is not None

    def pause(self) -> None:
        """Run nothing of this owner until `resume`. Time goes on for it as for all."""
        if self._parked is None:
            self._parked = []

    def resume(self) -> None:
        """Go on, with everything that has come due meanwhile first."""
        if self._parked is not None:
            parked, self._parked = self._parked, None
            self._loop.put_first(parked)

    def park(self, handle: asyncio.Handle) -> bool:
        """Keep a callback for later; False if this owner is not paused."""
        if self._parked is None:
            return False
        self._parked.append(handle)
        return True

    def kill(self) -> None:
        """Cancel every task, now. Whoever they ask while they unwind must refuse them: `is_alive` is False."""
        self.is_alive = False
        self.resume()
        for task in list(self._tasks):
            task.cancel("killed")

    async def ended(self) -> None:
        """Wait until no task is left; call from outside. Cancels again what survived a cancellation. Raises Stuck."""
        for _ in range(1000):
            if not self._tasks:
                return
            await asyncio.wait(list(self._tasks), timeout=0.1)
            if not self.is_alive:
                self.kill()
        raise Stuck(f"{self.name} does not end")


class _Timer(asyncio.TimerHandle):
    """A timer that comes after those of the same time that were set before it."""

    _when: float

    def __init__(self, number: int, when: float, *args: Any) -> None:
        self._number = number
        super().__init__(when, *args)

    def __lt__(self, other: Any) -> bool:
        return bool(self._when < other._when or (self._when == other._when and self._number < other._number))


class _Task(asyncio.Task[Any]):
    """A task that hashes by its number: sets of tasks are iterated in the same order in every run."""

    def __init__(self, *args: Any, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    def __init__(self, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """`asyncio.Runner(loop_factory=VirtualLoop)`. Has no sockets, no signals, no threads."""

    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._now = 0.0
        self._steps = 0
        self._broken: BaseException | None = None
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # it is only ever called with this loop

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(number=next(self._numbers), loop=self)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer: Any = _Timer(next(self._numbers), when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        made: asyncio.TimerHandle = timer
        return made

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback that raised ends the simulation: part of the simulated world is broken."""
        error = context.get("exception")
        if "handle" in context and error is not None:
            self._broken = error
        else:
            super().call_exception_handler(context)

    def put_first(self, handles: list[asyncio.Handle]) -> None:
        """Run these before anything else."""
        self._ready.extendleft(reversed(handles))

    def _run_once(self) -> None:
        self._ripen()
        ready = self._ready
        for _ in range(len(ready)):
            handle: Any = ready.popleft()
            if handle._cancelled:
                continue
            owner = handle._context.get(OWNER)
            if owner is None or not owner.park(handle):
                handle._run()
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise Stuck("a callback failed") from broken
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Stuck(f"something spins at {self._now} s without ever waiting")

    def _ripen(self) -> None:
        """Make the timers ready that are due; if nothing else is ready, the next ones are."""
        timers: list[Any] = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not self._ready:
            self._jump()
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)

    def _jump(self) -> None:
        if self._stopping:  # type: ignore[attr-defined]
            return
        if not self._scheduled:
            raise Stuck("nothing is left to happen, and the workload is still waiting")
        due = self._scheduled[0].when()
        if due > self._now:
            self._now, self._steps = due, 0

    def _process_events(self, event_list: Any) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """There are no other threads."""


def _make_task(loop: VirtualLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    task = _Task(work, number=next(loop._numbers), loop=loop, **options)
    context = options.get("context")
    owner = context.get(OWNER) if context is not None else OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task


class VirtualClock:
    """`clients.clock.Clock` on a virtual loop. `skew` (seconds) moves the time of day and nothing else."""

    def __init__(self, loop: VirtualLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self.skew = skew

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time() + self.skew)

    def monotonic(self) -> float:
        return self._loop.time()
