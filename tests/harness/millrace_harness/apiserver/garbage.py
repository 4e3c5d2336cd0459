"""The garbage collector: an object none of whose owners exists is deleted."""

from __future__ import annotations

from typing import Final

from millrace.api.resources import ResourceType

from .desk import Desk
from .server import ApiServer
from .storage import Change, Manifest

DELAY_SECONDS: Final = 0.05
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


class GarbageCollector:
    """Follows ownerReferences by UID."""

    def __init__(self, server: ApiServer) -> None:
        self._desk = Desk(server, DELAY_SECONDS, self._sync)
        self._dependents: dict[str, dict[tuple[ResourceType, str, str], None]] = {}
        server.subscribe(self._saw)

    def _saw(self, change: Change) -> None:
        key = (change.resource, change.namespace, change.name)
        references = change.manifest["metadata"].get("ownerReferences") or ()
        for one in references:
            owned = self._dependents.setdefault(one["uid"], {})
            if change.after is None:
                owned.pop(key, None)
                owner = self._desk.server.storage.of_uid(one["uid"])
                if owner is not None:
                    self._desk.soon(owner[0], *owner[1])
            else:
                owned[key] = None
        finalizers = change.manifest["metadata"].get("finalizers") or ()
        if change.after is None:
            for dependent in self._dependents.get(change.manifest["metadata"]["uid"], ()):
                self._desk.soon(*dependent)
        elif references or FOREGROUND in finalizers or ORPHAN in finalizers:
            self._desk.soon(*key)

    def _sync(self, resource: ResourceType, namespace: str, name: str) -> None:
        found = self._desk.get(resource, namespace, name)
        if found is None:
            return
        finalizers = found["metadata"].get("finalizers") or []
        if "deletionTimestamp" in found["metadata"]:
            if ORPHAN in finalizers:
                self._orphan(resource, found)
            elif FOREGROUND in finalizers:
                self._wait_for_dependents(resource, found)
            return
        self._collect(resource, found)

    def _collect(self, resource: ResourceType, found: Manifest) -> None:
        references = found["metadata"].get("ownerReferences") or []
        solid = [one for one in references if self._stands(found, one)]
        if not references or len(solid) == len(references):
            return
        if solid:
            self._desk.patch(resource, found, {"metadata": {"ownerReferences": solid}})
            return
        self._desk.delete(resource, found)

    def _stands(self, found: Manifest, reference: Manifest) -> bool:
        """Whether that owner exists, and is not waiting for us to go."""
        owner = self._desk.server.storage.of_uid(reference["uid"])
        if owner is None:
            return False
        resource, (namespace, name) = owner
        same = (resource.api_version, resource.kind, name) == tuple(reference[part] for part in _IDENTITY)
        manifest = self._desk.get(resource, namespace, name)
        if not same or namespace != found["metadata"]["namespace"] or manifest is None:
            return False
        return FOREGROUND not in (manifest["metadata"].get("finalizers") or ())

    def _wait_for_dependents(self, resource: ResourceType, owner: Manifest) -> None:
        waiting = False
        for dependent in list(self._dependents.get(owner["metadata"]["uid"], ())):
            found = self._desk.get(*dependent)
            if found is None:
                continue
            references = found["metadata"].get("ownerReferences") or ()
            waiting |= any(
                one["uid"] == owner["metadata"]["uid"] and one.get("blockOwnerDeletion") for one in references
            )
            self._desk.soon(*dependent)
        if not waiting:
            self._lift(resource, owner, FOREGROUND)

    def _orphan(self, resource: ResourceType, owner: Manifest) -> None:
        uid = owner["metadata"]["uid"]
        for dependent in list(self._dependents.get(uid, ())):
            found = self._desk.get(*dependent)
            if found is not None:
                kept = [one for one in found["metadata"].get("ownerReferences") or () if one["uid"] != uid]
                self._desk.patch(dependent[0], found, {"metadata": {"ownerReferences": kept}})
        self._lift(resource, owner, ORPHAN)

    def _lift(self, resource: ResourceType, owner: Manifest, finalizer: str) -> None:
        kept = [one for one in owner["metadata"]["finalizers"] if one != finalizer]
        self._desk.patch(resource, owner, {"metadata": {"finalizers": kept}})


_IDENTITY: Final = ("apiVersion", "kind", "name")
