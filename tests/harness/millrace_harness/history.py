"""Everything that was committed during a run, in order: who changed what, when, from what to what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from millrace.api import resources

from .wire import Request

Manifest = Mapping[str, Any]

WORKLOADS = "workloads"
"""apps/v1 Deployments: `deployments` are ours."""


class Name(NamedTuple):
    """An object, whatever its UID."""

    kind: str
    """The plural; `workloads` for those of group apps."""
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def kind_of(manifest: Manifest) -> str:
    """The plural of a manifest's kind, with apps/v1 Deployments called `workloads`."""
    if manifest["apiVersion"] == resources.WORKLOADS.api_version and manifest["kind"] == resources.WORKLOADS.kind:
        return WORKLOADS
    return _PLURALS.get((manifest["apiVersion"], manifest["kind"])) or f"{manifest['kind'].lower()}s"


_PLURALS = {(one.api_version, one.kind): one.plural for one in resources.ALL}


def name_of(manifest: Manifest) -> Name:
    """What the manifest is of."""
    metadata = manifest["metadata"]
    return Name(kind_of(manifest), metadata.get("namespace") or "", metadata["name"])


@dataclass(frozen=True)
class Change:
    """One commit. `before` is None for a creation, `after` for an object that is gone."""

    at: float
    """Seconds since the run began."""
    sender: str
    """`operator-1` (replica and incarnation), `user`, `kubelet`, ...; empty when the tier cannot tell."""
    before: Manifest | None
    after: Manifest | None
    request: Request | None = None

    @property
    def name(self) -> Name:
        return name_of(self.present)

    @property
    def present(self) -> Manifest:
        """The object after the change, or as it was when it went."""
        found = self.after if self.after is not None else self.before
        assert found is not None
        return found

    @property
    def is_ours(self) -> bool:
        """Whether an operator did it."""
        return self.sender.startswith("operator")


class World(dict[Name, Manifest]):
    """All objects right after a change."""

    def of(self, kind: str, namespace: str) -> list[Manifest]:
        """Objects of a kind in a namespace."""
        return [one for name, one in self.items() if name.kind == kind and name.namespace == namespace]


@dataclass
class History:
    """The changes of one run."""

    changes: list[Change] = field(default_factory=list)
    ended: float = 0.0
    """When recording stopped."""

    def add(
        self,
        at: float,
        sender: str,
        before: Manifest | None,
        after: Manifest | None,
        request: Request | None = None,
    ) -> None:
        """Record a commit. A write that changed nothing is none."""
        same = before is not None and after is not None
        if same and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]:  # type: ignore[index]
            return
        self.changes.append(Change(at, sender, before, after, request))
        self.ended = max(self.ended, at)

    def of(self, *kinds: str) -> Iterator[Change]:
        """Changes of these kinds."""
        return (change for change in self.changes if change.name.kind in kinds)

    def walk(self) -> Iterator[tuple[Change, World, World]]:
        """Each change with the world right before and right after it. Both are reused: read them at once."""
        before, after = World(), World()
        for change in self.changes:
            _put(after, change)
            yield change, before, after
            _put(before, change)

    def world(self) -> World:
        """All objects at the end."""
        last = World()
        for change in self.changes:
            _put(last, change)
        return last


def _put(world: World, change: Change) -> None:
    if change.after is None:
        world.pop(change.name, None)
    else:
        world[change.name] = change.after
