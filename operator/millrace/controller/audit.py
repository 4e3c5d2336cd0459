"""Whether the cache agrees with the cluster, found out by comparing it with a LIST of metadata.

kopf does not notice what vanished while a watch was broken (after a 410 it lists again, and absent objects make no
event), so absence is established here. For each kind, from time to time and soon after kopf listed it again:

* cached but not listed, and not newer than the list: a ghost; it is dropped and whoever it concerned is woken;
* listed but not cached, or listed in a newer version, and still so `GRACE_SECONDS` later: the watch is behind; the
  object is read live, put into the cache and routed like an event, and counted as stale.

A kind is audited every 10 minutes; one with few objects more often, because its list costs little: as many seconds as
it has objects, at least a minute. That also covers a kind whose last object vanished in a gap: the list that kopf makes
then is empty and causes no event.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from millrace import errors
from millrace.api.resources import NAMESPACES, ResourceType
from millrace.clients import store as stores
from millrace.clients.clock import Clock
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store, name_of
from millrace.clients.territory import EVERYWHERE, Territory
from millrace.controller import live
from millrace.controller.live import Learn
from millrace.telemetry import Log, Series

log = Log(__name__)

LONGEST_SECONDS = 600.0
SHORTEST_SECONDS = 60.0
JITTER = 0.2
SOON_SECONDS = 1.0
GRACE_SECONDS = 2.0
SYNC_SECONDS = 0.2
STALE_AUDITS = 2
"""After so many audits in a row that find stale objects the process reports itself as not alive, to be restarted."""


@dataclass(frozen=True)
class Difference:
    """What separates the cache from a list; entries are ``(namespace, name)``."""

    ghosts: frozenset[tuple[str, str]]
    missing: frozenset[tuple[str, str]]


def compare(
    store: Store, resource: ResourceType, listed: list[Manifest], version: str, namespace: str | None = None
) -> Difference:
    """Compare the cache of one kind, or of what it has in one namespace, with its metadata list of resourceVersion
    ``version``.
    """
    live = {name_of(one): one["metadata"] for one in listed}
    cached = {name_of(one): one["metadata"] for one in store.list(resource, namespace)}
    ghosts = {
        key
        for key, metadata in cached.items()
        if (key not in live or live[key]["uid"] != metadata["uid"])
        and stores.newer(metadata["resourceVersion"], version) is not True
    }
    missing = {
        key
        for key, metadata in live.items()
        if key not in cached
        or cached[key]["uid"] != metadata["uid"]
        or stores.newer(metadata["resourceVersion"], cached[key]["resourceVersion"]) is True
    }
    return Difference(frozenset(ghosts), frozenset(missing))


class Audit:
    """Audits of all watched kinds in all open namespaces."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        clock: Clock,
        watched: Mapping[ResourceType, str],
        territory: Territory,
        sink: Learn,
        series: Series,
    ) -> None:
        self._kube = kube
        self._store = store
        self._clock = clock
        self._watched = watched
        self._territory = territory
        self._sink = sink
        self._series = series
        self._wanted = {resource: asyncio.Event() for resource in watched}
        self._stale_in_a_row = dict.fromkeys(watched, 0)
        self.synced = False

    @property
    def is_blind(self) -> bool:
        """Whether some watch has been behind for several audits: a new process would do better."""
        return any(count >= STALE_AUDITS for count in self._stale_in_a_row.values())

    def soon(self, resource: ResourceType) -> None:
        """Audit soon: kopf listed this kind again: something may have vanished meanwhile."""
        if self.synced:
            self._wanted[resource].set()

    async def sync(self) -> None:
        """Wait until the cache holds everything that a live list of every kind shows."""
        for resource in self._watched:
            await self._complete(resource)
        self.synced = True

    async def _complete(self, resource: ResourceType) -> None:
        while True:
            try:
                if self._territory.open and not (await self._compared(resource)).missing:
                    return
            except errors.ApiError as error:
                log.warning("a kind cannot be listed", resource=resource.plural, why=str(error))
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(SYNC_SECONDS)

    async def _compared(self, resource: ResourceType) -> Difference:
        """The cache beside a list of each open namespace. Raises ApiError."""
        found = []
        for namespace in self._territory.open:
            place = EVERYWHERE if resource == NAMESPACES else namespace
            listed, version = await self._kube.list_metadata(resource, place, self._watched[resource])
            found.append(compare(self._store, resource, listed, version, place or None))
        return Difference(
            frozenset().union(*(one.ghosts for one in found)), frozenset().union(*(one.missing for one in found))
        )

    async def run(self) -> None:
        """Audit every kind until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in self._watched:
                group.create_task(self._run(resource), name=f"audit {resource.plural}")

    async def _run(self, resource: ResourceType) -> None:
        while True:
            await self._pause(resource)
            try:
                await self.audit(resource)
            except errors.ApiError as error:
                log.warning("an audit failed", resource=resource.plural, why=str(error))

    async def _pause(self, resource: ResourceType) -> None:
        wanted = self._wanted[resource]
        seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, float(self._store.count(resource))))
        try:
            async with asyncio.timeout(seconds * random.uniform(1 - JITTER, 1 + JITTER)):  # noqa: S311 - jitter
                await wanted.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SOON_SECONDS)  # the rest of the same list is arriving
        wanted.clear()

    async def audit(self, resource: ResourceType) -> None:
        """One audit of one kind. Raises ApiError."""
        difference = await self._compared(resource)
        for namespace, name in sorted(difference.ghosts):
            gone = self._store.get(resource, namespace, name)
            if gone is not None:
                log.warning(
                    "an object was gone without a word", resource=resource.plural, namespace=namespace, name=name
                )
                self._series.ghosts.labels(resource=resource.plural).inc()
                self._sink(resource, gone, True)
        stale = await self._heal(resource, difference.missing) if difference.missing else 0
        self._stale_in_a_row[resource] = self._stale_in_a_row[resource] + 1 if stale else 0
        self._series.stale.labels(resource=resource.plural).set(stale)
        self._series.cached.labels(resource=resource.plural).set(self._store.count(resource))
        self._series.audited.labels(resource=resource.plural).set(self._clock.now().timestamp())

    async def _heal(self, resource: ResourceType, suspects: frozenset[tuple[str, str]]) -> int:
        """Give the watch a moment, then read what it still does not show. Returns how many objects that were."""
        before = {key: self._store.get(resource, *key) for key in suspects}
        await asyncio.sleep(GRACE_SECONDS)
        still = (await self._compared(resource)).missing & suspects
        healed = 0
        for key in sorted(still):
            if self._store.get(resource, *key) is not before[key]:
                continue  # the watch moves: it is merely busy
            if await live.read(self._kube, self._store, Key(resource, *key), self._sink) is None:
                continue
            log.warning("an object was not shown by its watch", resource=resource.plural, namespace=key[0], name=key[1])
            healed += 1
        return healed
