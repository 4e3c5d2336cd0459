"""Everything put together, and the life of the process: start, lead or wait, stop.

`Replica` is all of it that needs no socket, thread or signal: a simulation runs it as it is. `Operator` adds what talks
to the outside: kopf's watches, the probes, the signals.

Start: settings, discovery, probes, watches, a complete cache, then the election. Stop (SIGTERM): running passes end,
the lease is given back, then the watches and the probes stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.clock import Clock, SystemClock
from millrace.clients.credentials import Credentials
from millrace.clients.kube import TIMEOUT_SECONDS, Kube
from millrace.clients.offline import OfflineKube
from millrace.clients.store import Manifest, Store
from millrace.clients.territory import SURVEY_SECONDS
from millrace.clients.world import World
from millrace.controller.kernel import Duty, Kernel
from millrace.controller.leader import Election
from millrace.controller.probes import Probes
from millrace.controller.routing import Controller
from millrace.handlers.adapter import KopfWatches
from millrace.settings import Settings
from millrace.telemetry import Log, Series

log = Log(__name__)


def controllers() -> tuple[Controller, ...]:
    """The four kinds."""
    from millrace.decide import dataset, deployment, model, training_run
    from millrace.observe import dataset as observe_dataset
    from millrace.observe import deployment as observe_deployment
    from millrace.observe import model as observe_model
    from millrace.observe import training_run as observe_run

    return (
        Controller(resources.DATASETS, observe_dataset.observe, dataset.decide, observe_dataset.WATCHES),
        Controller(resources.TRAINING_RUNS, observe_run.observe, training_run.decide, observe_run.WATCHES),
        Controller(resources.MODELS, observe_model.observe, model.decide, observe_model.WATCHES),
        Controller(resources.DEPLOYMENTS, observe_deployment.observe, deployment.decide, observe_deployment.WATCHES),
    )


def background(world: World) -> tuple[list[Duty], list[Duty]]:
    """Tasks of the leader, and tasks of every replica."""
    from millrace.observe import policy, scrapes

    world.scrapes = scrapes.Scrapes(world)

    async def watch_policies() -> None:
        await policy.watch(world)

    return [world.scrapes.run], [watch_policies]


class Replica:
    """One candidate: the cache, the election and the leader's duties. `find_kinds`, then `work` until `stop`.

    Whatever calls `kernel.saw` is its watches.
    """

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        clock: Clock,
        kinds: Iterable[Controller],
        *,
        series: Series | None = None,
        children: Iterable[ResourceType] = resources.CHILDREN,
        tasks: Callable[[World], tuple[list[Duty], list[Duty]]] = lambda _: ([], []),
        lease_seconds: int = 15,
        renew_seconds: float = 10.0,
        retry_seconds: float = 2.0,
    ) -> None:
        self.series = series or Series()
        self.settings = settings
        self.clock = clock
        self.stopping = asyncio.Event()
        self.kube = kube
        self.election = Election(
            kube,
            clock,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.identity or f"millrace-{secrets.token_hex(4)}",
            unique=bool(settings.identity),
            lease_seconds=lease_seconds,
            renew_seconds=renew_seconds,
            retry_seconds=retry_seconds,
            on_change=lambda leads: self.series.leader.labels(name=settings.lease_name).set(leads),
        )
        kube.may_write = self.election.holds
        self.world = World(Store(), kube, clock, settings)
        self.kernel = Kernel(self.world, kinds, self.series, children=children)
        self.kernel.duties, self._everywhere = tasks(self.world)

    def stop(self) -> None:
        """Begin the graceful stop."""
        if not self.stopping.is_set():
            log.info("stopping")
            self.stopping.set()

    async def work(self) -> None:
        """Fill the cache, then lead or wait until stopped. Raises what the duties raised."""
        duties = (self.kernel.heart.run, self._survey, *self._everywhere)
        tasks = [asyncio.create_task(_forever(one)) for one in duties]
        try:
            await self._unless_stopped(self.kernel.audit.sync())
            log.info(
                "the cache is complete", objects={r.plural: self.world.store.count(r) for r in self.kernel.watched}
            )
            tasks.append(asyncio.create_task(_forever(self.kernel.audit.run)))
            await self.election.run(self.kernel.lead, self.stopping, self.kernel.drain)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _survey(self) -> None:
        while True:
            await self.kernel.survey()
            await asyncio.sleep(SURVEY_SECONDS)

    async def _unless_stopped(self, work: Awaitable[None]) -> None:
        running, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, stopped):
                task.cancel()
            await asyncio.gather(running, stopped, return_exceptions=True)
        if not running.cancelled():
            running.result()

    async def find_kinds(self) -> None:
        """Kopf waits in silence for a kind that does not exist; we do not. Raises SettingsError."""
        for api_version in sorted({one.api_version for one in self.kernel.watched if one.group}):
            served = await self._served(api_version)
            missing = [
                one.plural for one in self.kernel.watched if one.api_version == api_version and one.plural not in served
            ]
            if missing:
                raise errors.SettingsError(
                    f"the cluster does not serve {', '.join(missing)} of {api_version}; install the custom resource "
                    "definitions: kubectl apply --server-side -k crds"
                )

    async def _served(self, api_version: str) -> set[str]:
        try:
            found = await self.kube.raw(f"/apis/{api_version}")
        except errors.NotFound:
            return set()
        return {one["name"] for one in found.get("resources") or ()}


class Operator(Replica):
    """A replica that is a process. `run` is its whole life; `stop` ends it."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        kinds: Iterable[Controller],
        *,
        clock: Clock | None = None,
        timeout: float = TIMEOUT_SECONDS,
        **options: Any,
    ) -> None:
        """`timeout` is that of a request, in seconds; `options` are those of `Replica`."""
        series = Series()
        kube = Kube(credentials, observer=series.observe_request, timeout=timeout)
        super().__init__(settings, kube, clock or SystemClock(), kinds, series=series, **options)
        self._credentials = credentials
        self.probes = Probes(settings.metrics_port, self.series, self.kernel.check_live, self.kernel.check_ready)

    async def run(self, *, signals: bool = True) -> None:
        """Live until stopped. Raises SettingsError if our kinds are not installed, and whatever ends the watches."""
        async with self.kube:
            await self.find_kinds()
            with self.probes:
                take_back = (lambda: _on_signals(self.stop)) if signals else (lambda: None)
                watches = KopfWatches(self.kernel, self._credentials, self.world.territory, take_back)
                await self.kernel.survey()
                await watches.start()
                watching = asyncio.create_task(watches.run(), name="watches")
                try:
                    await self._until_stopped(watching)
                finally:
                    watches.stop()
                    await asyncio.wait({watching})
                    if not watching.cancelled() and not self.stopping.is_set():
                        watching.result()

    async def _until_stopped(self, watching: asyncio.Task[None]) -> None:
        work = asyncio.create_task(self.work(), name="work")
        try:
            await asyncio.wait({watching, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.failure("the watches ended", error=None if watching.cancelled() else watching.exception())
        finally:
            if not work.done():
                work.cancel()
            await asyncio.wait({work})
        if not work.cancelled():
            work.result()


async def _forever(duty: Duty) -> None:
    while True:
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - a background task must not stop the operator
            log.failure("a background task failed", error=error, task=getattr(duty, "__qualname__", str(duty)))
        await asyncio.sleep(5.0)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop)


async def run(settings: Settings, credentials: Credentials) -> None:
    """The operator as installed."""
    await Operator(settings, credentials, controllers(), tasks=background).run()


UNTOLD: Any = {"claims": True, "events": {"__all__": {"made"}}}
"""What of a plan is for the writes alone."""


async def explain(settings: Settings, objects: list[Manifest]) -> list[Manifest]:
    """What one pass over each of our objects would do, if the cluster held just these. Writes nothing.

    Raises SettingsError for an object of a kind that the operator does not know.
    """
    store = Store()
    for one in objects:
        try:
            store.put(resources.of(one), one)
        except KeyError as error:
            raise errors.SettingsError(
                f"{one.get('kind')} {one['metadata']['name']} is not a kind Millrace knows"
            ) from error
    world = World(store, OfflineKube(store), SystemClock(), settings)
    explained = []
    for controller in controllers():
        for found in store.list(controller.resource):
            metadata = found["metadata"]
            seen = await controller.observe(world, metadata["namespace"], metadata["name"])
            plan = controller.decide(seen).model_dump(mode="json", exclude=UNTOLD) if seen is not None else {}
            explained.append(
                {"object": f"{controller.resource.kind} {metadata['namespace']}/{metadata['name']}", **plan}
            )
    return explained
