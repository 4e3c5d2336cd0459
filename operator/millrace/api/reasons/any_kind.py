"""Reasons that any object of ours may carry: what the operator itself cannot go on with."""

from __future__ import annotations

from millrace.api.reasons import Reason

_EDIT = "kubectl -n {namespace} edit {kind} {name}"


class AnyKindReason(Reason):
    """Why no decision was taken, or why it could not be carried out."""

    NameConflict = (
        "An object of a name that is needed belongs to somebody else; it is left as it is.",
        "kubectl -n {namespace} describe {kind} {name}",
        "Delete or rename that object, or recreate this one under another name.",
    )
    InvalidSpec = (
        "The API server took a field that this version of the operator cannot understand.",
        _EDIT,
        "Correct it, or install the operator that its fields are for.",
    )
    Refused = (
        "The API server refuses an object or a change that is needed; the message says why.",
        _EDIT,
        "Correct what it names, or make room for it.",
    )
    OlderDefinition = (
        "The API server refuses a field that this operator's definition of the kind has: the cluster's is older.",
        "kubectl get customresourcedefinitions.apiextensions.k8s.io -o name",
        "Install the definitions of this operator's version (the chart does, with crds.enabled).",
    )
    InternalError = (
        "The operator fails on this object and keeps trying.",
        "kubectl -n {operator_namespace} logs deployments.apps/{operator} --all-pods --tail=100",
    )
