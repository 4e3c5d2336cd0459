"""The cache of what the watches have seen.

One entry per object, slimmed (no ``managedFields``, no ``last-applied-configuration``), indexed by kind and namespace,
by the UID of its controlling owner, and by whatever it is asked for: each set of label names, and each function given
to `find`, gets an index when it is first asked for, so that what a pass reads does not depend on how many objects there
are. Manifests handed out are the cached ones: read them, never change them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from millrace.api.resources import JOBS, PODS, ResourceType

Manifest = dict[str, Any]
Manifests = list[Manifest]

By = Callable[[Manifest], Iterable[Hashable]]
"""The values under which an object is found again: a function of the manifest alone, made once, at module level."""

_Name = tuple[str, str]
"""Namespace and name."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Key(NamedTuple):
    """One object of one kind."""

    resource: ResourceType
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.plural}/{self.namespace}/{self.name}"


def slim(resource: ResourceType, manifest: Mapping[str, Any]) -> Manifest:
    """The manifest without what nobody here reads.

    No bookkeeping; of the spec of Pods, which are many and long, the names of containers; of Jobs', nothing. Texts
    that were met lately are kept once: most of what one object says all of its kind say.
    """
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    kept = {**manifest, "metadata": metadata}
    if resource == PODS and "spec" in manifest:
        kept["spec"] = {
            part: [{"name": one.get("name")} for one in manifest["spec"][part]]
            for part in ("initContainers", "containers")
            if manifest["spec"].get(part)
        }
    elif resource == JOBS:
        kept.pop("spec", None)
    return {_once(name): _shared(value) for name, value in kept.items()}


def _shared(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_once(name): _shared(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shared(one) for one in value]
    return _once(value) if type(value) is str else value


# Not sys.intern: it is slower, and CPython 3.12 before 3.12.7 never frees what it is given.
@functools.lru_cache(maxsize=1024)
def _once(text: str) -> str:
    """The equal text that is kept already, or this one."""
    return text


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


class _Index:
    """Names of the objects of one kind by a value of theirs."""

    def __init__(self, by: By, objects: Mapping[_Name, Manifest]) -> None:
        self._by = by
        self._names: dict[Hashable, set[_Name]] = {}
        for name, manifest in objects.items():
            self.change(name, None, manifest)

    def get(self, value: Hashable) -> Collection[_Name]:
        return self._names.get(value, ())

    def change(self, name: _Name, before: Manifest | None, after: Manifest | None) -> None:
        """The object of that name was ``before`` and is ``after``; None where it is not there."""
        old = set(self._by(before)) if before is not None else set()
        new = set(self._by(after)) if after is not None else set()
        for value in old - new:
            names = self._names[value]
            names.discard(name)
            if not names:
                del self._names[value]
        for value in new - old:
            self._names.setdefault(value, set()).add(name)


@dataclass(eq=False)
class Followed:
    """What happened to a name while somebody asked for it."""

    dropped: bool = False
    """Whether an object of that name went."""


class Store:
    """What is known of the cluster, as of the last event of each watch."""

    def __init__(self) -> None:
        self._kinds: dict[ResourceType, dict[_Name, Manifest]] = {}
        self._indexes: dict[ResourceType, dict[Hashable, _Index]] = {}
        self._followed: dict[Key, list[Followed]] = {}

    def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest | None:
        """The object, or None if no watch has seen it."""
        return self._kinds.get(resource, {}).get((namespace, name))

    def list(
        self, resource: ResourceType, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Manifests:
        """Objects of a kind, by namespace and by equality of all ``labels``; sorted by namespace and name."""
        if labels:
            asked = tuple(sorted(labels))
            index = self._index(resource, asked, lambda one: _labels(one, asked))
            return self._sorted(resource, index.get(tuple(labels[name] for name in asked)), namespace)
        return self._sorted(resource, self._kinds.get(resource, ()), namespace)

    def every(self, resource: ResourceType) -> Manifests:
        """All objects of a kind in no order, for those who look at all of them often."""
        return [*self._kinds.get(resource, {}).values()]

    def find(self, resource: ResourceType, by: By, value: Hashable, namespace: str | None = None) -> Manifests:
        """Objects of a kind of which ``by`` yields ``value``; sorted by namespace and name."""
        return self._sorted(resource, self._index(resource, by, by).get(value), namespace)

    def owned(self, resource: ResourceType, owner_uid: str) -> Manifests:
        """Objects of a kind whose controlling owner has this UID; sorted by namespace and name."""
        return self.find(resource, _owners, owner_uid)

    def put(self, resource: ResourceType, manifest: Mapping[str, Any]) -> bool:
        """Remember an object as a watch shows it. False, and nothing changes, if it is the known version or an older
        one, of this object or of one that had its name before.
        """
        metadata = manifest["metadata"]
        name = (metadata.get("namespace") or "", metadata["name"])
        objects = self._kinds.setdefault(resource, {})
        known = objects.get(name)
        if known is not None and _is_no_news(known["metadata"], metadata):
            return False
        objects[name] = fresh = slim(resource, manifest)
        self._change(resource, name, known, fresh)
        return True

    def drop(self, resource: ResourceType, namespace: str, name: str, uid: str | None = None) -> Manifest | None:
        """Forget an object and return it; with ``uid`` only if it is still that very object."""
        known = self.get(resource, namespace, name)
        if known is None or (uid is not None and known["metadata"].get("uid") != uid):
            return None
        del self._kinds[resource][namespace, name]
        self._change(resource, (namespace, name), known, None)
        for one in self._followed.get(Key(resource, namespace, name), ()):
            one.dropped = True
        return known

    @contextlib.contextmanager
    def follow(self, key: Key) -> Iterator[Followed]:
        """Note whether an object of this name is dropped until the block ends: what is read meanwhile may be older."""
        followed = Followed()
        self._followed.setdefault(key, []).append(followed)
        try:
            yield followed
        finally:
            self._followed[key].remove(followed)
            if not self._followed[key]:
                del self._followed[key]

    def count(self, resource: ResourceType) -> int:
        """How many objects of a kind are known."""
        return len(self._kinds.get(resource, {}))

    def _index(self, resource: ResourceType, key: Hashable, by: By) -> _Index:
        indexes = self._indexes.setdefault(resource, {})
        if key not in indexes:
            indexes[key] = _Index(by, self._kinds.get(resource, {}))
        return indexes[key]

    def _change(self, resource: ResourceType, name: _Name, before: Manifest | None, after: Manifest | None) -> None:
        for index in self._indexes.get(resource, {}).values():
            index.change(name, before, after)

    def _sorted(self, resource: ResourceType, names: Iterable[_Name], namespace: str | None) -> Manifests:
        objects = self._kinds.get(resource, {})
        return [objects[name] for name in sorted(names) if namespace is None or name[0] == namespace]


def _owners(manifest: Manifest) -> Iterable[str]:
    owner = controller_of(manifest)
    return () if owner is None else (owner["uid"],)


def _labels(manifest: Manifest, names: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """The values of these labels, if it has all of them."""
    found = manifest["metadata"].get("labels") or {}
    return (tuple(found[name] for name in names),) if all(name in found for name in names) else ()


def _is_no_news(known: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    before, after = str(known.get("resourceVersion")), str(shown.get("resourceVersion"))
    if before == after:
        return known.get("uid") == shown.get("uid")
    # Versions of one kind are in one order, whichever object they are of: what is older has been succeeded.
    return newer(after, before) is False
