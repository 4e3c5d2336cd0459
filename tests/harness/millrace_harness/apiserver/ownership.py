"""Who owns which field, and what an apply makes of an object (structured-merge-diff, as far as it matters here).

A field is a path: names of fields, `("#", key...)` for an item of a keyed list, `("=", value)` for one of a set. A
manager owns a set of paths, by operation (Apply or Update) and subresource.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from .types import Type

Path = tuple[Any, ...]
Fields = frozenset[Path]


class Manager(NamedTuple):
    """Whose a set of fields is."""

    name: str
    operation: str
    subresource: str = ""


Managers = Mapping[Manager, Fields]

SYSTEM = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
"""Fields of the metadata that nobody owns."""


class Merge(NamedTuple):
    """An apply's outcome."""

    manifest: dict[str, Any]
    managers: dict[Manager, Fields]


def leaves(manifest: Mapping[str, Any], kind: Type) -> dict[Path, Any]:
    """Path -> value of everything that can be owned; the value of an item of a keyed list is its key."""
    found: dict[Path, Any] = {}
    for name, value in manifest.items():
        if name == "metadata":
            kept = {key: one for key, one in value.items() if key not in SYSTEM}
            if kept:
                _walk(kept, kind.child(name), (name,), found)
        elif name not in {"apiVersion", "kind"}:
            _walk(value, kind.child(name), (name,), found)
    return found


