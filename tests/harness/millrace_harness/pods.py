"""The operator's pods on a real API server: replicas of the real `wiring.Operator`, which die and come back.

All run on one loop (`realtime.RealLoop`), each as an owner of its own behind a door of its own, so that a kill costs
nothing: its door shuts, its tasks are cancelled, and the pod's next container starts under the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from millrace import wiring
from millrace.clients.scrape import Fetch
from millrace.clients.world import World
from millrace.controller.kernel import Duty
from millrace.observe import policy, scrapes
from millrace.settings import Settings

from .plane import OPERATOR
from .proxy import Door, Note, Proxy, Through
from .realtime import SkewedClock
from .virtual import Owner
from .wire import Show

RESTART_SECONDS: Final = 0.2
"""From a death to the next start; a kubelet takes longer."""
CRASH_SECONDS: Final = 1.0
"""The same after a death that nobody caused."""


@dataclass(frozen=True)
class Terms:
    """How replicas live."""

    request_seconds: float = 4.0
    lease_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 4.0


ALONE: Final = Terms()
CONTENDED: Final = Terms(lease_seconds=6, renew_seconds=4.0, retry_seconds=1.0)
"""Two replicas: a dead or sleeping leader is replaced within seconds."""


@dataclass
class Container:
    """One incarnation."""

    sender: str
    pod: str
    door: Door
    owner: Owner
    operator: wiring.Operator
    task: asyncio.Task[None]


@dataclass
class Pods:
    """The replicas of one namespace's operator."""

    proxy: Proxy
    namespace: str
    fetch: Fetch
    through: Through
    show: Show
    note: Note
    terms: Terms = ALONE
    clock: SkewedClock = field(default_factory=SkewedClock)
    living: dict[str, Container] = field(default_factory=dict)
    """By sender."""
    crashes: list[str] = field(default_factory=list)
    """Deaths that nobody caused."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, pod: str) -> Container:
        """Start the pod's container; it knows nothing of the one before."""
        sender = f"{OPERATOR}-{next(self._numbers)}"
        door = self.proxy.open(sender, user=OPERATOR, through=self.through, show=self.show, note=self.note)
        operator = self._operator(pod, door)
        owner = Owner(sender, asyncio.get_running_loop())  # type: ignore[arg-type]  # a RealLoop
        task = owner.spawn(operator.run(signals=False), sender)
        made = self.living[sender] = Container(sender, pod, door, owner, operator, task)
        task.add_done_callback(lambda _: self._ended(made))
        return made

    def kill(self, sender: str) -> None:
        """From now on nothing that it sends arrives. Its pod starts it again soon."""
        container = self.living.pop(sender, None)
        if container is not None:
            self._end(container)
            self._spawn(self._restart(container.pod, RESTART_SECONDS))

    async def pause(self, sender: str, seconds: float) -> None:
        """Stop the process as a whole, as a SIGSTOP does, for so long."""
        container = self.living.get(sender)
        if container is None:
            return
        container.owner.pause()
        try:
            await asyncio.sleep(seconds)
        finally:
            container.owner.resume()

    async def stop(self) -> None:
        """End everything, at once."""
        for job in list(self._jobs):
            job.cancel()
        owners = []
        for sender in list(self.living):
            container = self.living.pop(sender)
            self._end(container)
            owners.append(container.owner)
        await asyncio.gather(*(owner.ended() for owner in owners), *self._jobs, return_exceptions=True)

    @property
    def leader(self) -> Container | None:
        """Who leads, as it believes."""
        return next((one for one in self.living.values() if one.operator.kernel.leads), None)

    def _operator(self, pod: str, door: Door) -> wiring.Operator:
        settings = Settings(
            namespace=self.namespace,
            trainer_image="trainer:1",
            server_image="server:1",
            router_image="router:1",
            metrics_port=0,
            identity=pod,
            workers=2,
        )
        made = wiring.Operator(
            settings,
            self.proxy.credentials(door),
            wiring.controllers(),
            clock=self.clock,
            timeout=self.terms.request_seconds,
            tasks=_duties(self.fetch),
            lease_seconds=self.terms.lease_seconds,
            renew_seconds=self.terms.renew_seconds,
            retry_seconds=self.terms.retry_seconds,
        )
        made.probes = contextlib.nullcontext()  # type: ignore[assignment]  # a thread each, and nobody asks
        return made

    def _end(self, container: Container) -> None:
        self.proxy.close(container.door)
        container.owner.kill()

    def _ended(self, container: Container) -> None:
        """Its task is done. If nobody ended it, it has crashed; one that could not even start is started again."""
        if self.living.pop(container.sender, None) is None:
            _hear(container.task)
            return
        error = None if container.task.cancelled() else container.task.exception()
        if container.operator.kernel.audit.synced:
            self.crashes.append(f"{container.sender} ended by itself: {error!r}")
        self._end(container)
        self._spawn(self._restart(container.pod, CRASH_SECONDS))

    async def _restart(self, pod: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.start(pod)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def _duties(fetch: Fetch) -> Callable[[World], tuple[list[Duty], list[Duty]]]:
    """As installed, but pods are asked through `fetch`."""

    def duties(world: World) -> tuple[list[Duty], list[Duty]]:
        world.scrapes = scrapes.Scrapes(world, fetch)

        async def watch_policies() -> None:
            await policy.watch(world)

        return [world.scrapes.run], [watch_policies]

    return duties


def _hear(task: asyncio.Task[None]) -> None:
    """Errors of a killed process are ignored."""
    if not task.cancelled():
        task.exception()
