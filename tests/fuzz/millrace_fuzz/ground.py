"""Where mutations are tried: a real control plane, the real operator, a node of the test's, and what seeds refer to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from millrace import wiring
from millrace.api import resources
from millrace.api.reasons.any_kind import AnyKindReason
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.world import World
from millrace.observe import policy, scrapes
from millrace.settings import Settings
from millrace_harness import plane

from . import rest, seeds
from .actors import Node, Routers
from .client import Answer, Api, collection
from .schema import Manifest

NAMESPACE, ANCHORS = "fuzz", "anchors"
"""What the operator watches, and what it does not: there objects stand still."""
OWN: dict[str, ResourceType] = {one.kind: one for one in resources.OWN}
POLL_SECONDS = 0.1
HOLD_SECONDS = 0.4
"""How long an object must stay as it is to count as at rest."""
STANDSTILL_SECONDS = 120.0
"""An object that is not at rest and has not changed for so long is stuck. Retired pods alone drain for 30 s."""
DEADLINE_SECONDS = 600.0
"""An object that still changes after so long is stuck, too."""


class Listener(logging.Handler):
    """Keeps what the operator says about passes that failed, by name of the object."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complaints: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        told = getattr(record, "values", None) or {}
        if "key" in told and "why" in told:
            self.complaints[str(told["key"]).rsplit("/", 1)[-1]] = " ".join(str(told["why"]).split())


class _Patience:
    """A busy machine is slow: what counts is whether anything moves."""

    def __init__(self) -> None:
        self._began = self._moved = time.monotonic()
        self._version = ""

    def see(self, found: Manifest | None) -> None:
        """The object as it is now."""
        version = found["metadata"]["resourceVersion"] if found is not None else ""
        if version != self._version:
            self._version, self._moved = version, time.monotonic()

    @property
    def is_over(self) -> bool:
        now = time.monotonic()
        return now - self._moved > STANDSTILL_SECONDS or now - self._began > DEADLINE_SECONDS


@dataclass
class Ground:
    """What everybody needs to try a mutation."""

    api: Api
    operator: wiring.Operator
    node: Node
    listener: Listener

    async def create(self, kind: str, manifest: Manifest, *, dry_run: bool = False, user: str = "") -> Answer:
        """POST with strict field validation."""
        params = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self.api.send("POST", collection(kind, NAMESPACE), manifest, user=user, params=params)

    async def change(self, kind: str, name: str, spec: Any) -> Answer:
        """Replace the spec as a whole."""
        return await self._replace(f"{collection(kind, NAMESPACE)}/{name}", spec, {})

    async def rewrite(self, kind: str, name: str, spec: Any) -> Answer:
        """Ask whether the spec of an anchor could be replaced."""
        return await self._replace(f"{collection(kind, ANCHORS)}/{name}", spec, {"dryRun": "All"})

    async def _replace(self, path: str, spec: Any, params: dict[str, str]) -> Answer:
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        strict = {"fieldValidation": "Strict", **params}
        return await self.api.send("PATCH", path, patch, content="application/json-patch+json", params=strict)

    async def anchor(self, kind: str, name: str, spec: Manifest) -> None:
        """Make an object that changes of what may not change are tried on. Raises RuntimeError."""
        manifest = seeds.manifest(kind, name, ANCHORS, spec)
        answer = await self.api.send("POST", collection(kind, ANCHORS), manifest)
        if not answer.ok:
            raise RuntimeError(f"the API server refused the seed {kind}/{name}: {answer.message}")

    async def read(self, kind: str, name: str) -> Manifest | None:
        """The object, live."""
        answer = await self.api.send("GET", f"{collection(kind, NAMESPACE)}/{name}")
        return answer.body if answer.ok else None

    async def delete(self, kind: str, name: str) -> None:
        """Gone when this returns."""
        await self.api.send("DELETE", f"{collection(kind, NAMESPACE)}/{name}")
        while await self.read(kind, name) is not None or self._cached(kind, name) is not None:  # noqa: ASYNC110 - of others
            await asyncio.sleep(POLL_SECONDS)

    async def settle(self, kind: str, name: str, *, home: bool = False) -> tuple[Manifest, str]:
        """The object at rest, or as it is when time is up with the reason why it is not at rest."""
        patience = _Patience()
        generation = ((await self.read(kind, name)) or {"metadata": {"generation": 0}})["metadata"]["generation"]
        while True:
            cached = self._cached(kind, name)
            patience.see(cached)
            if cached is None or cached["metadata"].get("generation", 0) < generation:
                why = "the operator does not see it"
            else:
                why = rest.trouble(cached, home=home)
            if not why:
                live, why = await self._stays(kind, name, home=home)
                if not why:
                    return live, ""
            if patience.is_over or self._is_hopeless(kind, name):
                said = self.listener.complaints.get(name, "")
                return (await self.read(kind, name)) or {}, f"{why}{'; a pass failed: ' + said if said else ''}"
            await asyncio.sleep(POLL_SECONDS)

    async def _stays(self, kind: str, name: str, *, home: bool) -> tuple[Manifest, str]:
        await asyncio.sleep(HOLD_SECONDS)
        live = await self.read(kind, name)
        if live is None:
            return {}, "it is gone"
        return live, rest.trouble(live, home=home)

    def _is_hopeless(self, kind: str, name: str) -> bool:
        found = self._cached(kind, name) or {}
        held = found.get("status", {}).get("conditions", ())
        return any(one["reason"] in AnyKindReason.__members__ for one in held)

    def _cached(self, kind: str, name: str) -> Manifest | None:
        return self.operator.world.store.get(OWN[kind], NAMESPACE, name)

    def children(self, found: Manifest) -> list[Manifest]:
        """Objects that it controls, but for Jobs, which come and go, and pods."""
        uid, store = found["metadata"]["uid"], self.operator.world.store
        kinds = (resources.WORKLOADS, resources.SERVICES, resources.CONFIG_MAPS)
        return [
            one
            for kind in kinds
            for one in store.list(kind)
            if any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", ()))
        ]