def _walk(value: Any, kind: Type, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value and kind.shape != "atomic":
        for name, one in value.items():
            _walk(one, kind.child(name), (*path, name), found)
    elif isinstance(value, list) and kind.shape in {"keyed", "set"}:
        item = kind.item
        for one in value:
            key = kind.key(one)
            here = (*path, key)
            found[here] = one if item.shape == "atomic" else key
            if isinstance(one, dict) and item.shape != "atomic":
                for name, part in one.items():
                    _walk(part, item.child(name), (*here, name), found)
    else:
        found[path] = value


def apply(live: dict[str, Any], managers: Managers, manager: Manager, intent: dict[str, Any], kind: Type) -> Merge:
    """Server-side apply, forced: the intent is merged, what this manager applied before and leaves out now goes, unless
    somebody else owns it too.
    """
    wanted = leaves(intent, kind)
    mine = frozenset(wanted)
    before = managers.get(manager, frozenset())
    merged = _merge(live, intent, kind)
    others = {one: fields for one, fields in managers.items() if one != manager}
    dropped = before - mine
    if dropped:
        kept = _with_parents(mine.union(*others.values()))
        pruned = _with_parents(dropped) - kept
        if pruned:
            merged = _prune(merged, kind, _tree(pruned))
    return Merge(merged, _settle(others, manager, mine, compare(live, merged, kind).touched))


def update(live: dict[str, Any], managers: Managers, manager: Manager, made: dict[str, Any], kind: Type) -> Managers:
    """Who owns what after a create, a PUT or a patch: the writer what it changed, the others what it did not."""
    change = compare(live, made, kind)
    if not change.touched:
        return managers
    mine = (managers.get(manager, frozenset()) | change.touched) - change.removed
    others = {one: fields for one, fields in managers.items() if one != manager}
    return _settle(others, manager, mine, change.touched)


class Change(NamedTuple):
    """What differs between two versions: paths that were added, removed or got another value; and the removed ones."""

    touched: set[Path]
    removed: set[Path]


def compare(live: Mapping[str, Any], made: Mapping[str, Any], kind: Type) -> Change:
    """Equal parts are not looked into."""
    change = Change(set(), set())
    for name in sorted(live.keys() | made.keys()):
        before, after = live.get(name, _ABSENT), made.get(name, _ABSENT)
        if before is after or before == after or name in {"apiVersion", "kind"}:
            continue
        if name == "metadata":
            before, after = _owned(before), _owned(after)
        _compare(before, after, kind.child(name), (name,), change)
    return change


_ABSENT: Final = object()


def _owned(metadata: Any) -> Any:
    if metadata is _ABSENT:
        return {}
    return {name: value for name, value in metadata.items() if name not in SYSTEM}


def _compare(before: Any, after: Any, kind: Type, path: Path, change: Change) -> None:
    if before == after:
        return
    parts = _parts(before, after, kind, path)
    if parts is None:
        there = _leaves_of(before, kind, path)
        now = _leaves_of(after, kind, path)
        change.touched.update(there.keys() | now.keys())
        change.removed.update(there.keys() - now.keys())
        return
    for here, one, other, below in parts:
        if one is _ABSENT or other is _ABSENT:
            gone = _leaves_of(one, below, here)
            if kind.shape in {"keyed", "set"}:
                gone[here] = None
                change.touched.add(here)
            change.touched.update(gone if other is _ABSENT else _leaves_of(other, below, here))
            change.removed.update(gone if other is _ABSENT else ())
        else:
            _compare(one, other, below, here, change)


def _leaves_of(value: Any, kind: Type, path: Path) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    if value is not _ABSENT:
        _walk(value, kind, path, found)
    return found


def _parts(before: Any, after: Any, kind: Type, path: Path) -> list[tuple[Path, Any, Any, Type]] | None:
    """Path, both values and type of each part, if these are values that are compared part by part."""
    if isinstance(before, dict) and isinstance(after, dict) and before and after and kind.shape != "atomic":
        return [
            ((*path, name), before.get(name, _ABSENT), after.get(name, _ABSENT), kind.child(name))
            for name in (*before, *(name for name in after if name not in before))
        ]
    if isinstance(before, list) and isinstance(after, list) and kind.shape in {"keyed", "set"}:
        left, right = ({kind.key(one): one for one in items} for items in (before, after))
        return [
            ((*path, key), left.get(key, _ABSENT), right.get(key, _ABSENT), kind.item)
            for key in (*left, *(key for key in right if key not in left))
        ]
    return None


def _settle(
    others: Mapping[Manager, Fields], manager: Manager, mine: Fields, touched: AbstractSet[Path]
) -> dict[Manager, Fields]:
    settled = {one: frozenset(fields - touched) for one, fields in others.items()}
    settled[manager] = mine
    return {one: fields for one, fields in settled.items() if fields}


def _with_parents(fields: Fields) -> set[Path]:
    found: set[Path] = set()
    for path in fields:
        here = path
        while here and here not in found:
            found.add(here)
            here = here[:-1]
    return found


def _merge(live: Any, intent: Any, kind: Type) -> Any:
    if isinstance(intent, dict) and isinstance(live, dict) and kind.shape != "atomic":
        made = dict(live)
        for name, value in intent.items():
            made[name] = _merge(live[name], value, kind.child(name)) if name in live else value
        return made
    if isinstance(intent, list) and isinstance(live, list) and kind.shape in {"keyed", "set"}:
        return _merge_items(live, intent, kind)
    return intent


def _merge_items(live: list[Any], intent: list[Any], kind: Type) -> list[Any]:
    """The items of both. Shared ones in the order of the intent; of the others those that live come first."""
    known = {kind.key(one): one for one in live}
    wanted = {kind.key(one) for one in intent}
    rest = list(live)
    made: list[Any] = []
    for one in intent:
        key = kind.key(one)
        while rest and kind.key(rest[0]) not in wanted:
            made.append(rest.pop(0))
        if key in known:
            made.append(_merge(known[key], one, kind.item))
            while rest and kind.key(rest[0]) in wanted:
                if kind.key(rest.pop(0)) == key:
                    break
        else:
            made.append(one)
    made.extend(one for one in rest if kind.key(one) not in wanted)
    return made


def _tree(paths: set[Path]) -> dict[Any, Any]:
    root: dict[Any, Any] = {}
    for path in paths:
        here = root
        for step in path:
            here = here.setdefault(step, {})
        here[None] = True
    return root


def _prune(value: Any, kind: Type, pruned: Mapping[Any, Any]) -> Any:
    """The value without the paths marked None in the tree."""
    if isinstance(value, dict):
        kept = ((name, one, kind.child(name), pruned.get(name)) for name, one in value.items())
        return {
            name: one if below is None else _prune(one, child, below)
            for name, one, child, below in kept
            if below is None or None not in below
        }
    if isinstance(value, list) and kind.shape in {"keyed", "set"}:
        items = ((one, pruned.get(kind.key(one))) for one in value)
        return [
            one if below is None else _prune(one, kind.item, below)
            for one, below in items
            if below is None or None not in below
        ]
    return value
