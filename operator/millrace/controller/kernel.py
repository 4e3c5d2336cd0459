"""The kernel: from what a watch shows to a pass over the objects it concerns.

``saw`` is all that the kopf adapter calls: it updates the cache and adds keys to queues, never waits and never
decides. Every replica keeps its cache warm; queues are filled and emptied on the leader only, which starts by looking
at everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.apply.events import Recorder
from millrace.apply.execute import Executor
from millrace.apply.ledger import Ledger
from millrace.clients.store import Key, Manifest, name_of
from millrace.clients.world import World
from millrace.controller import probes
from millrace.controller.audit import Audit
from millrace.controller.queue import Priority, WorkQueue
from millrace.controller.reconciler import Reconciler
from millrace.controller.routing import Controller, route
from millrace.controller.workers import Workers
from millrace.telemetry import Log, QueueSeries, Series

log = Log(__name__)

MANAGED = f"{keys.MANAGED_BY}={keys.MANAGED_BY_VALUE}"
ECHO_SECONDS = 0.5
"""First delay of an object whose own status writes keep waking it."""
ECHOES = 5

Duty = Callable[[], Awaitable[None]]


def watched(
    controllers: Iterable[Controller], children: Iterable[ResourceType], label: str = ""
) -> dict[ResourceType, str]:
    """What to watch, and with which label selector; Namespaces by ``label`` where it says which are ours."""
    namespaces = {resources.NAMESPACES: label} if label else {}
    own = {controller.resource: "" for controller in controllers}
    return namespaces | own | {child: MANAGED for child in children if child not in own}


class Kernel:
    """Everything between the watches and the workers of one replica."""

    def __init__(
        self,
        world: World,
        controllers: Iterable[Controller],
        series: Series,
        *,
        children: Iterable[ResourceType] = resources.CHILDREN,
    ) -> None:
        self.world = world
        self.series = series
        self._controllers = tuple(controllers)
        self.watched = watched(self._controllers, children, world.territory.label)
        self.leads = False
        self.duties: list[Duty] = []
        """Further leader-only tasks, such as scraping."""
        self._echoes: dict[Key, tuple[int, float]] = {}
        clock, settings = world.clock, world.settings
        self._queues: Mapping[ResourceType, WorkQueue[Key]] = {
            one.resource: WorkQueue(clock.monotonic, observer=QueueSeries(series, one.name))
            for one in self._controllers
        }
        self._ledger = Ledger(clock.monotonic)
        self._executor = Executor(
            world.kube, world.store, self._ledger, Recorder(world.kube, clock, settings.identity or "millrace")
        )
        reconcilers = [Reconciler(one, world, self._executor, self._ledger, self.learn) for one in self._controllers]
        self._workers = Workers(self._queues, reconcilers, series, clock.monotonic, each=settings.workers)
        self.audit = Audit(world.kube, world.store, clock, self.watched, world.territory, self.learn, series)
        self.heart = probes.Heart(series)
        world.enqueue = self.enqueue

    def saw(self, resource: ResourceType, kind: str | None, manifest: Manifest) -> None:
        """A watch event: ADDED, MODIFIED, DELETED, or None for an item of a list."""
        if kind is None:
            self.audit.soon(resource)
        self.learn(resource, manifest, kind == "DELETED")

    def learn(self, resource: ResourceType, manifest: Manifest, gone: bool) -> None:
        """Update the cache and wake whom it concerns."""
        metadata = manifest["metadata"]
        key = Key(resource, *name_of(manifest))
        if gone:
            self._ledger.dropped(key, metadata["uid"])
            if self.world.store.drop(*key, uid=metadata["uid"]) is None:
                return
            self._executor.forget(key)
            self._echoes.pop(key, None)
        elif not self.world.store.put(resource, manifest):
            return
        if not self.leads:
            return
        if resource == resources.NAMESPACES:
            self._look_at_all(metadata["name"])
        for woken in route(self._controllers, self.world, resource, manifest):
            if woken == key and not gone and self._ledger.is_own(key, metadata["resourceVersion"]):
                self._queues[resource].add_after(key, self._echo_delay(key))
            else:
                self._add(woken, Priority.CHANGE)

    async def survey(self) -> None:
        """See which namespaces are open. What was in one that no longer is is not acted on."""
        for namespace in await self.world.territory.survey(self.world.kube):
            for resource in self.watched:
                for manifest in self.world.store.list(resource, namespace):
                    self.learn(resource, manifest, True)

    def enqueue(self, resource: ResourceType, namespace: str, name: str) -> None:
        """Ask for a pass over an object of one of our kinds. Nothing happens on a replica that does not lead."""
        if self.leads:
            self._add(Key(resource, namespace, name), Priority.CHANGE)

    def check_live(self) -> str:
        """Why this process should be restarted, or an empty string; called from another thread."""
        if late := self.heart.check():
            return late
        if self.audit.is_blind:
            return "a watch has been behind for several audits"
        idle = self.world.clock.monotonic() - self._workers.progress.last_end
        if self.leads and idle > probes.STUCK_SECONDS and any(len(queue) for queue in self._queues.values()):
            return f"keys are waiting and no pass has ended for {idle:.0f} s"
        return ""

    def check_ready(self) -> str:
        """Whether the cache holds everything; a standby is as ready as the leader."""
        return "" if self.audit.synced else "the cache is not complete yet"

    async def lead(self) -> None:
        """The duties of the leader, until cancelled: look at everything once, then at what changes."""
        self.leads = True
        try:
            self._look_at_all()
            self._workers.progress.last_end = self.world.clock.monotonic()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._workers.run(), name="workers")
                for duty in self.duties:
                    group.create_task(_keep(duty), name="duty")
        finally:
            self.leads = False

    async def drain(self) -> None:
        """Before stopping: let running passes end."""
        await self._workers.drain()

    def _look_at_all(self, namespace: str | None = None) -> None:
        for resource in self._queues:
            for manifest in self.world.store.list(resource, namespace):
                metadata = manifest["metadata"]
                self._add(Key(resource, metadata["namespace"], metadata["name"]), Priority.ROUTINE)

    def _add(self, key: Key, priority: Priority) -> None:
        queue, store = self._queues.get(key.resource), self.world.store
        if queue is not None and store.get(*key) is not None and self.world.territory.holds(store, key.namespace):
            queue.add(key, priority)

    def _echo_delay(self, key: Key) -> float:
        """0 for the echo of a status write; growing when each echo makes another write, which no decision should."""
        now = self.world.clock.monotonic()
        count, last = self._echoes.get(key, (0, float("-inf")))
        count = count + 1 if now - last < max(1.0, 2 * _echo_seconds(count)) else 0
        self._echoes[key] = (count, now)
        return _echo_seconds(count)


def _echo_seconds(count: int) -> float:
    return 0.0 if count < ECHOES else min(60.0, ECHO_SECONDS * 2.0 ** min(count - ECHOES, 10))


async def _keep(duty: Duty) -> None:
    """Run a background duty; when it fails, say so and start it again."""
    while True:
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - a scraper must not stop the operator
            log.failure("a background duty failed", error=error, duty=getattr(duty, "__qualname__", str(duty)))
        await asyncio.sleep(5.0)