@contextlib.asynccontextmanager
async def prepared(made: plane.Plane) -> AsyncIterator[Ground]:
    """The operator leading, pods starting, and the seeds' references in place."""
    async with Api(made.access()) as api, Api(made.access()) as kubelet, Kube(made.access()) as kube:
        for namespace in (NAMESPACE, ANCHORS):
            await plane.make_namespace(kube, namespace)
        node = Node(kubelet, NAMESPACE)
        operator = _operator(made, Routers(node, NAMESPACE))
        ground = Ground(api, operator, node, Listener())
        with _listening(ground.listener):
            async with _running(node.run(), operator.run(signals=False)):
                await _until(lambda: operator.kernel.leads)
                await _refer(ground)
                yield ground
                operator.stop()
                await asyncio.sleep(0.5)


@contextlib.contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    logger = logging.getLogger("millrace")
    logger.addHandler(listener)
    before, logger.propagate = logger.propagate, False
    logging.getLogger("kopf").setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


def _operator(made: plane.Plane, routers: Routers) -> wiring.Operator:
    settings = Settings(
        namespace=NAMESPACE, trainer_image="t:1", server_image="s:1", router_image="r:1", metrics_port=0, workers=8
    )

    def tasks(world: World) -> tuple[list[Any], list[Any]]:
        routers.store = world.store
        world.scrapes = scrapes.Scrapes(world, routers.fetch)

        async def watch() -> None:
            await policy.watch(world)

        return [world.scrapes.run], [watch]

    return wiring.Operator(settings, made.access("operator"), wiring.controllers(), tasks=tasks)


@contextlib.asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Beside the block; the end of any of them ends the block."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            yield
            for task in tasks:
                task.cancel()
    except* asyncio.CancelledError:
        pass


async def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        await asyncio.sleep(0.05)


async def _refer(ground: Ground) -> None:
    """What the seeds refer to: a frozen Dataset, an approved Model, a TrainingRun."""
    model = {**seeds.SPECS["Model"]["small"], "modelName": seeds.MODEL_NAME, "version": "1"}
    model["approvalPolicy"] = {"required": 0, "distinctFromAuthor": False}
    wanted = (
        ("Dataset", seeds.DATASET, seeds.SPECS["Dataset"]["small"]),
        ("Model", seeds.MODEL, model),
        ("TrainingRun", seeds.RUN, {**seeds.SPECS["TrainingRun"]["small"], "output": {"modelName": "cloned"}}),
    )
    for kind, name, spec in wanted:
        answer = await ground.create(kind, seeds.manifest(kind, name, NAMESPACE, spec))
        if not answer.ok:
            raise RuntimeError(f"the API server refused the seed {name}: {answer.message}")
        _, why = await ground.settle(kind, name)
        if why:
            raise RuntimeError(f"the seed {name} does not come to rest: {why}")
