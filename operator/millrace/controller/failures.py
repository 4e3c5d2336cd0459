"""What an object's status says when the operator itself cannot go on with it.

Everything else in a status comes from ``decide``. These two cannot: a taken name is found while writing, and an
exception is by definition what nobody decided. The last status stays; only conditions are changed in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from millrace.api.base import rfc3339
from millrace.clients.store import Manifest

NAME_CONFLICT = "NameConflict"
INTERNAL_ERROR = "InternalError"
LONGEST_MESSAGE = 1024


def name_conflict(found: Manifest, what: str, now: datetime) -> Manifest:
    """The status of an object one of whose children cannot have its name."""
    message = (
        f"{what}; nothing was changed. Delete or rename it, or recreate this {found['kind']} under another name: "
        f"kubectl -n {found['metadata']['namespace']} get {found['kind'].lower()}.{found['apiVersion'].split('/')[0]}"
    )
    return _with(found, now, [("Ready", "False"), ("Stalled", "True")], NAME_CONFLICT, message, without="Reconciling")


def internal_error(found: Manifest, failures: int, log_command: str, now: datetime) -> Manifest:
    """The status of an object whose passes keep failing. ``log_command`` is where to read why."""
    message = f"The operator failed {failures} times in a row on this object and keeps trying. Read why: {log_command}"
    return _with(found, now, [("Reconciling", "True")], INTERNAL_ERROR, message)


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
