"""Deployment: from the cache, and from what the scrapes know, to the Observation that `decide.deployment` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from millrace import api, errors
from millrace.api import keys, resources
from millrace.api.base import Shape
from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest, name_of
from millrace.clients.world import MapFunctions, World
from millrace.decide.deployment import images, rollout
from millrace.decide.deployment.observation import Observation, Router, Scraped, Server, Trouble
from millrace.observe import jobs, pods, quarantine
from millrace.observe import model as models
from millrace.observe import training_run as runs
from millrace.render import names, router_workload, server
from millrace.render.quarantine import Record

T = TypeVar("T", bound=Shape)


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """Everything a pass may look at; None when the Deployment is gone. Raises ValidationError for a malformed one.

    The API server is asked only where the cache has neither the stable Model nor its servers, and of the quarantine of
    what is about to be rolled out.
    """
    manifest = world.store.get(resources.DEPLOYMENTS, namespace, name)
    if manifest is None:
        return None
    deployment = api.Deployment.model_validate(manifest)
    scraped = world.scrapes.scraped(deployment) if world.scrapes is not None else Scraped()
    run = _run(world, deployment)
    budgets = world.store.owned(resources.BUDGETS, deployment.metadata.uid)
    known = tuple(_models(world, deployment))
    seen = Observation(
        now=world.clock.now(),
        steady_since=world.steadiness.since(),
        deployment=deployment,
        platform=jobs.platform(world),
        models=known,
        records=_records(world, deployment, known),
        servers=tuple(_servers(world, deployment)),
        stable_is_gone=await _stable_is_gone(world, deployment),
        routers=tuple(_routers(world, namespace, name)),
        routers_ready=sum(
            pods.is_ready(one) and not pods.is_going(one)
            for one in pods.routers(world.store, namespace, name, world.clock.now())
        ),
        router_trouble=_router_trouble(world, namespace, name),
        budgets=tuple((one["metadata"]["name"], one["metadata"]["uid"]) for one in budgets),
        scraped=scraped,
        policy_in_force=world.policy.in_force,
        may_upgrade=_may_upgrade(world, deployment),
        is_in_training=_is_in_training(world, deployment),
        run=run,
        dataset=_one(world, resources.DATASETS, namespace, run.spec.dataset_ref.name, api.Dataset) if run else None,
        runs=tuple(_runs(world, deployment)),
    )
    return await _before_a_start(world, seen)


async def _before_a_start(world: World, seen: Observation) -> Observation:
    """The same, with what is written of the bytes that are about to be rolled out as it is now."""
    asked: set[str] = set()
    while (digest := rollout.about_to_start(seen)) and digest not in asked:
        asked.add(digest)
        fresh = await quarantine.live(world, seen.deployment.metadata.namespace, digest)
        known = {fact.record: fact for fact in (*seen.records, *fresh)}
        seen = seen.model_copy(update={"records": tuple(known[name] for name in sorted(known))})
    return seen


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


def _is_in_training(world: World, deployment: api.Deployment) -> bool:
    selector, namespace = deployment.spec.model_selector, deployment.metadata.namespace
    if selector is None:
        return False
    return bool(world.store.find(resources.TRAINING_RUNS, runs.by_output, selector.model_name, namespace))


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


def _records(world: World, deployment: api.Deployment, known: Iterable[api.Model]) -> tuple[Record, ...]:
    """What is written of the bytes of its Models, of its canary, and of what its status says of quarantines."""
    status = deployment.status
    digests = {model.spec.artifact.digest for model in known} | {one.digest for one in status.quarantined}
    digests |= {one.digest for one in (status.stable, status.canary) if one is not None}
    return quarantine.about(world, deployment.metadata.namespace, digests)


async def _stable_is_gone(world: World, deployment: api.Deployment) -> bool:
    """Whether nobody can serve what the status calls stable, nor say where its bytes are. No cache is believed in this:
    its traffic ends with it.
    """
    stable, metadata = deployment.status.stable, deployment.metadata
    if stable is None:
        return False
    wanted = [
        (resources.MODELS, stable.model),
        (resources.WORKLOADS, names.server(metadata.name, stable.revision)),
    ]
    if any(world.store.get(resource, metadata.namespace, name) is not None for resource, name in wanted):
        return False
    for resource, name in wanted:
        try:
            await world.kube.get(resource, metadata.namespace, name)
        except errors.NotFound:
            continue
        return False
    return True


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
            updated=_updated(manifest),
            trouble=pods.trouble(found) or pods.refusal(manifest),
        )


def _routers(world: World, namespace: str, name: str) -> Iterator[Router]:
    for one in pods.routers(world.store, namespace, name, world.clock.now()):
        said = world.scrapes.router(namespace, name, pods.uid(one)) if world.scrapes is not None else None
        known = {"pod": one["metadata"]["name"], "config_hash": _annotation(one, keys.CONFIG_HASH)}
        yield said.model_copy(update=known) if said is not None else Router(**known)


def _updated(workload: Manifest) -> int:
    """Pods of the template as it is now; none while the controller has not seen it."""
    status: dict[str, Any] = workload.get("status") or {}
    is_seen = (status.get("observedGeneration") or 0) >= (workload["metadata"].get("generation") or 0)
    return (status.get("updatedReplicas") or 0) if is_seen else 0


def _may_upgrade(world: World, deployment: api.Deployment) -> bool:
    """Whether it may change its image in place: it does already, or it is its turn."""
    stable, metadata = deployment.status.stable, deployment.metadata
    asked = deployment.spec.server.upgrade_policy == images.ROLLING
    if not asked or stable is None or deployment.status.canary is not None:
        return False
    if stable.image == world.settings.server_image or stable.image_time is not None:
        return stable.image_time is not None
    going = world.store.find(resources.DEPLOYMENTS, by_upgrading, True)
    return world.upgrades.take((metadata.namespace, metadata.name), [*map(name_of, going)])


def by_upgrading(deployment: Manifest) -> Iterable[bool]:
    """Whether its servers change their image in place."""
    stable = (deployment.get("status") or {}).get("stable") or {}
    return [True] if stable.get("imageTime") else []


def by_rolling(deployment: Manifest) -> Iterable[bool]:
    """Whether a newer image is to be taken in place."""
    server = (deployment.get("spec") or {}).get("server") or {}
    return [True] if server.get("upgradePolicy") == images.ROLLING else []


def _next_upgrades(world: World, deployment: Manifest) -> Iterator[tuple[str, str]]:
    """When an upgrade has ended: Deployments that wait for their turn, as many as may go on at a time."""
    stable = (deployment.get("status") or {}).get("stable") or {}
    if by_upgrading(deployment) or not by_rolling(deployment) or stable.get("image") != world.settings.server_image:
        return
    waiting = [one for one in world.store.find(resources.DEPLOYMENTS, by_rolling, True) if _is_outdated(world, one)]
    yield from map(name_of, waiting[: world.upgrades.most])


def _is_outdated(world: World, deployment: Manifest) -> bool:
    image = ((deployment.get("status") or {}).get("stable") or {}).get("image")
    return image is not None and image != world.settings.server_image


def _router_trouble(world: World, namespace: str, name: str) -> Trouble | None:
    found = world.store.list(resources.PODS, namespace, router_workload.selector(name))
    workload = world.store.get(resources.WORKLOADS, namespace, names.router(name))
    return pods.trouble(one for one in found if not pods.is_going(one)) or pods.refusal(workload)


def _annotation(manifest: Manifest, name: str) -> str | None:
    found = (manifest["metadata"].get("annotations") or {}).get(name)
    return str(found) if found is not None else None


def _runs(world: World, deployment: api.Deployment) -> Iterator[api.TrainingRun]:
    """Those of the runs that it started that there are. By name: labels are anybody's to change."""
    known, namespace = deployment.status.retraining, deployment.metadata.namespace
    for start in known.starts if known is not None else ():
        run = _one(world, resources.TRAINING_RUNS, namespace, start.name, api.TrainingRun)
        if run is not None:
            yield run


