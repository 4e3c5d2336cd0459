"""Zero-delay batching: what has been decoded by the time the model is free is one run of it; nothing waits for more.

A run costs a fixed price and one per row, so requests that arrive together share the fixed one (Triton's default, its
docs/user_guide/batcher.md). A request alone runs at the end of the same turn of the event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from millrace_runtime import discretion
from millrace_runtime.serving import log
from millrace_runtime.serving.session import ModelFailed, Session
from millrace_runtime.serving.statistics import Statistics
from millrace_runtime.serving.tensors import Array

INLINE_SECONDS = 0.002
"""A run that should take longer leaves the event loop to health checks and small requests."""
MOST_ROWS = 256
"""Of requests that are run together; a larger request runs alone."""

Feeds = dict[str, Array]
Done = Callable[["list[Array] | ModelFailed | Late"], None]


class Late(Exception):
    """The model was not free before the caller's time was over."""


class Waiting(NamedTuple):
    """A decoded request, and who is told of its results."""

    feeds: Feeds
    rows: int
    done: Done
    since: int
    """perf_counter_ns when it was decoded."""
    alone: bool = False
    """It was in a run that failed: one of the requests was at fault, and the others must not pay for it."""
    until: float = math.inf
    """perf_counter_ns after which nobody waits for it any more."""


class Pace:
    """How long runs take, by the size of the batch: moving averages for sizes up to 1, 2, 4, 8 ... rows."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def expected(self, rows: int) -> float:
        """Seconds; from the next smaller size in proportion where there is none of this size, 0 where there is none."""
        size = rows.bit_length()
        for known in range(size, 0, -1):
            if known in self._seconds:
                return self._seconds[known] * 2.0 ** (size - known)
        return 0.0

    def took(self, rows: int, seconds: float) -> None:
        """Learn from one run."""
        size = rows.bit_length()
        before = self._seconds.get(size, seconds)
        self._seconds[size] = before + 0.1 * (seconds - before)


class _Run(NamedTuple):
    """Requests that are one run of the model."""

    requests: list[Waiting]
    feeds: Feeds
    rows: int


class _Outcome(NamedTuple):
    """What came of a run, when it began and how long it took, both in nanoseconds."""

    results: list[Array] | ModelFailed
    started: int
    elapsed: int


class Batcher:
    """One model's queue. Everything but the run itself happens on the event loop."""

    def __init__(
        self, session: Session, statistics: Statistics, told: Callable[[Feeds, list[Array], int], None], *, joins: bool
    ) -> None:
        """``told`` hears of every run that succeeded: arrays in, arrays out, rows. ``joins``: whether rows of several
        requests may be one run.
        """
        self._session = session
        self._statistics = statistics
        self._told = told
        self._joins = joins
        self._waiting: list[Waiting] = []
        self._pace = Pace()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._busy = False
        """A flush is scheduled, or the thread runs the model."""

    def submit(self, feeds: Feeds, rows: int, done: Done, timeout_us: int = 0) -> None:
        """Run it soon; ``done`` is called on the event loop, never before this returns.

        It is told `Late` in place of results when the run could not begin within ``timeout_us``; 0 is no limit.
        """
        now = time.perf_counter_ns()
        until = now + timeout_us * 1000 if timeout_us else math.inf
        self._waiting.append(Waiting(feeds, rows, done, now, until=until))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One run; before the next one the loop looks at its sockets."""
        self._give_up(time.perf_counter_ns())
        if self._waiting:
            run = self._next()
            if self._pace.expected(run.rows) > INLINE_SECONDS:
                self._offload(run)
                return
            self._finish(run, self._compute(run))
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._flush)

    def _give_up(self, now: int) -> None:
        """Tell those whose time is over."""
        late = [one for one in self._waiting if one.until < now]
        if late:
            self._waiting = [one for one in self._waiting if one.until >= now]
            for one in late:
                one.done(Late())

    def _next(self) -> _Run:
        """The first of those that wait, and as many after it as fit into one run."""
        first = self._waiting[0]
        count, rows = 1, first.rows
        if self._joins and not first.alone:
            for one in self._waiting[1:]:
                if one.alone or rows + one.rows > MOST_ROWS or not _same_columns(one.feeds, first.feeds):
                    break
                count, rows = count + 1, rows + one.rows
        requests, self._waiting = self._waiting[:count], self._waiting[count:]
        if count == 1:
            return _Run(requests, requests[0].feeds, rows)
        names = requests[0].feeds
        return _Run(requests, {name: np.concatenate([one.feeds[name] for one in requests]) for name in names}, rows)

    def _offload(self, run: _Run) -> None:
        def finish(future: asyncio.Future[_Outcome]) -> None:
            self._finish(run, future.result())
            self._flush()

        asyncio.get_running_loop().run_in_executor(self._thread, self._compute, run).add_done_callback(finish)

    def _compute(self, run: _Run) -> _Outcome:
        """The run itself; nothing else may happen on a thread."""
        started = time.perf_counter_ns()
        results: list[Array] | ModelFailed
        try:
            results = self._session.run(run.feeds)
        except ModelFailed as failure:
            results = failure
        except Exception as error:  # noqa: BLE001 - whoever waits is told; the next run is another one
            results = ModelFailed(f"{type(error).__name__}: {error}"[:500])
        return _Outcome(results, started, time.perf_counter_ns() - started)

    def _finish(self, run: _Run, outcome: _Outcome) -> None:
        results = outcome.results
        for one in run.requests:
            if not one.alone:
                self._statistics.queue.add(outcome.started - one.since)
        if isinstance(results, ModelFailed):
            if len(run.requests) == 1:
                run.requests[0].done(results)
            else:
                # Their time limit was for the first run, which was in time.
                self._waiting[:0] = [one._replace(alone=True, until=math.inf) for one in run.requests]
            return
        self._pace.took(run.rows, outcome.elapsed / 1e9)
        self._statistics.executed(run.rows, outcome.elapsed)
        try:
            self._told(run.feeds, results, run.rows)
        except Exception as error:  # noqa: BLE001 - counting must not cost an answer
            log.write("error", "a run could not be counted", error=discretion.told(error))
        if len(run.requests) == 1:
            run.requests[0].done(results)
            return
        start = 0
        for one in run.requests:
            stop = start + one.rows
            one.done([array[start:stop] for array in results])
            start = stop


def _same_columns(one: Feeds, other: Feeds) -> bool:
    """Whether the arrays fit below one another: free dimensions after the first may differ."""
    return all(array.shape[1:] == other[name].shape[1:] for name, array in one.items())
