"""The work queue of one kind: what is to be looked at, never why.

Laws (``tests/controller/test_queue.py`` holds them with Hypothesis):

* a key is handed to one worker at a time;
* a key added while it is being worked on is handed out again afterwards; nothing added is lost;
* a key added many times before it is handed out is handed out once;
* of several delays of one key the earliest counts, and a key that is ready has no delay left;
* changes go before what start-up and audits add (`Priority`), and within one priority first come is first served.

The queue itself is synchronous and takes the monotonic clock as a function; only `WorkQueue.take` waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """Lower goes first."""

    CHANGE = 0
    ROUTINE = 1


class Observer(Protocol):
    """What a queue tells about itself."""

    def added(self) -> None: ...
    def retried(self) -> None: ...
    def depth(self, ready: int) -> None: ...
    def waited(self, seconds: float) -> None: ...


class Unobserved:
    """The default observer: does nothing."""

    def added(self) -> None: ...
    def retried(self) -> None: ...
    def depth(self, ready: int) -> None: ...
    def waited(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Backoff:
    """``first * 2**failures`` seconds, at most ``longest``, plus or minus the share ``jitter``."""

    first: float = 0.5
    longest: float = 300.0
    jitter: float = 0.2

    def after(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures before this one; ``chance`` in [0, 1) places the jitter."""
        base = min(self.longest, self.first * 2.0 ** min(failures, 32))
        return base * (1.0 + self.jitter * (2.0 * chance - 1.0))


@dataclass(frozen=True)
class Taken(Generic[K]):
    """A key handed to a worker. ``since`` is the monotonic time of the first add it answers."""

    key: K
    since: float
    priority: Priority


class WorkQueue(Generic[K]):
    """De-duplicating, delaying, two-priority queue of keys, for one event loop."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
        observer: Observer | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._observer: Observer = observer or Unobserved()
        self._ready: dict[Priority, deque[K]] = {priority: deque() for priority in Priority}
        self._wanted: dict[K, tuple[Priority, float]] = {}
        """Ready keys, and keys that became wanted again while being worked on."""
        self._working: set[K] = set()
        self._deadlines: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many keys are ready."""
        return len(self._wanted)

    @property
    def working(self) -> frozenset[K]:
        """The keys being worked on."""
        return frozenset(self._working)

    def add(self, key: K, priority: Priority = Priority.CHANGE) -> None:
        """Have the key looked at as soon as a worker is free."""
        self._observer.added()
        self._deadlines.pop(key, None)
        self._want(key, priority)

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key looked at in so many seconds, unless it is looked at before."""
        if seconds <= 0:
            self.add(key, Priority.ROUTINE)
            return
        if key in self._wanted:
            return
        due = self._monotonic() + seconds
        known = self._deadlines.get(key)
        if known is not None and known <= due:
            return
        self._deadlines[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._arm()

    def retry(self, key: K) -> float:
        """Count a failure and have the key looked at after its backoff, which is returned in seconds."""
        self._observer.retried()
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = self._backoff.after(failures, self._chance())
        self.add_after(key, seconds)
        return seconds

    def failures(self, key: K) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    def forgive(self, key: K) -> None:
        """The key was handled: its next failure is the first again."""
        self._failures.pop(key, None)

    def next(self) -> Taken[K] | None:
        """Hand out a key, if one is ready. Give it back with `done`."""
        self._ripen()
        for priority, keys in self._ready.items():
            while keys:
                key = keys.popleft()
                wanted = self._wanted.get(key)
                if wanted is None or wanted[0] is not priority or key in self._working:
                    continue  # promoted to the other lane; its entry here is stale
                del self._wanted[key]
                self._working.add(key)
                self._observer.depth(len(self._wanted))
                self._observer.waited(self._monotonic() - wanted[1])
                return Taken(key, wanted[1], priority)
        return None

    def done(self, key: K) -> None:
        """The worker is through with the key; hand it out again if it became wanted meanwhile."""
        self._working.discard(key)
        wanted = self._wanted.get(key)
        if wanted is not None:
            self._ready[wanted[0]].append(key)
            self._wake()

    async def take(self) -> Taken[K]:
        """Wait for a key and hand it out."""
        while (taken := self.next()) is None:
            self._arm()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the wake-up was meant for somebody: pass it on
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return taken

    def _want(self, key: K, priority: Priority) -> None:
        known = self._wanted.get(key)
        if known is not None and known[0] <= priority:
            return
        since = known[1] if known is not None else self._monotonic()
        self._wanted[key] = (priority, since)
        self._observer.depth(len(self._wanted))
        if key not in self._working:
            self._ready[priority].append(key)
            self._wake()

    def _ripen(self) -> None:
        """Move the keys whose time has come into the ready lane."""
        now = self._monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._deadlines.get(key) == due:
                del self._deadlines[key]
                self._observer.added()
                self._want(key, Priority.ROUTINE)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _arm(self) -> None:
        """Let the event loop wake a waiter when the earliest delay is over."""
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # used synchronously: whoever calls `next` looks at the clock
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = loop.call_later(max(0.0, self._heap[0][0] - self._monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._ripen()
        self._arm()
