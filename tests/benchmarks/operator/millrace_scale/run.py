"""One run: an operator of its own process, objects created at once, and the wait until nothing is written any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace_cluster.failure import ClusterError
from millrace_scale import audit, meter
from millrace_scale.contenders import Contender, Manifest
from millrace_scale.figures import Figures, Run, figures, first_children
from millrace_scale.plane import MAKER, Plane, running

AT_ONCE = 16
"""Creates in flight."""
QUIET_SECONDS = 6.0
"""Longer than any operator here waits before it looks again."""
STALLED_SECONDS = 120.0
"""Quiet for so long before every object has a child: an operator that lost its lease is back long before."""
LONGEST_SECONDS = 600.0
LONGEST_SECONDS_PER_OBJECT = 0.6
"""What is written for an object, and what the controllers then do, keeps two cores busy for a third of a second."""
IDLE_SECONDS = 30.0

Say = Callable[[str], None]


class Bench:
    """A control plane and the maker's client."""

    def __init__(self, plane: Plane, say: Say) -> None:
        self.plane = plane
        self._say = say
        self.identity = credentials.from_kubeconfig(plane.control.kubeconfig_for(MAKER))

    async def run(self, contender: Contender, count: int, namespace: str) -> Figures:
        """The figures of one operator in a namespace that nobody has used.

        Raises ClusterError, with the last words of the operator, when it gets stuck.
        """
        async with Kube(self.identity, timeout=300.0) as kube:
            self.plane.namespace(namespace)
            if contender.before is not None and contender.before_kind is not None:
                await _create(kube, contender.before_kind, [contender.before(n, namespace) for n in range(count)])
            await self._calm()
            user, log = contender.name, audit.Log(self.plane.audit_log)
            command, environment = contender.start(self.plane, namespace)
            with running(self.plane, user, command, **environment) as process:
                try:
                    measured = await self._measure(kube, contender, count, namespace, process.pid, log)
                except ClusterError as error:
                    raise ClusterError(str(error), self.plane.last_words(user)) from error
        return figures(measured)

    async def _measure(
        self, kube: Kube, contender: Contender, count: int, namespace: str, pid: int, log: audit.Log
    ) -> Run:
        user = contender.name
        await _led(log, user, namespace)
        longest = LONGEST_SECONDS + LONGEST_SECONDS_PER_OBJECT * count
        await _quiet(pid, log, user, namespace, longest)
        samples = [(time.time(), meter.read(pid))]
        answers = await _create(kube, contender.resource, [contender.make(n, namespace) for n in range(count)])
        self._say(f"{count} created in {time.time() - samples[0][0]:.1f} s")
        writes, more, created = await _quiet(
            pid, log, user, namespace, longest, at_least=count, resource=contender.resource.plural
        )
        samples += more
        assert len(answers) == count
        begun, before = time.time(), meter.read(pid)
        await asyncio.sleep(IDLE_SECONDS)
        ended, after = time.time(), meter.read(pid)
        idle = len(audit.of(log.read(), user, namespace))
        return Run(user, count, created, writes, samples, (begun, before, ended, after, idle))

    async def _calm(self) -> None:
        """Until the control plane has little to do: what was made beforehand is dealt with."""
        pids = [process.pid for process in self.plane.control._processes.values()]
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            before, begun = sum(meter.read(pid).cpu for pid in pids), time.monotonic()
            await asyncio.sleep(2)
            used = (sum(meter.read(pid).cpu for pid in pids) - before) / (time.monotonic() - begun)
            if used < 0.25:
                return


async def _create(kube: Kube, resource: ResourceType, manifests: Sequence[Manifest]) -> list[Any]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(manifest: Manifest) -> Manifest:
        async with slots:
            return await kube.create(resource, manifest)

    return await asyncio.gather(*(one(manifest) for manifest in manifests))


async def _led(log: audit.Log, user: str, namespace: str) -> None:
    """Until the operator holds a lease in the namespace. Raises ClusterError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for write in log.read():
            if write.user == user and write.namespace == namespace and write.resource == audit.LEASES:
                return
        await asyncio.sleep(0.2)
    raise ClusterError(f"{user} never led", f"no write of it to a lease in {namespace}")


async def _quiet(
    pid: int, log: audit.Log, user: str, namespace: str, longest: float, *, at_least: int = 0, resource: str = ""
) -> tuple[list[audit.Write], list[tuple[float, meter.Sample]], dict[str, float]]:
    """Until the operator has written nothing for a while: its writes, samples on the way, and when objects were made.

    Raises ClusterError if it is not quiet within ``longest`` seconds, or stops before every object has a child.
    """
    writes: list[audit.Write] = []
    samples: list[tuple[float, meter.Sample]] = []
    created: dict[str, float] = {}
    deadline = time.monotonic() + longest
    last = time.time()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        found = log.read()
        samples.append((time.time(), meter.read(pid)))
        created |= {
            one.name: one.at for one in audit.of(found, MAKER, namespace) if one.makes and one.resource == resource
        }
        own = audit.of(found, user, namespace)
        writes += own
        last = time.time() if own else last
        silent = time.time() - last
        if silent > QUIET_SECONDS:
            served = len(first_children(created, writes))
            if served >= at_least:
                return writes, samples, created
            if silent > STALLED_SECONDS:
                raise ClusterError(f"{user} stopped", f"{served} of {at_least} objects have a child")
    raise ClusterError(f"{user} did not get quiet", f"{len(writes)} writes in {longest:.0f} s")


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """What the condition answers, once that is true. Raises ClusterError."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        if time.monotonic() > deadline:
            raise ClusterError("the cluster did not do as it should", f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.05)
