"""Leader election: whoever holds the Lease may write, by the monotonic clock.

The holder renews every `RETRY_SECONDS` and believes itself leader until `RENEW_SECONDS` after the *start* of its last
successful renewal. Others look every `LOOK_SECONDS` and wait until they have seen the same record for `LEASE_SECONDS`
on their own clock. Times of day in the Lease are for people. Between the two lies the time in which nobody writes,
whatever a holder was paused by: it asks `holds` before each write, and the monotonic clock went on.

Duties are cancelled and joined before the Lease is given back, so a successor never meets its predecessor. Of a holder
that dies its successor knows `LEASE_SECONDS` after the look that saw its last renewal; of one that stops, at the next
look: a handover takes two seconds at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from millrace import errors
from millrace.api import resources
from millrace.clients.clock import Clock
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.telemetry import Log

log = Log(__name__)

LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
LOOK_SECONDS = 1.0
ATTEMPT_SECONDS = 5.0


def _unheard(leads: bool) -> None:
    """The default: does nothing."""


class Election:
    """One candidate for one Lease."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        unique: bool = False,
        lease_seconds: int = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        look_seconds: float = LOOK_SECONDS,
        on_change: Callable[[bool], None] = _unheard,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._unique = unique
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._retry_seconds = retry_seconds
        self._look_seconds = min(look_seconds, retry_seconds)
        self._on_change = on_change
        self._held: Manifest | None = None
        self._valid_until = float("-inf")
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0
        self._free_at = float("inf")

    def holds(self) -> bool:
        """Whether this replica may write at this very moment."""
        return self._held is not None and self._clock.monotonic() < self._valid_until

    async def run(
        self, duties: Callable[[], Awaitable[None]], stop: asyncio.Event, drain: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait for the Lease, run ``duties`` while holding it, again and again until ``stop`` is set.

        On stop ``drain`` is awaited first, then the duties are cancelled and joined, then the Lease is given back.
        Raises what the duties raised.
        """
        while not stop.is_set():
            if not await self._attempt():
                await _sleep(self._until_next_look(), stop)
                continue
            log.info("this replica leads", lease=self._name, identity=self._identity)
            self._on_change(True)
            task = asyncio.ensure_future(duties())
            try:
                await self._keep(task, stop)
                if stop.is_set() and self.holds():
                    await drain()
            finally:
                await _join(task)
                self._on_change(False)
                log.info("this replica leads no more", lease=self._name, identity=self._identity)
                await self._release()

    async def _keep(self, task: asyncio.Future[None], stop: asyncio.Event) -> None:
        """Renew until the duties end, the Lease is lost, or ``stop`` is set."""
        while not (task.done() or stop.is_set()):
            await _sleep(self._retry_seconds * random.uniform(0.8, 1.0), stop, task)  # noqa: S311 - jitter
            if stop.is_set() or task.done():
                return
            renewed = await self._attempt()
            if not renewed and not self.holds():
                return

    def _until_next_look(self) -> float:
        """Seconds until the next look at somebody else's Lease: sooner, if by then it will have stood still enough."""
        left = self._free_at - self._clock.monotonic()
        pause = self._look_seconds if left <= 0 else min(self._look_seconds, left)
        return pause + self._look_seconds * random.uniform(0.0, 0.2)  # noqa: S311 - jitter

    async def _attempt(self) -> bool:
        """Try once to acquire or renew. A request that hangs is given up, an error is a no."""
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(min(ATTEMPT_SECONDS, self._renew_seconds / 2)):
                held = await self._take()
        except (errors.ApiError, TimeoutError) as error:
            log.warning("the lease could not be renewed", lease=self._name, why=str(error) or type(error).__name__)
            return False
        if held is None:
            self._held = None
            return False
        self._held = held
        self._valid_until = started + self._renew_seconds
        return True

    async def _take(self) -> Manifest | None:
        """The Lease if it is ours now, None if somebody else holds it."""
        if self._held is not None:
            try:
                return await self._kube.replace(resources.LEASES, self._record(self._held, renewal=True), fenced=False)
            except (errors.Conflict, errors.NotFound):
                pass  # somebody wrote it: find out who
        try:
            found = await self._kube.get(resources.LEASES, self._namespace, self._name)
        except errors.NotFound:
            return await self._kube.create_unfenced(resources.LEASES, self._record(None, renewal=False))
        spec = found.get("spec") or {}
        if not self._is_free(found):
            return None
        renewal = spec.get("holderIdentity") == self._identity
        return await self._kube.replace(resources.LEASES, self._record(found, renewal=renewal), fenced=False)

    def _is_free(self, found: Manifest) -> bool:
        """Released, or unchanged for its whole duration on our own clock; or ours, if nobody else can have our name.

        A pod's name is such a name: its containers run one after another, so its holder is our dead predecessor.
        """
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder or (self._unique and holder == self._identity):
            return True
        version = (found["metadata"]["uid"], found["metadata"]["resourceVersion"])
        now = self._clock.monotonic()
        fresh = version != self._seen
        if fresh:
            self._seen, self._seen_at = version, now
        self._free_at = self._seen_at + float(spec.get("leaseDurationSeconds") or self._lease_seconds)
        return not fresh and now >= self._free_at

    def _record(self, found: Manifest | None, *, renewal: bool) -> Manifest:
        now = _micro_time(self._clock.now())
        before = (found or {}).get("spec") or {}
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if renewal else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if renewal or not found else 1),
        }
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if found is not None:
            metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
        return {
            "apiVersion": resources.LEASES.api_version,
            "kind": resources.LEASES.kind,
            "metadata": metadata,
            "spec": spec,
        }

    async def _release(self) -> None:
        """Give the Lease back, so that the successor need not wait. A failure is ignored: the Lease runs out by
        itself.
        """
        held, self._held = self._held, None
        if held is None or self._clock.monotonic() >= self._valid_until:
            return
        record = self._record(held, renewal=True)
        record["spec"]["holderIdentity"] = ""
        record["spec"]["leaseDurationSeconds"] = 1
        with contextlib.suppress(errors.ApiError, TimeoutError):
            async with asyncio.timeout(self._retry_seconds):
                await self._kube.replace(resources.LEASES, record, fenced=False)


async def _sleep(seconds: float, stop: asyncio.Event, task: asyncio.Future[None] | None = None) -> None:
    """Sleep, but wake for ``stop`` and for the end of ``task``."""
    waiter = asyncio.ensure_future(stop.wait())
    others: set[asyncio.Future[Any]] = {waiter} if task is None else {waiter, task}
    try:
        await asyncio.wait(others, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


async def _join(task: asyncio.Future[None]) -> None:
    """Cancel and wait for the end. Raises what the task raised, unless it was our cancellation."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def _micro_time(now: datetime) -> str:
    """metav1.MicroTime."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
