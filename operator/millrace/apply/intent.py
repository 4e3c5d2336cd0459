"""Whether an object is still as it was applied, asked before it is written.

An intent carries a hash of itself as an annotation (`stamped`). An object with that hash was applied from this very
intent, by whichever process, so it has no field left that an earlier intent stated. If every field that the intent
states has the stated value as well (`agrees`), nobody has changed it since. Defaults of the API server and fields of
others do not count, because the intent does not state them.

Where the API server writes a value in another form than the intent, they cannot be compared, quantities aside. What it
made of the intent is known from its answer to the apply: `project` cuts both the answer and, later, the cached object
down to the fields of the intent, and those two are compared. Only this process knows that answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from millrace.api import keys, quantities
from millrace.clients.store import Manifest

_SERVER_OWNED = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields")
_AMOUNTS = ("requests", "limits")


def fingerprint(intent: Mapping[str, Any]) -> str:
    """A hash of the whole intent, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(intent, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def stamped(intent: Manifest) -> Manifest:
    """The intent with its own fingerprint as an annotation."""
    metadata = intent["metadata"]
    annotations = {**(metadata.get("annotations") or {}), keys.APPLIED: fingerprint(intent)}
    return {**intent, "metadata": {**metadata, "annotations": annotations}}


def agrees(found: Any, intent: Any) -> bool:
    """Whether everything that ``intent`` speaks about has that value in ``found``."""
    if isinstance(intent, Mapping):
        return isinstance(found, Mapping) and all(
            _agree_amounts(found.get(name), value) if name in _AMOUNTS else agrees(found.get(name), value)
            for name, value in intent.items()
            if name not in _SERVER_OWNED
        )
    if isinstance(intent, list):
        same_length = isinstance(found, list) and len(found) == len(intent)
        return same_length and all(agrees(one, wanted) for one, wanted in zip(found, intent, strict=True))
    return type(found) is type(intent) and bool(found == intent)


def _agree_amounts(found: Any, intent: Any) -> bool:
    """The same for a mapping of resources to quantities."""
    try:
        wanted = {name: quantities.amount(value) for name, value in intent.items()}
        return wanted == {name: quantities.amount(found[name]) for name in wanted}
    except (AttributeError, KeyError, TypeError, ValueError):
        return agrees(found, intent)


def project(found: Any, intent: Any) -> Any:
    """The part of ``found`` that ``intent`` speaks about; lists of another length as they are."""
    if isinstance(intent, Mapping) and isinstance(found, Mapping):
        return {name: project(found.get(name), value) for name, value in intent.items() if name not in _SERVER_OWNED}
    if isinstance(intent, list) and isinstance(found, list) and len(intent) == len(found):
        return [project(one, wanted) for one, wanted in zip(found, intent, strict=True)]
    return found


def owned(manifest: Manifest, owner: Manifest) -> Manifest:
    """The manifest with a controlling ownerReference to ``owner``, unless it names a controller itself."""
    metadata = manifest["metadata"]
    if any(reference.get("controller") for reference in metadata.get("ownerReferences") or ()):
        return manifest
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    references = [*(metadata.get("ownerReferences") or ()), reference]
    return {**manifest, "metadata": {**metadata, "ownerReferences": references}}


def same_status(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether two statuses say the same: a condition that keeps its status keeps its time, whatever the time is."""
    return _timeless(wanted, found) == _timeless(found, wanted)


def _timeless(status: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    standing = {(one.get("type"), one.get("status")) for one in other.get("conditions") or ()}
    conditions = [
        {name: value for name, value in one.items() if name != "lastTransitionTime"}
        if (one.get("type"), one.get("status")) in standing
        else one
        for one in status.get("conditions") or ()
    ]
    conditions.sort(key=lambda one: str(one.get("type")))
    return {**{name: value for name, value in status.items() if value is not None}, "conditions": conditions}
