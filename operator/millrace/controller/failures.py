"""The status of an object that the operator cannot go on with, or not with all of it.

Everything else in a status comes from ``decide``. These do not: a spec that cannot be parsed never reaches it, a taken
name and a refused write are found while writing, and an exception is no decision. Only conditions are changed, and the
message that people see first: in the status that was decided, where only some writes failed (`reported`), else in the
last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from millrace import errors
from millrace.api import keys, resources
from millrace.api.base import rfc3339
from millrace.api.reasons.any_kind import AnyKindReason as Reason
from millrace.apply.failing import Failure, Part
from millrace.clients.store import Manifest
from millrace.decide.plan import Event, Plan

NAME_CONFLICT = Reason.NameConflict.name
INTERNAL_ERROR = Reason.InternalError.name
INVALID_SPEC = Reason.InvalidSpec.name
REFUSED = Reason.Refused.name
LONGEST_MESSAGE = 1024
SHOWN_FINDINGS = 3
UPGRADE = "helm upgrade with crds.enabled, or kubectl apply --server-side -k crds from its release"

_OWN = {one.kind for one in resources.OWN}


def reported(found: Manifest, plan: Plan, failed: Sequence[Failure], now: datetime, *, lasting: bool = False) -> Plan:
    """The plan with its failed writes in the status, and an Event if the status did not report them before.

    A refusal is reported at once, in the words of the API server. An error that may pass by itself is reported if it is
    ``lasting``.
    """
    status = plan.status if plan.status is not None else dict(found.get("status") or {})
    events: list[Event] = []
    rest = [one for one in failed if one.part is not Part.NUDGE]
    for claim in plan.claims:
        broken = [one for one in rest if claim.blocked and one.breaks(claim)]
        if broken:
            text = f"It could not be made, which is tried again by itself: {_words(broken)}"
            status = _with(found, status, now, [(claim.blocked, "True")], REFUSED, text)
            events += _news(found, claim.blocked, REFUSED, text)
            rest = [one for one in rest if one not in broken]
    refusals = [one for one in rest if one.is_refusal]
    if refusals:
        reason, text = _refusal(found, refusals)
        status = _stalled(found, status, now, reason, text, is_usable=_is_ready(status))
        events += _news(found, "Stalled", reason, text)
    elif rest and lasting:
        text = f"The API server fails on what this object needs, which is tried again by itself: {_words(rest)}"
        status = _with(found, status, now, [("Reconciling", "True")], INTERNAL_ERROR, text)
    return plan.model_copy(update={"status": status or None, "events": (*plan.events, *events)})


def _refusal(found: Manifest, refusals: Sequence[Failure]) -> tuple[str, str]:
    """Reason and message for refusals."""
    taken = [one for one in refusals if isinstance(one.error, errors.NameConflict)]
    if taken:
        return NAME_CONFLICT, _taken(found, _words(taken))
    return REFUSED, _refused(found, _words(refusals))


def _words(failed: Sequence[Failure]) -> str:
    return "; ".join(dict.fromkeys(str(one.error) for one in failed))


def _news(found: Manifest, kind: str, reason: str, text: str) -> list[Event]:
    """An Event, unless the status has that condition already."""
    known = ((found.get("status") or {}).get("conditions")) or ()
    if any((one["type"], one["status"], one.get("reason")) == (kind, "True", reason) for one in known):
        return []
    return [Event(type="Warning", reason=reason, message=text)]


def _taken(found: Manifest, what: str) -> str:
    """The message for a child whose name is taken."""
    step = (
        f"; it is left as it is. Delete or rename it, or recreate this {found['kind']} under another name: "
        f"kubectl -n {found['metadata']['namespace']} get {found['kind'].lower()}.{found['apiVersion'].split('/')[0]}"
    )
    return what[: LONGEST_MESSAGE - len(step)] + step


def is_about_a_spec(error: ValidationError) -> bool:
    """Whether it is an object of ours that cannot be understood, and not one of the operator's own values."""
    return error.title in _OWN


