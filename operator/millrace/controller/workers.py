"""The workers of all kinds. They work while this replica leads, and only then.

A worker takes a key, makes a pass and says when to look again: at once if the key became wanted meanwhile, after a
delay if the pass asked for one, after a backoff if it failed. An exception never ends a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.clients.store import Key
from millrace.controller.queue import Priority, Taken, WorkQueue
from millrace.controller.reconciler import Reconciler, Result
from millrace.telemetry import Log, Series

log = Log(__name__)

PASS_SECONDS = 120.0
"""A pass that takes longer is cancelled and retried: something in it hangs."""
REFUSED_SECONDS = (30.0, 60.0)
"""The shortest and the longest wait of an object some of whose writes keep failing.

Each pass repeats them, so passes that wait for time come no sooner. What ends a refusal, more quota for instance,
causes no event, so they come no later either.
"""
GRACE_SECONDS = 8.0
"""How long running passes may go on when the operator stops."""


class Progress:
    """When a pass last ended, for the liveness probe."""

    def __init__(self, now: float) -> None:
        self.last_end = now


class Workers:
    """Bounded workers for each kind's queue."""

    def __init__(
        self,
        queues: Mapping[ResourceType, WorkQueue[Key]],
        reconcilers: Iterable[Reconciler],
        series: Series,
        monotonic: Callable[[], float],
        *,
        each: int,
    ) -> None:
        self._queues = queues
        self._reconcilers = tuple(reconcilers)
        self._series = series
        self._each = each
        self._draining = asyncio.Event()
        self._monotonic = monotonic
        self.progress = Progress(monotonic())

    async def run(self) -> None:
        """Work until cancelled. Cancelling interrupts running passes at their next await and waits for them."""
        self._draining.clear()
        async with asyncio.TaskGroup() as group:
            for reconciler in self._reconcilers:
                for number in range(self._each):
                    name = f"{reconciler.resource.plural}-{number}"
                    group.create_task(self._work(reconciler, self._queues[reconciler.resource]), name=name)

    async def drain(self) -> None:
        """Take no more keys and give running passes `GRACE_SECONDS` to end. Call before cancelling `run`."""
        self._draining.set()
        deadline = self._monotonic() + GRACE_SECONDS
        while any(queue.working for queue in self._queues.values()) and self._monotonic() < deadline:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(0.02)

    async def _work(self, reconciler: Reconciler, queue: WorkQueue[Key]) -> None:
        while not self._draining.is_set():
            taken = await queue.take()
            try:
                if self._draining.is_set():
                    queue.add(taken.key, taken.priority)
                    return
                await self._pass(reconciler, queue, taken)
            finally:
                queue.done(taken.key)
                self.progress.last_end = self._monotonic()

    async def _pass(self, reconciler: Reconciler, queue: WorkQueue[Key], taken: Taken[Key]) -> None:
        name, key = reconciler.resource.kind.lower(), taken.key
        started = self._monotonic()
        if taken.priority is Priority.CHANGE:
            self._series.event_to_reconcile.labels(controller=name).observe(started - taken.since)
        try:
            async with asyncio.timeout(PASS_SECONDS):
                result = await reconciler.reconcile(key, queue.failures(key))
        except asyncio.CancelledError:
            queue.add(key)
            raise
        except errors.NotLeader:
            queue.add(key)
            result = Result("requeue")
            await asyncio.sleep(0.5)  # whoever held the lease is about to be cancelled
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            result = Result("error")
            await self._failed(reconciler, queue, key, error)
        else:
            queue.forgive(key)
            if result.again_after is not None:
                queue.add_after(key, result.again_after)
        self._series.reconciles.labels(controller=name, result=result.label).inc()
        self._series.reconcile_time.labels(controller=name).observe(self._monotonic() - started)

    async def _failed(self, reconciler: Reconciler, queue: WorkQueue[Key], key: Key, error: Exception) -> None:
        self._series.reconcile_errors.labels(controller=reconciler.resource.kind.lower()).inc()
        again = queue.retry(key)
        count = queue.failures(key)
        if isinstance(error, errors.WritesFailed):
            shortest, longest = REFUSED_SECONDS
            again = min(again, longest if error.wake_after is None else max(shortest, min(longest, error.wake_after)))
            queue.add_after(key, again)
        expected = isinstance(error, errors.MillraceError)
        log.warning(
            "a pass failed",
            key=str(key),
            failures=count,
            retry_in_seconds=round(again, 1),
            why=str(error) or type(error).__name__,
            error=None if expected else error,
        )
        if not isinstance(error, errors.WritesFailed):  # these are in the status already
            await reconciler.report_failure(key, count)