def by_run(deployment: Manifest) -> Iterable[str]:
    """The TrainingRun that its retraining clones, and those that it started."""
    wanted = ((deployment.get("spec") or {}).get("retraining") or {}).get("trainingRunRef") or {}
    starts = ((deployment.get("status") or {}).get("retraining") or {}).get("starts") or ()
    return [name for name in (wanted.get("name"), *(one.get("name") for one in starts)) if name]


def _wakes_by_model(world: World, model: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments that follow this model, name this version, or serve it."""
    metadata, followed = model["metadata"], (model.get("spec") or {}).get("modelName")
    namespace = metadata.get("namespace") or ""
    for value in (("follows", followed), ("names", metadata["name"])):
        yield from map(name_of, world.store.find(resources.DEPLOYMENTS, models.by_wanted, value, namespace))


def _wakes_by_dataset(world: World, dataset: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments whose retraining reads this Dataset."""
    namespace, name = name_of(dataset)
    for run in world.store.find(resources.TRAINING_RUNS, runs.by_dataset, name, namespace):
        yield from _cloners(world, run)


def _cloners(world: World, run: Manifest) -> Iterator[tuple[str, str]]:
    namespace, name = name_of(run)
    yield from map(name_of, world.store.find(resources.DEPLOYMENTS, by_run, name, namespace))


def _wakes_by_record(world: World, record: Manifest) -> Iterator[tuple[str, str]]:
    """Deployments that could serve, or serve, the bytes that a quarantine is about."""
    for model in quarantine.models_of(world, record):
        yield from _wakes_by_model(world, model)


def _wakes_by_run(world: World, run: Manifest) -> Iterable[tuple[str, str]]:
    """Deployments that clone this run or started it, and those that follow what it makes."""
    namespace, made = run["metadata"].get("namespace") or "", (run.get("spec") or {}).get("output") or {}
    followers = world.store.find(resources.DEPLOYMENTS, models.by_wanted, ("follows", made.get("modelName")), namespace)
    return sorted({*_cloners(world, run), *map(name_of, followers)})


WATCHES: MapFunctions = {
    resources.MODELS: _wakes_by_model,
    resources.CONTROLLER_REVISIONS: _wakes_by_record,
    resources.DATASETS: _wakes_by_dataset,
    resources.TRAINING_RUNS: _wakes_by_run,
    resources.DEPLOYMENTS: _next_upgrades,
}
