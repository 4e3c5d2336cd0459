"""Which revision a Deployment should serve: a Model, approved and not quarantined, as the spec wants it."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from pydantic import Field

from millrace import api
from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.deployment_status import DeploymentStatus, Quarantined, RevisionStatus
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.render import names, quarantine
from millrace.render.server import Bundle, Template, bundle, revision

from . import actions
from .finding import Awaits
from .observation import Observation

APPROVED = "Approved"
UNKNOWING = frozenset({"PolicyNotInForce", "PolicyUnknown"})
"""Reasons of Approved that say nothing about what people decided."""
_LEAVES, _WAITS = ("is being deleted", "are being deleted"), ("wait for approval", "wait for approval")
_WHY_NOT = {
    "Rejected": ("was rejected", "were rejected"),
    "CreatedUnchecked": ("was created while nobody checked by whom", "were created while nobody checked by whom"),
    "PolicyNotInForce": ("waits for the admission policies", "wait for the admission policies"),
}
"""Of one version, and of several: what the reason of a missing approval means."""


class Target(Frozen):
    """The revision wanted, or why there is none."""

    bundle: Bundle | None = None
    reason: Reason | None = None
    why: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    """What the reason's next command is to be filled in with."""
    awaits: Awaits | None = None
    """Who can bring what is wanted, if it is not there."""


def choose(seen: Observation, state: DeploymentStatus) -> Target:
    """The pinned Model, or the highest version of the followed one.

    Never a version below the one that is stable: going back is a person's decision, made with modelRef.
    """
    reference = seen.deployment.spec.model_ref
    if reference is not None:
        return _pinned(seen, state, reference.name)
    return _latest(seen, state)


def skipped(seen: Observation, state: DeploymentStatus) -> Target | None:
    """The newest approved version that is passed over because it is quarantined; None where none is newer than what
    serves.
    """
    selector = seen.deployment.spec.model_selector
    if selector is None:
        return None
    floor = _version_served(seen, state.stable, selector.model_name)
    approved = [model for model in seen.models if model.spec.model_name == selector.model_name and is_approved(model)]
    bundles = [one for one in (bundle(model, template(seen)) for model in approved) if one.version > floor]
    return _held(state, bundles)


def is_approved(model: api.Model | None) -> bool:
    """Whether the Model exists, is not being deleted and has, with all that was said of it, the approvals it needs."""
    return (
        model is not None
        and model.metadata.deletion_timestamp is None
        and is_judged(model)
        and conditions.is_true(model.status.conditions, APPROVED)
    )


def is_rejected(model: api.Model) -> bool:
    """Whether somebody said no."""
    approved = conditions.find(model.status.conditions, APPROVED)
    return approved is not None and approved.status == "False" and approved.reason == "Rejected"


def candidates(seen: Observation, state: DeploymentStatus) -> list[api.Model]:
    """Versions of the followed model that nobody has approved or rejected, newer than what serves; the newest last."""
    selector = seen.deployment.spec.model_selector
    if selector is None:
        return []
    floor = _version_served(seen, state.stable, selector.model_name)
    found = [
        model
        for model in seen.models
        if model.spec.model_name == selector.model_name
        and int(model.spec.version) > floor
        and model.metadata.deletion_timestamp is None
        and not is_approved(model)
        and not is_rejected(model)
        and not any(
            one.digest == model.spec.artifact.digest and quarantine.is_about(one, model.metadata.name)
            for one in state.quarantined
        )
    ]
    return sorted(found, key=lambda model: int(model.spec.version))


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


def is_judged(model: api.Model) -> bool:
    """Whether what its status says of approvals is about the decisions that are in its spec now."""
    approved = conditions.find(model.status.conditions, APPROVED)
    seen = approved.observed_generation if approved is not None else None
    return seen is None or seen >= model.metadata.generation


def model_called(seen: Observation, name: str) -> api.Model | None:
    """The Model of that name."""
    return next((model for model in seen.models if model.metadata.name == name), None)


def follows(seen: Observation, served: RevisionStatus) -> bool:
    """Whether it is a version of the model that the spec follows."""
    model, selector = model_called(seen, served.model), seen.deployment.spec.model_selector
    return model is not None and selector is not None and model.spec.model_name == selector.model_name


