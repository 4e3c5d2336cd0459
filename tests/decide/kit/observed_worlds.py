"""One pass over what is in the cache: observed and decided, as the operator does it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

import run_worlds
from millrace.api import keys, resources
from millrace.clients.offline import OfflineKube
from millrace.clients.store import Store
from millrace.clients.world import PolicyStatus, World
from millrace.observe import policy
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM, make_model

SAMPLES = Path(__file__).parents[3] / "manifests/samples"


def sample(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())["spec"]
    return spec


class _Live(OfflineKube):
    """The admission policies are there since long, and nobody touched them."""

    async def get(self, resource: Any, namespace: str, name: str) -> Any:
        if resource in resources.WITNESSED:
            return {"metadata": {"uid": name, "generation": 1, "creationTimestamp": "2020-01-01T00:00:00Z"}}
        return await super().get(resource, namespace, name)


def cache(*manifests: dict[str, Any]) -> World:
    store = Store()
    for manifest in manifests:
        store.put(resources.of(manifest), manifest)
    settings = Settings(namespace="millrace-system", watch="ml", **PLATFORM.model_dump())
    world = World(store, _Live(store), ManualClock(), settings)
    read = asyncio.run(policy.epoch(world))
    assert read is not None
    world.policy = PolicyStatus(True, "", *read)
    return world


def one(resource: resources.ResourceType, name: str, spec: Any, status: Any = None, **labels: str) -> dict[str, Any]:
    return make_manifest(resource, name, namespace="ml", spec=spec, status=status or {}, labels=labels)


def observed(observe: Any, decide: Any, resource: resources.ResourceType, name: str, *beside: Any) -> Any:
    def tell(spec: dict[str, Any]) -> Any:
        status = beside[0] if beside else {}
        world = cache(one(resource, name, spec, status), *beside[1:])
        seen = asyncio.run(observe(world, "ml", name))
        return [decide(seen).model_dump(mode="json")]

    return tell


CURRENT = {**run_worlds.VERSION, "createdTime": "2026-11-21T07:00:00Z"}
DATASET = one(
    resources.DATASETS, "churn", {"source": {"storageUri": "s3://lake/c.csv"}, "format": "CSV"}, {"current": CURRENT}
)


def model_manifest(version: int, name: str = "churn", **changes: Any) -> dict[str, Any]:
    made = make_model(name, version, dataset={"name": "churn", "version": 1, "digest": f"sha256:{1:064x}"})
    wire = {**made.wire(), "apiVersion": keys.API_VERSION, "kind": "Model"}
    wire["metadata"] = {"name": f"{name}-{version}", "namespace": "ml", "uid": f"m-{version}", "resourceVersion": "1"}
    return {**wire, **changes}
