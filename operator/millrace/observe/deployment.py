"""Deployment: from the cache, and from what the scrapes know, to the Observation that `decide.deployment` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from millrace import api
from millrace.api import conditions, keys, resources
from millrace.api.base import Shape
from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest
from millrace.clients.world import MapFunctions, World
from millrace.decide.deployment.monitoring import DRIFT_DETECTED
from millrace.decide.deployment.observation import Observation, Router, Scraped, Server
from millrace.observe import jobs, pods
from millrace.observe import model as models
from millrace.observe import training_run as runs
from millrace.render import names, server

T = TypeVar("T", bound=Shape)


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """Everything a pass may look at; None when the Deployment is gone. Raises ValidationError for a malformed one.

    Only when drift may start a run is the API server asked: for the runs there are, live.
    """
    manifest = world.store.get(resources.DEPLOYMENTS, namespace, name)
    if manifest is None:
        return None
    deployment = api.Deployment.model_validate(manifest)
    scraped = world.scrapes.scraped(deployment) if world.scrapes is not None else Scraped()
    run = _run(world, deployment)
    budgets = world.store.owned(resources.BUDGETS, deployment.metadata.uid)
    started, live = await _runs(world, deployment, scraped)
    return Observation(
        now=world.clock.now(),
        steady_since=world.steadiness.since(),
        deployment=deployment,
        platform=jobs.platform(world),
        models=tuple(_models(world, deployment)),
        servers=tuple(_servers(world, deployment)),
        routers=tuple(_routers(world, namespace, name)),
        routers_ready=sum(
            pods.is_ready(one) and not pods.is_going(one)
            for one in pods.routers(world.store, namespace, name, world.clock.now())
        ),
        budgets=tuple((one["metadata"]["name"], one["metadata"]["uid"]) for one in budgets),
        scraped=scraped,
        policy_in_force=world.policy.in_force,
        run=run,
        dataset=_one(world, resources.DATASETS, namespace, run.spec.dataset_ref.name, api.Dataset) if run else None,
        runs=tuple(started),
        runs_are_live=live,
    )


def _read(kind: type[T], manifest: Manifest | None) -> T | None:
    """The typed object; None for one that is not there or malformed, which its own reconcile reports."""
    if manifest is None:
        return None
    try:
        return kind.model_validate(manifest)
    except ValidationError:
        return None


def _one(world: World, resource: ResourceType, namespace: str, name: str, kind: type[T]) -> T | None:
    return _read(kind, world.store.get(resource, namespace, name))


def _run(world: World, deployment: api.Deployment) -> api.TrainingRun | None:
    wish, namespace = deployment.spec.retraining, deployment.metadata.namespace
    if wish is None:
        return None
    return _one(world, resources.TRAINING_RUNS, namespace, wish.training_run_ref.name, api.TrainingRun)


def _models(world: World, deployment: api.Deployment) -> Iterator[api.Model]:
    """The versions of the model it follows, and every Model that it names; by name."""
    spec, status, namespace = deployment.spec, deployment.status, deployment.metadata.namespace
    named = {one.model for one in (status.stable, status.canary, *status.retiring) if one is not None}
    named |= {spec.model_ref.name} if spec.model_ref is not None else set()
    found = {name: world.store.get(resources.MODELS, namespace, name) for name in named}
    if spec.model_selector is not None:
        versions = world.store.find(resources.MODELS, models.by_model_name, spec.model_selector.model_name, namespace)
        found |= {one["metadata"]["name"]: one for one in versions}
    for name in sorted(found):
        model = _read(api.Model, found[name])
        if model is not None:
            yield model


def _servers(world: World, deployment: api.Deployment) -> Iterator[Server]:
    metadata = deployment.metadata
    for manifest in world.store.owned(resources.WORKLOADS, metadata.uid):
        bundle = server.read(manifest)
        if bundle is None or "deletionTimestamp" in manifest["metadata"]:
            continue
        service = world.store.get(resources.SERVICES, metadata.namespace, names.server(metadata.name, bundle.revision))
        status: dict[str, Any] = manifest.get("status") or {}
        found = pods.servers(world.store, metadata.namespace, metadata.name, bundle.revision)
        yield Server(
            bundle=bundle,
            uid=manifest["metadata"]["uid"],
            service_uid=service["metadata"]["uid"] if service is not None else None,
            replicas=status.get("replicas") or 0,
            ready=status.get("readyReplicas") or 0,
            trouble=pods.trouble(found),
        )


def _routers(world: World, namespace: str, name: str) -> Iterator[Router]:
    for one in pods.routers(world.store, namespace, name, world.clock.now()):
        said = world.scrapes.router(namespace, name, pods.uid(one)) if world.scrapes is not None else None
        known = {"pod": one["metadata"]["name"], "config_hash": _annotation(one, keys.CONFIG_HASH)}
        yield said.model_copy(update=known) if said is not None else Router(**known)


def _annotation(manifest: Manifest, name: str) -> str | None:
    found = (manifest["metadata"].get("annotations") or {}).get(name)
    return str(found) if found is not None else None


async def _runs(world: World, deployment: api.Deployment, scraped: Scraped) -> tuple[list[api.TrainingRun], bool]:
    """Runs started for this Deployment, and whether they were read live."""
    if deployment.spec.retraining is None:
        return [], False
    labels = {keys.DEPLOYMENT_UID: deployment.metadata.uid}
    namespace = deployment.metadata.namespace
    drifted = conditions.is_true(deployment.status.conditions, DRIFT_DETECTED) or (
        scraped.drift is not None and scraped.drift.verdict.state == "Drifted"
    )
    if drifted:
        found = await world.kube.list(resources.TRAINING_RUNS, namespace, labels)
    else:
        found = world.store.list(resources.TRAINING_RUNS, namespace, labels)
    return [run for run in (_read(api.TrainingRun, one) for one in found) if run is not None], drifted


def by_model(deployment: Manifest) -> Iterable[tuple[str, str]]:
    """("follows", model name) of the model it follows, ("names", Model) of those that it names or serves."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    followed = (spec.get("modelSelector") or {}).get("modelName")
    named = {(spec.get("modelRef") or {}).get("name")}
    named |= {(status.get(role) or {}).get("model") for role in ("stable", "canary")}
    return [*([("follows", followed)] if followed else []), *(("names", name) for name in named if name)]


