"""What is known about a Model: itself, the Deployments that serve it, and whether approvals are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from millrace import errors
from millrace.api import resources
from millrace.api.model import Model
from millrace.api.training_run import TrainingRun
from millrace.clients.store import Manifest, name_of
from millrace.clients.world import MapFunctions, PolicyStatus, World
from millrace.decide.model import Observation, Rejection, Use, approvals
from millrace.observe import policy, quarantine
from millrace.render import candidate

_ROLES: tuple[tuple[str, Literal["Stable", "Canary"]], ...] = (("stable", "Stable"), ("canary", "Canary"))


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Model is gone. Raises pydantic.ValidationError on one that is no Model, ApiError."""
    manifest = world.store.get(resources.MODELS, namespace, name)
    if manifest is None:
        return None
    model, found = Model.model_validate(manifest), world.policy
    if found.in_force and not approvals.is_judged(model, found.epoch):
        model, found = await _witnessed(world, model)
    deployments = world.store.find(resources.DEPLOYMENTS, by_served, name, namespace)
    return Observation(
        now=world.clock.now(),
        model=model,
        wanting=tuple(_wanting(world, model)),
        records=quarantine.about(world, namespace, [model.spec.artifact.digest]),
        uses=tuple(use for deployment in deployments for use in uses(deployment) if use.model == name),
        elsewhere=tuple(_rejections(world, model)),
        policy_in_force=found.in_force,
        policy_message=found.message,
        policy_epoch=found.epoch,
        admitted=policy.admitted(found, model.metadata.creation_timestamp),
        is_own=_its_run_says_so(world, model),
    )


async def _witnessed(world: World, model: Model) -> tuple[Model, PolicyStatus]:
    """The Model as it is between two looks at the policies that saw the same ones. Raises ApiError."""
    before = await policy.recheck(world)
    try:
        live = await world.kube.get(resources.MODELS, model.metadata.namespace, model.metadata.name)
    except errors.NotFound:
        return model, PolicyStatus()
    if not before.in_force or await policy.epoch(world) != (before.epoch, before.since):
        return model, before if not before.in_force else PolicyStatus()
    return Model.model_validate(live), before


def _rejections(world: World, model: Model) -> Iterator[Rejection]:
    """Who rejected the same bytes in this namespace, under other names."""
    digest, own = model.spec.artifact.digest, model.metadata
    for manifest in world.store.find(resources.MODELS, by_digest, digest, own.namespace):
        if manifest["metadata"]["name"] == own.name:
            continue
        try:
            users = approvals.count(Model.model_validate(manifest)).rejected
        except ValidationError:
            continue  # its own reconcile says so
        if users:
            yield Rejection(model=manifest["metadata"]["name"], users=users)


def _its_run_says_so(world: World, model: Model) -> bool:
    """Whether the run that it claims says, in its status, that this is its Model, and what is in it.

    Of a name alone anybody can make another: with other bytes, or with an approval policy that waives everybody.
    """
    claimed = model.spec.provenance.training_run_ref if model.spec.provenance is not None else None
    run = world.store.get(resources.TRAINING_RUNS, model.metadata.namespace, claimed.name) if claimed else None
    if run is None or model.metadata.name not in by_made(run):
        return False
    try:
        return candidate.is_made_of(TrainingRun.model_validate(run), model.spec)
    except ValidationError:
        return False  # its own reconcile says so


def _wanting(world: World, model: Model) -> Iterator[str]:
    """Deployments that follow or name it."""
    metadata = model.metadata
    for value in (("follows", model.spec.model_name), ("names", metadata.name)):
        for found in world.store.find(resources.DEPLOYMENTS, by_wanted, value, metadata.namespace):
            yield found["metadata"]["name"]


def uses(deployment: Mapping[str, Any]) -> Iterator[Use]:
    """What a Deployment's status says it serves."""
    status = deployment.get("status") or {}
    for key, role in _ROLES:
        served = status.get(key) or {}
        if served.get("model"):
            yield Use(
                deployment=deployment["metadata"]["name"],
                role=role,
                model=str(served["model"]),
                digest=str(served.get("digest") or ""),
                weight=int(served.get("weight") or 0),
            )


def by_served(deployment: Manifest) -> Iterable[str]:
    """The Models that a Deployment's status says it serves."""
    return [use.model for use in uses(deployment)]


def by_digest(model: Manifest) -> Iterable[str]:
    """The bytes that it is about."""
    digest = ((model.get("spec") or {}).get("artifact") or {}).get("digest")
    return [digest] if digest else []


def by_made(run: Manifest) -> Iterable[str]:
    """The Model that a run's status says it made."""
    name = ((run.get("status") or {}).get("modelRef") or {}).get("name")
    return [name] if name else []


def by_wanted(deployment: Manifest) -> Iterable[tuple[str, str]]:
    """("follows", model name) of the model a Deployment follows, ("names", Model) of those that it names or serves."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    followed = (spec.get("modelSelector") or {}).get("modelName")
    named = {(spec.get("modelRef") or {}).get("name")}
    named |= {(status.get(role) or {}).get("model") for role in ("stable", "canary")}
    return [*([("follows", followed)] if followed else []), *(("names", name) for name in named if name)]


def by_model_name(model: Manifest) -> Iterable[str]:
    """The registered model of which this is a version."""
    name = (model.get("spec") or {}).get("modelName")
    return [name] if name else []


def by_believed(model: Manifest) -> Iterable[str]:
    """The Deployments that a Model's status says it is served by, or failed in."""
    status = model.get("status") or {}
    failed = (status.get("quarantine") or {}).get("deployment")
    return [*(str(one.get("name")) for one in status.get("deployedIn") or ()), *([str(failed)] if failed else [])]


def _models_of(world: World, deployment: Manifest) -> Iterator[tuple[str, str]]:
    """The Models that a Deployment serves now, and those that believe it serves them."""
    namespace = deployment["metadata"].get("namespace") or ""
    found = set(by_served(deployment))
    believing = world.store.find(resources.MODELS, by_believed, deployment["metadata"]["name"], namespace)
    found |= {one["metadata"]["name"] for one in believing}
    for name in sorted(found):
        yield namespace, name


def _same_bytes(world: World, model: Manifest) -> Iterator[tuple[str, str]]:
    """The other Models of the same bytes: a verdict is about these."""
    namespace = model["metadata"].get("namespace") or ""
    for digest in by_digest(model):
        yield from map(name_of, world.store.find(resources.MODELS, by_digest, digest, namespace))


def _made_by(_: World, run: Manifest) -> Iterator[tuple[str, str]]:
    """The Model that a run made."""
    for name in by_made(run):
        yield run["metadata"].get("namespace") or "", name


def _models_condemned(world: World, record: Manifest) -> Iterator[tuple[str, str]]:
    """The Models of the bytes that a quarantine is about."""
    yield from map(name_of, quarantine.models_of(world, record))


WATCHES: MapFunctions = {
    resources.DEPLOYMENTS: _models_of,
    resources.CONTROLLER_REVISIONS: _models_condemned,
    resources.MODELS: _same_bytes,
    resources.TRAINING_RUNS: _made_by,
}
