"""A pass whose own writes never came back through a watch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import pytest

from millrace import errors
from millrace.api import resources
from millrace.api.dataset import Dataset
from millrace.api.resources import ResourceType
from millrace.apply.events import Recorder
from millrace.apply.execute import Executor
from millrace.apply.ledger import PATIENCE_SECONDS, Ledger
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store
from millrace.clients.world import World
from millrace.controller.reconciler import PATIENCE, Reconciler
from millrace.controller.routing import Controller
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.widgets import WIDGETS, decide_widget, observe_widget

WIDGET = Key(WIDGETS, "default", "w")


class Server:
    """An API server that keeps objects, and whose watches are silent."""

    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.version = 10
        self.refused = 0
        """Status writes that came with an old version."""

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        try:
            return copy.deepcopy(self.objects[Key(resource, namespace, name)])
        except KeyError:
            raise errors.NotFound("gone") from None

    async def apply(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        return self.write(Key(resource, "default", manifest["metadata"]["name"]), manifest)

    async def create(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        return manifest

    async def patch_status(
        self, resource: ResourceType, namespace: str, name: str, status: Manifest, *, resource_version: str
    ) -> Manifest:
        found = self.objects[Key(resource, namespace, name)]
        if found["metadata"]["resourceVersion"] != resource_version:
            self.refused += 1
            raise errors.Conflict("the object has been modified")
        return self.write(Key(resource, namespace, name), {**found, "status": status})

    def write(self, key: Key, manifest: Manifest) -> Manifest:
        self.version += 1
        metadata = {**manifest["metadata"], "uid": f"uid-{key.name}", "resourceVersion": str(self.version)}
        self.objects[key] = {**manifest, "metadata": metadata}
        return copy.deepcopy(self.objects[key])


class Bench:
    """One reconciler of Widgets over a silent server."""

    def __init__(self) -> None:
        self.server, self.store, self.clock = Server(), Store(), ManualClock()
        kube = cast("Kube", self.server)
        settings = Settings(namespace="default", trainer_image="t", server_image="s", router_image="r")
        world = World(store=self.store, kube=kube, clock=self.clock, settings=settings)
        ledger = Ledger(self.clock.monotonic)
        executor = Executor(kube, self.store, ledger, Recorder(kube, self.clock, "me"))
        controller = Controller(WIDGETS, observe_widget, decide_widget)
        self.reconciler = Reconciler(controller, world, executor, ledger, self.learn)
        self.show(self.server.write(WIDGET, make_manifest(WIDGETS, "w", spec={"text": "hello"})))

    def show(self, manifest: Manifest) -> None:
        self.store.put(resources.CONFIG_MAPS if manifest["kind"] == "ConfigMap" else WIDGETS, manifest)

    def learn(self, resource: ResourceType, manifest: Manifest, gone: bool) -> None:
        metadata = manifest["metadata"]
        if gone:
            self.store.drop(resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        else:
            self.store.put(resource, manifest)

    def cached(self) -> Any:
        found = self.store.get(*WIDGET)
        return (found or {}).get("status")


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_pass_whose_writes_were_never_shown_reads_them_instead_of_deciding_from_the_past(bench: Bench) -> None:
    await bench.reconciler.reconcile(WIDGET)
    assert bench.cached() is None
    bench.clock.advance(PATIENCE_SECONDS)
    await bench.reconciler.reconcile(WIDGET)
    assert bench.cached() is not None
    assert bench.store.get(resources.CONFIG_MAPS, "default", "w") is not None
    assert bench.server.refused == 0


async def test_what_was_written_and_is_gone_does_not_count_as_there(bench: Bench) -> None:
    await bench.reconciler.reconcile(WIDGET)
    del bench.server.objects[WIDGET]
    bench.clock.advance(PATIENCE_SECONDS)
    await bench.reconciler.reconcile(WIDGET)
    assert bench.store.get(*WIDGET) is None


async def test_a_change_that_was_never_shown_is_read_once_a_status_is_refused_for_it(bench: Bench) -> None:
    bench.server.write(WIDGET, make_manifest(WIDGETS, "w", spec={"text": "bye"}))
    result = await bench.reconciler.reconcile(WIDGET)
    assert (result.label, bench.server.refused) == ("requeue", 1)
    found = bench.store.get(*WIDGET)
    assert found is not None
    assert found["spec"]["text"] == "bye"


async def misread(world: World, namespace: str, name: str) -> Any:
    """An object that the API server took and this operator cannot read."""
    return Dataset.model_validate({"metadata": {"name": name}, "spec": {"source": {}, "format": "CSV"}})


def reasons(bench: Bench) -> dict[str, str]:
    found = bench.server.objects[WIDGET]
    return {one["type"]: one["reason"] for one in found["status"]["conditions"]}


async def test_what_cannot_be_understood_is_reported_once_and_not_tried_again(bench: Bench) -> None:
    readable = bench.reconciler._controller
    bench.reconciler._controller = replace(readable, observe=misread)
    result = await bench.reconciler.reconcile(WIDGET)
    assert (result.label, result.again_after) == ("success", None)
    assert reasons(bench) == {"Ready": "InvalidSpec", "Stalled": "InvalidSpec"}
    assert "spec.source.storageUri: Field required" in bench.server.objects[WIDGET]["status"]["message"]
    bench.show(bench.server.objects[WIDGET])
    version = bench.server.version
    await bench.reconciler.reconcile(WIDGET)
    assert bench.server.version == version
    bench.reconciler._controller = readable
    await bench.reconciler.reconcile(WIDGET)
    assert reasons(bench) == {"Ready": "Told"}


async def test_a_refused_child_is_reported_at_once_in_the_api_servers_words_and_any_other_failure_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(error: errors.ApiError, how: type[Exception]) -> None:
        async def apply(resource: ResourceType, manifest: Manifest) -> Manifest:
            raise error

        monkeypatch.setattr(bench.server, "apply", apply)
        with pytest.raises(how):
            await bench.reconciler.reconcile(WIDGET)

    await fail(errors.Invalid("ConfigMap is invalid: data: Too long"), errors.WritesFailed)
    assert reasons(bench) == {"Ready": "Refused", "Stalled": "Refused"}
    assert "ConfigMap is invalid: data: Too long" in bench.server.objects[WIDGET]["status"]["message"]
    bench.show(bench.server.objects[WIDGET])
    await fail(errors.Unavailable("nobody answers"), errors.Unavailable)
    await bench.reconciler.report_failure(WIDGET, PATIENCE)
    assert reasons(bench)["Reconciling"] == "InternalError"


async def test_a_refused_status_that_repeats_is_reported_in_the_api_servers_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it decided has no room in the definition; that it is refused has."""
    taken = bench.server.patch_status

    async def patch_status(
        resource: ResourceType, namespace: str, name: str, status: Manifest, **more: str
    ) -> Manifest:
        if "said" in status:
            raise errors.Invalid("Widget is invalid: status.said: unknown field")
        return await taken(resource, namespace, name, status, resource_version=more["resource_version"])

    monkeypatch.setattr(bench.server, "patch_status", patch_status)
    for count in range(1, PATIENCE + 1):
        with pytest.raises(errors.Invalid):
            await bench.reconciler.reconcile(WIDGET, count - 1)
        bench.show(bench.server.objects[Key(resources.CONFIG_MAPS, "default", "w")])
        await bench.reconciler.report_failure(WIDGET, count)
    assert reasons(bench) == {"Ready": "Refused", "Stalled": "Refused"}
    assert "status.said: unknown field" in bench.server.objects[WIDGET]["status"]["message"]