def invalid_spec(found: Manifest, error: ValidationError, now: datetime) -> Manifest:
    """The status of an object that the API server took and this operator cannot read.

    An object it refers to can be what is wrong; then that one says so too.
    """
    findings = "; ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:SHOWN_FINDINGS]
    )
    whose = "This object" if error.title == found["kind"] else f"A {error.title} that this object refers to"
    message = (
        f"{whose} cannot be understood by this version of the operator: {findings}. "
        f"Correct it, or install the operator that its fields are for: {_edit(found)}"
    )
    return _stalled(found, found.get("status") or {}, now, INVALID_SPEC, message)


def refused(found: Manifest, why: str, now: datetime) -> Manifest:
    """The status of an object whose decided status the API server keeps refusing. ``why`` is its message."""
    return _stalled(found, found.get("status") or {}, now, REFUSED, _refused(found, why))


def _refused(found: Manifest, why: str) -> str:
    message = f"The API server refuses what this object needs, which is tried again by itself: {why}"
    if _is_about_an_older_definition(why):
        step = f". The definitions in the cluster are older than this operator: {UPGRADE}"
    elif "exceeded quota" in why:
        step = f". Make room, or raise the quota: kubectl -n {found['metadata']['namespace']} describe resourcequotas"
    else:
        step = f". Correct what it names: {_edit(found)}"
    return message[: LONGEST_MESSAGE - len(step)] + step


def _is_about_an_older_definition(why: str) -> bool:
    """Whether the API server refused a field of ours because its definition of the kind is older, by what it answers to
    an apply or a create.
    """
    applied = f"{keys.API_VERSION}, Kind=" in why and "field not declared in schema" in why
    return applied or (f'in version "{keys.VERSION}" cannot be handled' in why and "unknown field" in why)


def _edit(found: Manifest) -> str:
    metadata = found["metadata"]
    kind = f"{found['kind'].lower()}.{found['apiVersion'].split('/')[0]}"
    return f"kubectl -n {metadata['namespace']} edit {kind} {metadata['name']}"


def _stalled(
    found: Manifest, status: Manifest, now: datetime, reason: str, message: str, *, is_usable: bool = False
) -> Manifest:
    """Stalled, and not ready for the same reason unless it can be used all the same."""
    marks = [("Stalled", "True")] if is_usable else [("Ready", "False"), ("Stalled", "True")]
    stalled = _with(found, status, now, marks, reason, message, without="Reconciling")
    return {**stalled, "message": message[:LONGEST_MESSAGE]}


def _is_ready(status: Manifest) -> bool:
    return any((one["type"], one["status"]) == ("Ready", "True") for one in status.get("conditions") or ())


def internal_error(found: Manifest, failures: int, log_command: str, now: datetime) -> Manifest:
    """The status of an object whose passes keep failing. ``log_command`` is where to read why."""
    message = f"The operator failed {failures} times in a row on this object and keeps trying. Read why: {log_command}"
    return _with(found, found.get("status") or {}, now, [("Reconciling", "True")], INTERNAL_ERROR, message)


def _with(
    found: Manifest,
    status: Manifest,
    now: datetime,
    marks: list[tuple[str, str]],
    reason: str,
    message: str,
    without: str = "",
) -> Manifest:
    """The status with these conditions; one that the last status has with the same truth keeps its time."""
    known = {one["type"]: one for one in (found.get("status") or {}).get("conditions") or ()}
    conditions = {one["type"]: one for one in status.get("conditions") or () if one["type"] != without}
    generation = found["metadata"].get("generation", 0)
    for kind, truth in marks:
        before = known.get(kind)
        since = before["lastTransitionTime"] if before and before["status"] == truth else rfc3339(now)
        conditions[kind] = {
            "type": kind,
            "status": truth,
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "lastTransitionTime": since,
            "observedGeneration": generation,
        }
    found_so_far = [conditions[kind] for kind in sorted(conditions)]
    return {**status, "conditions": found_so_far, "observedGeneration": generation}
