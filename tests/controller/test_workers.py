"""When a pass is made again that could not do everything."""

from __future__ import annotations

from typing import Any, cast

import pytest

from millrace import errors
from millrace.api import resources
from millrace.clients.store import Key
from millrace.controller.queue import Backoff, WorkQueue
from millrace.controller.reconciler import Reconciler
from millrace.controller.workers import Workers
from millrace.telemetry import Series
from millrace_kit.clock import ManualClock

KEY = Key(resources.DATASETS, "default", "d")


class Refused:
    """A reconciler whose passes fail, and that is asked to say so."""

    resource = resources.DATASETS

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.complaints = 0

    async def reconcile(self, key: Key, failures_before: int) -> Any:
        raise self.error

    async def report_failure(self, key: Key, count: int) -> None:
        self.complaints += 1


async def waits(error: Exception, passes: int) -> tuple[float, int]:
    """Seconds until the next pass after so many that failed, and how often the status was to say so."""
    clock = ManualClock()
    queue: WorkQueue[Key] = WorkQueue(clock.monotonic, backoff=Backoff(jitter=0.0))
    reconciler = Refused(error)
    workers = Workers({KEY.resource: queue}, (), Series(), clock.monotonic, each=1)
    for _ in range(passes):
        queue.add(KEY)
        taken = queue.next()
        assert taken is not None
        await workers._pass(cast("Reconciler", reconciler), queue, taken)
        queue.done(KEY)
    for second in range(1, 400):
        clock.advance(1.0)
        if queue.next() is not None:
            return float(second), reconciler.complaints
    raise AssertionError("it is never looked at again")


@pytest.mark.parametrize(
    ("wake_after", "passes", "seconds"),
    [(None, 12, 60), (2.0, 12, 30), (45.0, 12, 45), (500.0, 12, 60), (2.0, 1, 1)],
    ids=["nothing waits", "something waits", "for longer", "for very long", "the first time"],
)
async def test_what_waits_for_time_is_looked_at_though_something_else_is_refused(
    wake_after: float | None, passes: int, seconds: float
) -> None:
    error = errors.WritesFailed([errors.Forbidden("exceeded quota")], wake_after)
    assert await waits(error, passes) == (seconds, 0)


async def test_a_pass_that_could_not_say_so_itself_is_said_for_it() -> None:
    assert await waits(errors.Unavailable("nobody answers"), 3) == (2, 3)
