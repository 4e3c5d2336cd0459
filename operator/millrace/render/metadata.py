"""Labels and owner references: who an object belongs to, said the same way on everything the operator makes."""

from __future__ import annotations

from typing import Any, Literal

from millrace.api import keys
from millrace.api.base import ObjectMeta

Component = Literal["snapshot", "training", "server", "router", "quarantine", "retention"]
Manifest = dict[str, Any]


def labels(component: Component | None = None, **more: str) -> dict[str, str]:
    """Labels of a child; `more` by the names in `api.keys` in lower case, e.g. `dataset="churn"`.

    Without `app.kubernetes.io/managed-by` the operator's watches would not see the object.
    """
    found = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}
    if component is not None:
        found[keys.COMPONENT] = component
    return found | {f"{keys.GROUP}/{name.replace('_', '-')}": value for name, value in sorted(more.items())}


def controlled_by(kind: str, owner: ObjectMeta) -> list[dict[str, Any]]:
    """`metadata.ownerReferences` of a child: it goes when its owner goes."""
    return [
        {
            "apiVersion": keys.API_VERSION,
            "kind": kind,
            "name": owner.name,
            "uid": owner.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def child(
    kind: str, owner: ObjectMeta, name: str, labelled: dict[str, str], annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """`metadata` of a child of a `kind` called `owner.name`, in its namespace."""
    found: dict[str, Any] = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labelled,
        "ownerReferences": controlled_by(kind, owner),
    }
    if annotations:
        found["annotations"] = annotations
    return found
