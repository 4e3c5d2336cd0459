"""The status of an object that the operator cannot go on with.

Everything else in a status comes from ``decide``. These do not: a spec that cannot be parsed never reaches it, a taken
name and a refused child are found while writing, and an exception is no decision. The last status stays; only
conditions are changed in it, and the message that people see first.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from millrace.api import keys, resources
from millrace.api.base import rfc3339
from millrace.api.reasons.any_kind import AnyKindReason as Reason
from millrace.clients.store import Manifest

NAME_CONFLICT = Reason.NameConflict.name
INTERNAL_ERROR = Reason.InternalError.name
INVALID_SPEC = Reason.InvalidSpec.name
REFUSED = Reason.Refused.name
LONGEST_MESSAGE = 1024
SHOWN_FINDINGS = 3
UPGRADE = "helm upgrade with crds.enabled, or kubectl apply --server-side -k crds from its release"

_OWN = {one.kind for one in resources.OWN}


def name_conflict(found: Manifest, what: str, now: datetime) -> Manifest:
    """The status of an object one of whose children cannot have its name."""
    message = (
        f"{what}; nothing was changed. Delete or rename it, or recreate this {found['kind']} under another name: "
        f"kubectl -n {found['metadata']['namespace']} get {found['kind'].lower()}.{found['apiVersion'].split('/')[0]}"
    )
    return _stalled(found, now, NAME_CONFLICT, message)


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
    return _stalled(found, now, INVALID_SPEC, message)


def refused(found: Manifest, why: str, now: datetime) -> Manifest:
    """The status of an object for which the API server keeps refusing a write. ``why`` is what it says."""
    message = f"The API server refuses what this object needs, which is tried again by itself: {why}"
    if _is_about_an_older_definition(why):
        step = f". The definitions in the cluster are older than this operator: {UPGRADE}"
    else:
        step = f". Correct what it names: {_edit(found)}"
    return _stalled(found, now, REFUSED, message[: LONGEST_MESSAGE - len(step)] + step)


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


def _stalled(found: Manifest, now: datetime, reason: str, message: str) -> Manifest:
    status = _with(found, now, [("Ready", "False"), ("Stalled", "True")], reason, message, without="Reconciling")
    return {**status, "phase": "Stalled", "message": message[:LONGEST_MESSAGE]}


def internal_error(found: Manifest, failures: int, log_command: str, now: datetime) -> Manifest:
    """The status of an object whose passes keep failing. ``log_command`` is where to read why."""
    message = f"The operator failed {failures} times in a row on this object and keeps trying. Read why: {log_command}"
    status = _with(found, now, [("Reconciling", "True")], INTERNAL_ERROR, message)
    # An object that no pass has come to an end for has nothing else to show.
    return {"phase": "Waiting", "message": message[:LONGEST_MESSAGE], **status}


def _with(
    found: Manifest, now: datetime, marks: list[tuple[str, str]], reason: str, message: str, without: str = ""
) -> Manifest:
    status: dict[str, Any] = dict(found.get("status") or {})
    conditions = {one["type"]: one for one in status.get("conditions") or () if one["type"] != without}
    generation = found["metadata"].get("generation", 0)
    for kind, truth in marks:
        before = conditions.get(kind)
        since = before["lastTransitionTime"] if before and before["status"] == truth else rfc3339(now)
        conditions[kind] = {
            "type": kind,
            "status": truth,
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "lastTransitionTime": since,
            "observedGeneration": generation,
        }
    status["conditions"] = [conditions[kind] for kind in sorted(conditions)]
    status["observedGeneration"] = generation
    return status
