"""What is known about a Model: itself, the Deployments that serve it, and whether approvals are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from millrace.api import resources
from millrace.api.model import Model
from millrace.clients.store import Manifest
from millrace.clients.world import MapFunctions, World
from millrace.decide.model import Observation, Use

_ROLES: tuple[tuple[str, Literal["Stable", "Canary"]], ...] = (("stable", "Stable"), ("canary", "Canary"))


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Model is gone. Raises pydantic.ValidationError on one that is no Model."""
    manifest = world.store.get(resources.MODELS, namespace, name)
    if manifest is None:
        return None
    deployments = world.store.find(resources.DEPLOYMENTS, by_served, name, namespace)
    return Observation(
        now=world.clock.now(),
        model=Model.model_validate(manifest),
        uses=tuple(use for deployment in deployments for use in uses(deployment) if use.model == name),
        policy_in_force=world.policy.in_force,
        policy_message=world.policy.message,
    )


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


def by_model_name(model: Manifest) -> Iterable[str]:
    """The registered model of which this is a version."""
    name = (model.get("spec") or {}).get("modelName")
    return [name] if name else []


def by_believed(model: Manifest) -> Iterable[str]:
    """The Deployments that a Model's status says it is served by."""
    return [str(one.get("name")) for one in (model.get("status") or {}).get("deployedIn") or ()]


def _models_of(world: World, deployment: Manifest) -> Iterator[tuple[str, str]]:
    """The Models that a Deployment serves now, and those that believe it serves them."""
    namespace = deployment["metadata"].get("namespace") or ""
    found = set(by_served(deployment))
    believing = world.store.find(resources.MODELS, by_believed, deployment["metadata"]["name"], namespace)
    found |= {one["metadata"]["name"] for one in believing}
    for name in sorted(found):
        yield namespace, name


WATCHES: MapFunctions = {resources.DEPLOYMENTS: _models_of}
