"""What ``observe`` may read.

    async def observe(world: World, namespace: str, name: str) -> Observation | None
    decide(observation) -> Plan

* ``world.store`` is the cache filled by the watches. Read it first; manifests in it are **read-only**.
* ``world.kube`` asks the API server itself. Use it for what is not watched, and re-read live before anything
  irreversible.
* ``world.clock`` is the only source of time; ``now()`` is an aware UTC datetime.
* ``world.scrapes`` and ``world.policy`` are filled by background tasks. ``observe`` never waits for them.

Background tasks are made in ``wiring``: ``observe.scrapes.Scrapes(world)`` with ``async run()`` (leader only), and
``observe.policy.watch(world)`` (a coroutine, every replica) which replaces ``world.policy``.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.api.resources import ResourceType
from millrace.clients.clock import Clock, Steadiness
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace.clients.territory import Territory
from millrace.clients.turns import Turns

if TYPE_CHECKING:
    from millrace.settings import Settings

Enqueue = Callable[[ResourceType, str, str], None]
"""Ask for a reconcile of ``(resource, namespace, name)``; cheap, de-duplicated, callable at any time."""


@dataclass(frozen=True)
class PolicyStatus:
    """Whether the admission policies that guard approvals are in force: ``None`` means not known (yet)."""

    in_force: bool | None = None
    message: str = "the admission policies have not been looked at yet"
    epoch: str = ""
    """The same as long as nobody has changed, removed or put back the policies or their bindings; empty: not known."""
    since: datetime | None = None
    """When somebody last did, by the API server's clock."""


def _nobody(resource: ResourceType, namespace: str, name: str) -> None:
    """The default, until the queues exist: does nothing."""


@dataclass
class World:
    """Everything a pass over one object may read."""

    store: Store
    kube: Kube
    clock: Clock
    settings: Settings
    scrapes: Any = None
    policy: PolicyStatus = field(default_factory=PolicyStatus)
    enqueue: Enqueue = _nobody
    steadiness: Steadiness = field(init=False)
    territory: Territory = field(init=False)

    def __post_init__(self) -> None:
        self.territory = Territory(self.settings)
        self.steadiness = Steadiness(self.clock)

    @functools.cached_property
    def looks(self) -> Turns:
        """Whose turn it is to look at a source; by namespace and name of the Job."""
        return Turns(self.settings.snapshots_at_a_time, self.clock.monotonic)

    @functools.cached_property
    def upgrades(self) -> Turns:
        """Whose turn it is to change the image of its servers in place; by namespace and name of the Deployment."""
        return Turns(self.settings.upgrades_at_a_time, self.clock.monotonic)


Observe = Callable[[World, str, str], Awaitable[Any]]
"""``observe.<kind>.observe``: what ``decide.<kind>.decide`` needs to know, or None if the object is gone."""

MapFunction = Callable[[World, Manifest], Iterable[tuple[str, str]]]
"""From an object that appeared, changed or went to the ``(namespace, name)`` of the objects of one's own kind that must
be reconciled; controller-runtime's ``handler.MapFunc``.
"""

MapFunctions = Mapping[ResourceType, MapFunction]
"""``observe.<kind>.WATCHES``: which kinds wake which others, e.g. a Model wakes the Deployments that select it.

Not needed for controlled children (mapped by ownerReference) nor for objects labelled ``millrace.dev/dataset``,
``training-run`` or ``deployment`` (mapped by label).
"""
