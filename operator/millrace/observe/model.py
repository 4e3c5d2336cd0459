"""What is known about a Model: itself, the Deployments that serve it, and whether approvals are checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from millrace.api import resources
from millrace.api.model import Model
from millrace.clients.store import Manifest
from millrace.clients.world import Watches, World
from millrace.decide.model import Observation, Use

_ROLES: tuple[tuple[str, Literal["Stable", "Canary"]], ...] = (("stable", "Stable"), ("canary", "Canary"))


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Model is gone. Raises pydantic.ValidationError on one that is no Model."""
    manifest = world.store.get(resources.MODELS, namespace, name)
    if manifest is None:
        return None
    deployments = world.store.list(resources.DEPLOYMENTS, namespace)
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


def _models_of(world: World, deployment: Manifest) -> Iterator[tuple[str, str]]:
    """The Models that a Deployment serves now, and those that believe it serves them."""
    metadata = deployment["metadata"]
    served = {use.model for use in uses(deployment)}
    for model in world.store.list(resources.MODELS, metadata.get("namespace") or ""):
        believed = (model.get("status") or {}).get("deployedIn") or ()
        if model["metadata"]["name"] in served or any(one.get("name") == metadata["name"] for one in believed):
            yield model["metadata"]["namespace"], model["metadata"]["name"]


WATCHES: Watches = {resources.DEPLOYMENTS: _models_of}
