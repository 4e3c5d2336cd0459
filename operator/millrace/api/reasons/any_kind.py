"""Reasons that any object of ours may carry: what the operator itself cannot go on with."""

from __future__ import annotations

from millrace.api.reasons import Reason

_EDIT = "kubectl -n {namespace} edit {kind} {name}"


class AnyKindReason(Reason):
    """Why no decision was taken, or why it could not be carried out."""

    NameConflict = (
        "An object of a name that is needed belongs to somebody else; it is left as it is.",
        "delete or rename that object, or recreate this one under another name",
    )
    InvalidSpec = "The API server took a field that this version of the operator cannot understand.", _EDIT
    Refused = "The API server refuses an object or a change that is needed; the message says why.", _EDIT
    InternalError = (
        "The operator fails on this object and keeps trying.",
        "kubectl -n <operator's namespace> logs deployment/millrace-operator",
    )
