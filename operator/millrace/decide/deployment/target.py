"""Which revision a Deployment should serve: a Model, approved and not quarantined, as the spec wants it."""

from __future__ import annotations

from pydantic import Field

from millrace import api
from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.deployment_status import DeploymentStatus, RevisionStatus
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.render import names
from millrace.render.server import Bundle, Template, bundle

from .observation import Observation

APPROVED = "Approved"
UNKNOWING = frozenset({"PolicyNotInForce", "PolicyUnknown"})
"""Reasons of Approved that say nothing about what people decided."""


class Target(Frozen):
    """The revision wanted, or why there is none."""

    bundle: Bundle | None = None
    reason: Reason | None = None
    why: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    """What the reason's next command is to be filled in with."""


def choose(seen: Observation, state: DeploymentStatus) -> Target:
    """The pinned Model, or the highest version of the followed one.

    Never a version below the one that is stable: going back is a person's decision, made with modelRef.
    """
    reference = seen.deployment.spec.model_ref
    if reference is not None:
        return _pinned(seen, state, reference.name)
    return _latest(seen, state)


def is_approved(model: api.Model | None) -> bool:
    """Whether the Model exists, is not being deleted and has the approvals it needs."""
    return (
        model is not None
        and model.metadata.deletion_timestamp is None
        and conditions.is_true(model.status.conditions, APPROVED)
    )


def may_stay(model: api.Model | None) -> bool:
    """Whether a canary may go on: its approval was not taken back. An approval that is unknown, as after a restart,
    still counts.
    """
    if model is None or model.metadata.deletion_timestamp is not None:
        return False
    approved = conditions.find(model.status.conditions, APPROVED)
    return approved is None or approved.status != "False" or approved.reason in UNKNOWING


def _may_be_wanted(state: DeploymentStatus, model: api.Model) -> bool:
    """Whether the Model may be rolled out, or is being rolled out and may go on."""
    trying = state.canary is not None and state.canary.model == model.metadata.name
    return is_approved(model) or (trying and may_stay(model))


def model_called(seen: Observation, name: str) -> api.Model | None:
    """The Model of that name."""
    return next((model for model in seen.models if model.metadata.name == name), None)


def is_quarantined(state: DeploymentStatus, wanted: Bundle) -> bool:
    """By digest. Where stable serves the same digest the bytes are good, so only the revision that failed is meant."""
    serving = state.stable is not None and state.stable.digest == wanted.digest
    return any(
        entry.revision == wanted.revision or (entry.digest == wanted.digest and not serving)
        for entry in state.quarantined
    )


def template(seen: Observation) -> Template:
    """How the spec wants models served now."""
    server = seen.deployment.spec.server
    return Template(
        image=seen.platform.server_image,
        resources=server.resources,
        grace_seconds=server.termination_grace_period_seconds,
    )


def _pinned(seen: Observation, state: DeploymentStatus, name: str) -> Target:
    model = model_called(seen, name)
    if model is None:
        return Target(reason=Reason.NoApprovedModel, why=f"Model {name} does not exist", fields={"models": ""})
    if not _may_be_wanted(state, model):
        return Target(reason=Reason.NoApprovedModel, why=f"Model {name} is not approved")
    wanted = bundle(model, template(seen))
    return _held(state, wanted) if is_quarantined(state, wanted) else Target(bundle=wanted)


def _latest(seen: Observation, state: DeploymentStatus) -> Target:
    selector = seen.deployment.spec.model_selector
    name = selector.model_name if selector is not None else ""
    approved = [model for model in seen.models if model.spec.model_name == name and _may_be_wanted(state, model)]
    bundles = [bundle(model, template(seen)) for model in approved]
    floor = _version_served(seen, state.stable, name)
    eligible = [one for one in bundles if one.version >= floor and not is_quarantined(state, one)]
    if eligible:
        return Target(bundle=max(eligible, key=lambda one: (one.version, one.model)))
    held = [one for one in bundles if one.version >= floor]
    if held:
        return _held(state, held[-1])
    waiting = sum(model.spec.model_name == name for model in seen.models) - len(approved)
    why = f"{waiting} of its versions wait for approval" if waiting else "it has no version yet"
    return Target(reason=Reason.NoApprovedModel, why=f"no version of model {name} is approved: {why}")


def _version_served(seen: Observation, stable: RevisionStatus | None, name: str) -> int:
    """The version of `name` that is stable; 0 when another model, or none, is."""
    if stable is None:
        return 0
    model = model_called(seen, stable.model)
    same = model.spec.model_name == name if model is not None else stable.model == names.model(name, stable.version)
    return stable.version if same else 0


def _held(state: DeploymentStatus, wanted: Bundle) -> Target:
    """Nothing, because what is wanted is quarantined."""
    entry = [one for one in state.quarantined if wanted.revision == one.revision or wanted.digest == one.digest][-1]
    why = f"{wanted.model} is quarantined: {entry.reason}"
    return Target(reason=Reason.Quarantined, why=why, fields={"revision": entry.revision})
