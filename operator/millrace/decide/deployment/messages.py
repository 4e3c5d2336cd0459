"""Every message of a Deployment: its reason, what there is to add in this case, and the reason's next command."""

from __future__ import annotations

from millrace.api.conditions import Mark
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide import status
from millrace.decide.job import is_forbidden
from millrace.decide.plan import Event

from .observation import Observation


def message(seen: Observation, reason: Reason, why: str = "", advice: Reason | None = None, **fields: str) -> str:
    """`why`, or the reason's own sentence, then its next command, or that of `advice` where another one helps more.

    `fields` fill in the command; namespace, name and models come from the Deployment.
    """
    metadata = seen.deployment.metadata
    named = {"models": _models(seen), **fields}
    if Reason.PodRefused in (reason, advice) and is_forbidden(why):
        advice = Reason.PodForbidden
    return status.message(reason, why, advice, namespace=metadata.namespace, name=metadata.name, **named)


def mark(
    seen: Observation,
    kind: str,
    holds: bool | None,
    reason: Reason,
    why: str = "",
    advice: Reason | None = None,
    **fields: str,
) -> Mark:
    """A condition; None is Unknown."""
    return status.mark(kind, holds, reason, message(seen, reason, why, advice, **fields))


def event(
    seen: Observation, reason: Reason, why: str, advice: Reason | None = None, *, warns: bool = False, **fields: str
) -> Event:
    """An Event of the reason's name."""
    text = message(seen, reason, why, advice, **fields)
    return Event(type="Warning" if warns else "Normal", reason=reason.name, message=text)


def event_of(mark: Mark, *, warns: bool) -> Event:
    """The Event that goes with a condition."""
    return Event(type="Warning" if warns else "Normal", reason=mark.reason, message=mark.message)


def _models(seen: Observation) -> str:
    """What `kubectl get mmd` needs to show the versions that the spec is about."""
    reference, selector = seen.deployment.spec.model_ref, seen.deployment.spec.model_selector
    if reference is not None:
        return reference.name
    return f"-l millrace.dev/model-name={selector.model_name}" if selector is not None else ""