def by_run(deployment: Manifest) -> Iterable[str]:
    """The TrainingRun that its retraining clones."""
    wanted = ((deployment.get("spec") or {}).get("retraining") or {}).get("trainingRunRef") or {}
    return [wanted["name"]] if wanted.get("name") else []


def _names(found: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    for one in found:
        yield one["metadata"].get("namespace") or "", one["metadata"]["name"]


def _wakes_by_model(world: World, model: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments that follow this model, name this version, or serve it."""
    metadata, followed = model["metadata"], (model.get("spec") or {}).get("modelName")
    namespace = metadata.get("namespace") or ""
    for value in (("follows", followed), ("names", metadata["name"])):
        yield from _names(world.store.find(resources.DEPLOYMENTS, by_model, value, namespace))


def _wakes_by_dataset(world: World, dataset: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments whose retraining reads this Dataset."""
    namespace, name = dataset["metadata"].get("namespace") or "", dataset["metadata"]["name"]
    for run in world.store.find(resources.TRAINING_RUNS, runs.by_dataset, name, namespace):
        yield from _wakes_by_run(world, run)


def _wakes_by_run(world: World, run: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments that clone this run. Those it was started for are found by its label."""
    namespace, name = run["metadata"].get("namespace") or "", run["metadata"]["name"]
    yield from _names(world.store.find(resources.DEPLOYMENTS, by_run, name, namespace))


WATCHES: MapFunctions = {
    resources.MODELS: _wakes_by_model,
    resources.DATASETS: _wakes_by_dataset,
    resources.TRAINING_RUNS: _wakes_by_run,
}
