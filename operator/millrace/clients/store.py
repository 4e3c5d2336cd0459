"""The cache of what the watches have seen.

One entry per object, slimmed (no ``managedFields``, no ``last-applied-configuration``), indexed by kind and namespace
and by the UID of its controlling owner. Manifests handed out are the cached ones: read them, never change them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from millrace.api.resources import ResourceType

Manifest = dict[str, Any]
Manifests = list[Manifest]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Key(NamedTuple):
    """One object of one kind."""

    resource: ResourceType
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.plural}/{self.namespace}/{self.name}"


def slim(manifest: Mapping[str, Any]) -> Manifest:
    """The manifest without the bookkeeping that nobody here reads; a shallow copy of what is kept."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return {**manifest, "metadata": metadata}


def controller_of(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ownerReference with ``controller: true``, if there is one."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Mapping[str, Any] = reference
            return found
    return None


def newer(version: str, than: str) -> bool | None:
    """Whether one resourceVersion is after another; ``None`` where they cannot be ordered.

    Kubernetes orders two versions of one kind as positive integers (apimachinery ``util/resourceversion``).
    """
    if not (version.isascii() and version.isdigit() and than.isascii() and than.isdigit()):
        return None
    return int(version) > int(than)


class Store:
    """What is known of the cluster, as of the last event of each watch."""

    def __init__(self) -> None:
        self._kinds: dict[ResourceType, dict[tuple[str, str], Manifest]] = {}
        self._owned: dict[str, set[Key]] = {}

    def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest | None:
        """The object, or None if no watch has seen it."""
        return self._kinds.get(resource, {}).get((namespace, name))

    def list(
        self, resource: ResourceType, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Manifests:
        """Objects of a kind, by namespace and by equality of all ``labels``; sorted by namespace and name."""
        return [manifest for _, manifest in sorted(self._select(resource, namespace, labels), key=lambda item: item[0])]

    def owned(self, resource: ResourceType, owner_uid: str) -> Manifests:
        """Objects of a kind whose controlling owner has this UID; sorted by namespace and name."""
        keys = sorted(key[1:] for key in self._owned.get(owner_uid, ()) if key.resource == resource)
        return [self._kinds[resource][key] for key in keys]

    def put(self, resource: ResourceType, manifest: Mapping[str, Any]) -> bool:
        """Remember an object as a watch shows it. False, and nothing changes, if it is the known version or an older
        one.
        """
        metadata = manifest["metadata"]
        key = Key(resource, metadata.get("namespace") or "", metadata["name"])
        known = self._kinds.get(resource, {}).get(key[1:])
        if known is not None and _is_no_news(known["metadata"], metadata):
            return False
        self._forget(key)
        fresh = slim(manifest)
        self._kinds.setdefault(resource, {})[key[1:]] = fresh
        owner = controller_of(fresh)
        if owner is not None:
            self._owned.setdefault(owner["uid"], set()).add(key)
        return True

    def drop(self, resource: ResourceType, namespace: str, name: str, uid: str | None = None) -> Manifest | None:
        """Forget an object and return it; with ``uid`` only if it is still that very object."""
        known = self.get(resource, namespace, name)
        if known is None or (uid is not None and known["metadata"].get("uid") != uid):
            return None
        self._forget(Key(resource, namespace, name))
        return known

    def count(self, resource: ResourceType) -> int:
        """How many objects of a kind are known."""
        return len(self._kinds.get(resource, {}))

    def _select(
        self, resource: ResourceType, namespace: str | None, labels: Mapping[str, str] | None
    ) -> Iterator[tuple[tuple[str, str], Manifest]]:
        for key, manifest in self._kinds.get(resource, {}).items():
            if namespace is not None and key[0] != namespace:
                continue
            if labels:
                found = manifest["metadata"].get("labels") or {}
                if any(found.get(name) != value for name, value in labels.items()):
                    continue
            yield key, manifest

    def _forget(self, key: Key) -> None:
        known = self._kinds.get(key.resource, {}).pop(key[1:], None)
        owner = controller_of(known) if known is not None else None
        if owner is not None:
            siblings = self._owned[owner["uid"]]
            siblings.discard(key)
            if not siblings:
                del self._owned[owner["uid"]]


def _is_no_news(known: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    if known.get("uid") != shown.get("uid"):
        return False
    before, after = str(known.get("resourceVersion")), str(shown.get("resourceVersion"))
    return before == after or newer(after, before) is False