def quarantine_of(state: DeploymentStatus, wanted: Bundle | RevisionStatus) -> Quarantined | None:
    """The newest entry that keeps these bytes from being rolled out. Those that stable serves are good: of these only
    the very revision that failed is meant, and never the one that is stable here.
    """
    if state.stable is not None and state.stable.revision == wanted.revision:
        return None
    serving = state.stable is not None and state.stable.digest == wanted.digest
    return next(
        (
            entry
            for entry in reversed(state.quarantined)
            if quarantine.is_about(entry, wanted.model)
            and (entry.revision == wanted.revision or (entry.digest == wanted.digest and not serving))
        ),
        None,
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
    if model is None or model.metadata.deletion_timestamp is not None:
        why = (
            f"Model {name}, which spec.modelRef names, {'is being deleted' if model is not None else 'does not exist'}"
        )
        return Target(reason=Reason.NoApprovedModel, why=why, fields={"models": ""}, awaits=Awaits.ANYBODY)
    if not _may_be_wanted(state, model):
        said = _why_not(model)
        why = f"Model {name}, which spec.modelRef names, {'is not approved' if said is _WAITS else said[0]}"
        return Target(reason=Reason.NoApprovedModel, why=why, awaits=_who_approves([model]))
    wanted = _as_served(seen, state, bundle(model, template(seen)))
    return _held(state, [wanted]) or Target(bundle=wanted)


def _as_served(seen: Observation, state: DeploymentStatus, wanted: Bundle) -> Bundle:
    """Under the name that it has, where an earlier operator serves these bytes under these resources already.

    Revisions were named by their image too: an operator that names them otherwise must not take what it finds for
    another revision.
    """
    for served in (state.canary, state.stable):
        server = seen.server(served.revision) if served is not None else None
        if server is None or server.bundle.digest != wanted.digest:
            continue
        found = server.bundle
        if found.revision != revision(found.digest, found.template) and (
            found.template.resources == wanted.template.resources
        ):
            return wanted.model_copy(update={"revision": found.revision})
    return wanted


def _who_approves(models: Iterable[api.Model]) -> Awaits:
    """A Model whose approval nobody has judged yet is about to be judged; what was judged is for people."""
    found = [conditions.find(model.status.conditions, APPROVED) for model in models]
    return Awaits.MACHINE if any(one is None or one.status == "Unknown" for one in found) else Awaits.PERSON


def _latest(seen: Observation, state: DeploymentStatus) -> Target:
    selector = seen.deployment.spec.model_selector
    name = selector.model_name if selector is not None else ""
    approved = [model for model in seen.models if model.spec.model_name == name and _may_be_wanted(state, model)]
    bundles = [_as_served(seen, state, bundle(model, template(seen))) for model in approved]
    floor = _version_served(seen, state.stable, name)
    newer = [one for one in bundles if one.version >= floor]
    eligible = [one for one in newer if quarantine_of(state, one) is None]
    if eligible:
        return Target(bundle=max(eligible, key=_version))
    held = _held(state, newer)
    if held is not None:
        return _in_training(seen, held)
    others = [model for model in seen.models if model.spec.model_name == name and model not in approved]
    return _in_training(
        seen, _missing(name, floor, [one for one in others if int(one.spec.version) >= floor], approved)
    )


def _missing(name: str, floor: int, others: list[api.Model], older: list[api.Model]) -> Target:
    """That no version is approved of those that may follow what serves; `older` are approved, and before it."""
    which, none = f"no version of model {name}", "it has no version yet"
    if older:  # going back is a person's decision
        which += f" from {floor} on (one before it is served only if spec.modelRef names it)"
        none = "there is none"
    waiting = [model for model in others if model.metadata.deletion_timestamp is None]
    awaits = _who_approves(waiting) if waiting else Awaits.ANYBODY
    why = f"{which} is approved: {_why_none(others) or none}"
    return Target(reason=Reason.NoApprovedModel, why=why, awaits=awaits)


def _why_none(models: Iterable[api.Model]) -> str:
    """What becomes of the versions that may not be rolled out: how many of them, and why; empty if there is none."""
    told = collections.Counter(map(_why_not, models))
    if len(told) == 1:
        ((said, count),) = told.items()
        return f"{count} of its versions {said[count > 1]}"
    counted = ", ".join(f"{count} {said[count > 1]}" for said, count in sorted(told.items()))
    return f"of its versions {counted}" if counted else ""


def _why_not(model: api.Model) -> tuple[str, str]:
    """Why a Model may not be rolled out, said of one and of several."""
    if model.metadata.deletion_timestamp is not None:
        return _LEAVES
    approved = conditions.find(model.status.conditions, APPROVED)
    return _WHY_NOT.get(approved.reason, _WAITS) if approved is not None else _WAITS


def _in_training(seen: Observation, missing: Target) -> Target:
    """The same, where a run under way may bring the version that is wanted."""
    if not seen.is_in_training:
        return missing
    return missing.model_copy(update={"why": f"{missing.why}; a run is under way", "awaits": Awaits.MACHINE})


def _version_served(seen: Observation, stable: RevisionStatus | None, name: str) -> int:
    """The version of `name` that is stable; 0 when another model, or none, is."""
    if stable is None:
        return 0
    model = model_called(seen, stable.model)
    same = model.spec.model_name == name if model is not None else stable.model == names.model(name, stable.version)
    return stable.version if same else 0


def _version(one: Bundle) -> tuple[int, str]:
    return one.version, one.model


def _held(state: DeploymentStatus, bundles: Iterable[Bundle]) -> Target | None:
    """Nothing, because the newest of these that is quarantined is; None where none of them is."""
    for wanted in sorted(bundles, key=_version, reverse=True):
        entry = quarantine_of(state, wanted)
        if entry is not None:
            why = f"{wanted.model} is quarantined: {entry.reason}"
            return Target(reason=Reason.Quarantined, why=why, fields=actions.lifting(entry), awaits=Awaits.PERSON)
    return None
