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
from millrace.decide import status

NAME_CONFLICT = Reason.NameConflict.name
INTERNAL_ERROR = Reason.InternalError.name
INVALID_SPEC = Reason.InvalidSpec.name
LONGEST_MESSAGE = 1024
SHOWN_FINDINGS = 3

_OWN = {one.kind for one in resources.OWN}


def name_conflict(found: Manifest, what: str, now: datetime) -> Manifest:
    """The status of an object one of whose children cannot have its name."""
    return _stalled(found, now, NAME_CONFLICT, _text(found, Reason.NameConflict, f"{what}; nothing was changed"))


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
    what = f"{whose} cannot be understood by this version of the operator: {findings}"
    return _stalled(found, now, INVALID_SPEC, _text(found, Reason.InvalidSpec, what))


def refused(found: Manifest, why: str, now: datetime) -> Manifest:
    """The status of an object for which the API server keeps refusing a write. ``why`` is what it says."""
    what = f"The API server refuses what this object needs, which is tried again by itself: {why}"
    reason = Reason.OlderDefinition if _is_about_an_older_definition(why) else Reason.Refused
    return _stalled(found, now, reason.name, _text(found, reason, what))


def _is_about_an_older_definition(why: str) -> bool:
    """Whether the API server refused a field of ours because its definition of the kind is older, by what it answers to
    an apply or a create.
    """
    applied = f"{keys.API_VERSION}, Kind=" in why and "field not declared in schema" in why
    return applied or (f'in version "{keys.VERSION}" cannot be handled' in why and "unknown field" in why)


def _text(found: Manifest, reason: Reason, what: str, **fields: str) -> str:
    """What, what to do about it, and the next command."""
    metadata = found["metadata"]
    kind = f"{found['kind'].lower()}.{found['apiVersion'].split('/')[0]}"
    return status.message(reason, what, namespace=metadata["namespace"], name=metadata["name"], kind=kind, **fields)


def _stalled(found: Manifest, now: datetime, reason: str, message: str) -> Manifest:
    stalled = _with(found, now, [("Ready", "False"), ("Stalled", "True")], reason, message, without="Reconciling")
    return {**stalled, "phase": "Stalled", "message": message[:LONGEST_MESSAGE]}


def internal_error(found: Manifest, failures: int, operator: str, namespace: str, now: datetime) -> Manifest:
    """The status of an object whose passes keep failing. `operator` is the workload whose log says why."""
    what = f"The operator failed {failures} times in a row on this object and keeps trying"
    message = _text(found, Reason.InternalError, what, operator=operator, operator_namespace=namespace)
    failing = _with(found, now, [("Reconciling", "True")], INTERNAL_ERROR, message)
    # An object that no pass has come to an end for has nothing else to show.
    return {"phase": "Waiting", "message": message[:LONGEST_MESSAGE], **failing}


def _with(
    found: Manifest, now: datetime, marks: list[tuple[str, str]], reason: str, message: str, without: str = ""
) -> Manifest:
    known: dict[str, Any] = dict(found.get("status") or {})
    conditions = {one["type"]: one for one in known.get("conditions") or () if one["type"] != without}
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
    known["conditions"] = [conditions[kind] for kind in sorted(conditions)]
    known["observedGeneration"] = generation
    return known
