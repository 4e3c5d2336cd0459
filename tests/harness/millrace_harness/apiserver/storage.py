"""etcd: every object in every version, one revision counter for all, and the changes in order.

Manifests handed out are the stored ones: nobody changes them. Who sends them over the wire copies them.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.api.resources import ResourceType
from millrace_harness.wire import Request

from .ownership import Managers

Manifest = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, eq=False)
class Change:
    """A committed write. `before` is None for a created object, `after` for one that is gone. READ ONLY."""

    version: int
    at: float
    """Seconds of the loop's clock."""
    time: datetime
    request: Request
    resource: ResourceType
    namespace: str
    name: str
    before: Manifest | None
    after: Manifest | None

    @property
    def sender(self) -> str:
        return str(self.request.sender)

    @property
    def kind(self) -> str:
        """ADDED, MODIFIED or DELETED."""
        return "ADDED" if self.before is None else "DELETED" if self.after is None else "MODIFIED"

    @property
    def manifest(self) -> Manifest:
        """The object as a watch shows it; a deleted one in its last state, at the version of the deletion."""
        if self.after is not None:
            return self.after
        assert self.before is not None
        return {**self.before, "metadata": {**self.before["metadata"], "resourceVersion": str(self.version)}}


Subscriber = Callable[[Change], None]


@dataclass(frozen=True, eq=False)
class Stored:
    """An object as it is now."""

    manifest: Manifest
    managers: Managers


class Storage:
    """All objects."""

    def __init__(self) -> None:
        self.version = 100
        self.changes: list[Change] = []
        self.subscribers: list[Subscriber] = []
        self._now: dict[ResourceType, dict[Name, Stored]] = {}
        self._past: dict[ResourceType, dict[Name, list[tuple[int, Manifest | None]]]] = {}
        self._uids: dict[str, tuple[ResourceType, Name]] = {}

    def get(self, resource: ResourceType, name: Name) -> Stored | None:
        return self._now.get(resource, {}).get(name)

    def of_uid(self, uid: str) -> tuple[ResourceType, Name] | None:
        """Where the object of this UID is, if it is still there."""
        return self._uids.get(uid)

    def list(self, resource: ResourceType, namespace: str = "") -> Iterator[Manifest]:
        """The objects of a kind by name, as they are now."""
        for (space, _), stored in sorted(self._now.get(resource, {}).items()):
            if not namespace or space == namespace:
                yield stored.manifest

    def list_at(self, resource: ResourceType, version: int, namespace: str = "") -> Iterator[Manifest]:
        """The objects of a kind by name, as they were at a revision."""
        for (space, _), past in sorted(self._past.get(resource, {}).items()):
            if not namespace or space == namespace:
                position = bisect.bisect_right(past, version, key=lambda one: one[0])
                found = past[position - 1][1] if position else None
                if found is not None:
                    yield found

    def everything(self) -> Iterator[tuple[ResourceType, Manifest]]:
        """All objects there are."""
        for resource in self._now:
            for manifest in self.list(resource):
                yield resource, manifest

    def since(self, version: int) -> Sequence[Change]:
        """The changes after a revision, in order."""
        return self.changes[bisect.bisect_right(self.changes, version, key=lambda one: one.version) :]

    def commit(
        self, resource: ResourceType, name: Name, after: Stored | None, request: Request, at: float, time: datetime
    ) -> Change:
        """Store a new version, or remove the object. The manifest's resourceVersion is set here."""
        self.version += 1
        objects = self._now.setdefault(resource, {})
        before = objects.get(name)
        if after is not None:
            after.manifest["metadata"]["resourceVersion"] = str(self.version)
            objects[name] = after
            self._uids[after.manifest["metadata"]["uid"]] = (resource, name)
        elif before is not None:
            del objects[name]
            del self._uids[before.manifest["metadata"]["uid"]]
        shown = after.manifest if after is not None else None
        self._past.setdefault(resource, {}).setdefault(name, []).append((self.version, shown))
        change = Change(
            self.version, at, time, request, resource, *name, before.manifest if before is not None else None, shown
        )
        self.changes.append(change)
        for subscriber in list(self.subscribers):
            subscriber(change)
        return change


Selector = Callable[[Mapping[str, str]], bool]
_TERM = re.compile(r"\s*(!?)([^\s=!,()]+)\s*(?:(==?|!=|\bin\b|\bnotin\b)\s*(\([^)]*\)|[^,]*))?\s*(?:,|$)")


def selector(text: str) -> Selector:
    """A label selector: `a=b,c!=d,e in (f,g),h,!i`. Raises ValueError."""
    terms: list[tuple[str, str, frozenset[str]]] = []
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise ValueError(f"unable to parse requirement: {text}")
        position = found.end()
        negated, label, operator, values = found.groups()
        kind = {"=": "in", "==": "in", "!=": "notin"}.get(operator or "", operator) or ("!" if negated else "exists")
        terms.append((kind, label, frozenset(one.strip() for one in (values or "").strip("()").split(","))))

    def selects(labels: Mapping[str, str]) -> bool:
        return all(_holds(kind, labels.get(label), values) for kind, label, values in terms)

    return selects


def _holds(kind: str, value: str | None, values: frozenset[str]) -> bool:
    if kind == "exists":
        return value is not None
    if kind == "!":
        return value is None
    return (value in values) == (kind == "in")
