"""Where a workload is told: one namespace with its node, its routers and its users. The same for every tier.

    async with Stage("plan-7", access, clock) as stage:
        operator = Operator(..., fetch=stage.fetch)
        await workload.perform(stage)

Everything goes through `Kube`, `Clock` and `asyncio.sleep`, so virtual time will do as well as real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from millrace.api import resources
from millrace.clients.clock import Clock
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest

from .envoy import Envoys
from .kubelet import Kubelet, Pace, Pulse, Script, forever
from .people import People

VIRTUAL: Final = Pace()
"""Where waiting costs nothing."""
REAL: Final = Pace(poll=0.5, start=0.2, stage=0.2, stop=0.2, lag=0.2, patience=120.0)
NODE: Final = "node"
"""The user that the kubelet is: it may write the status of pods, bind and delete them."""

HASTE: Final = {
    "millrace.decide.deployment.progress.LINGER_SECONDS": 1.0,
    "millrace.observe.scrapes.BUSY_SECONDS": 0.5,
    "millrace.observe.scrapes.IDLE_SECONDS": 2.0,
    "millrace.observe.scrapes.TICK_SECONDS": 0.25,
}
"""How long the operator waits where real time is dear. What depends on them is proven at their real lengths in virtual
time.
"""


class Stage:
    """The world around the operator. `access` gives the open client of `alice`, `bob`, `carol` and `node`."""

    def __init__(
        self,
        namespace: str,
        access: Callable[[str], Kube],
        clock: Clock,
        *,
        pace: Pace = VIRTUAL,
        pulse: Pulse = forever,
    ) -> None:
        self.namespace, self.clock, self.pace = namespace, clock, pace
        self.access = access
        self.script = Script()
        self.envoys = Envoys(pace.lag)
        self.kubelet = Kubelet(access(NODE), namespace, clock, self.script, self.envoys, pace, pulse)
        self.people = People(access, namespace, clock, pace, pulse)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.kubelet.run(), name=f"kubelet of {self.namespace}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def fetch(self, host: str, port: int, path: str) -> str:
        """What a pod answers to GET. Raises ScrapeFailed."""
        return await self.envoys.fetch(host, port, path, self.clock.monotonic())

    async def objects(self) -> list[Manifest]:
        """Everything in the namespace that the operator or its users made, but events and leases."""
        found: list[Manifest] = []
        for kind in (*resources.OWN, *resources.CHILDREN):
            found += await self.access(NODE).list(kind, self.namespace)
        return [one for one in found if one["metadata"]["name"] != "kube-root-ca.crt"]


@contextlib.contextmanager
def hastened() -> Iterator[None]:
    """The operator of this process waits as `HASTE` says until the block ends."""
    before = {path: _set(path, seconds) for path, seconds in HASTE.items()}
    try:
        yield
    finally:
        for path, seconds in before.items():
            _set(path, seconds)


def hasten() -> None:
    """The same for the rest of the process's life."""
    for path, seconds in HASTE.items():
        _set(path, seconds)


def _set(path: str, seconds: float) -> float:
    """The value before."""
    module, _, name = path.rpartition(".")
    found = importlib.import_module(module)
    before = float(getattr(found, name))
    setattr(found, name, seconds)
    return before
