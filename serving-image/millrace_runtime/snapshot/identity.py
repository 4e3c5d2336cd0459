"""What makes a row the same row in the next version: its Id, else its group, else its features; never its label.

Values are compared by what they say (`hashing.values` with `exact=False`), so neither a new type nor another order of
columns makes a row a new one. Rows that share a key are one *unit*: they are never divided.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.dataset import Field, Role
from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.hashing import Hashes, Numbers
from millrace_runtime.snapshot.manifest import Identity, Manifest
from millrace_runtime.snapshot.records import Records, spans

NO_KEY = np.uint64(0)


@dataclass(frozen=True)
class RowKeys:
    """One key per row and kind: Ids, then groups, whichever are meant, else features alone. 0 stands for no key."""

    kinds: tuple[Numbers, ...]
    by_features: bool
    """Whether there is a row that has neither an Id nor a group: the key of its features stands for that."""


def of(fields: Sequence[Field], group_by: Sequence[str], past: Manifest | None = None) -> Identity:
    """Return how rows with these frozen fields are told apart, after a version that may have done it otherwise.

    Features stay those that the Dataset began with, so that a new column does not make every row a new one; one that is
    no longer a Feature is left out. Id columns that only got another name go on as if they had the old one. An Id that
    rows are grouped by is the group's, not the row's.
    """
    features = tuple(sorted(field.name for field in fields if field.role is Role.FEATURE))
    ids = tuple(sorted(field.name for field in fields if field.role is Role.ID and field.name not in group_by))
    began = _kept(features, past) or features
    now = Identity(ids=ids, groups=tuple(sorted(group_by)), features=began, salts=ids)
    if past is None or not past.eras:
        return now
    last, old, new = past.eras[0], {one.name for one in past.fields}, {one.name for one in fields}
    is_renamed = len(ids) == len(last.ids) and not set(ids) & old and not set(last.ids) & new
    return replace(now, salts=last.salts) if ids == last.ids or is_renamed else now


def _kept(features: tuple[str, ...], past: Manifest | None) -> tuple[str, ...]:
    """Those of the features that the last version told rows apart by."""
    if past is None:
        return ()
    before = past.eras[0].features if past.eras else past.identity
    return tuple(name for name in features if name in before)


def keys(rows: Hashes, identity: Identity) -> RowKeys:
    """Return every row's keys; each has at least one. The table has all columns of the identity."""
    made = [_joint(rows, identity.ids, "id", identity.salts)] if identity.ids else []
    if identity.groups:
        made.append(_joint(rows, identity.groups, "group", identity.groups))
    if not made:
        return RowKeys((_of_features(rows, identity),), by_features=True)
    bare = np.logical_and.reduce([each == NO_KEY for each in made])
    if bare.any():
        made[0] = np.where(bare, _of_features(rows, identity), made[0])
    return RowKeys(tuple(made), by_features=bool(bare.any()))


def keys_left(rows: Hashes, identity: Identity) -> tuple[Numbers, ...]:
    """Return the keys of an identity of old that can still be made: a column may be gone."""
    names = set(rows.names)
    if set(identity.columns) <= names:
        return keys(rows, identity).kinds
    made = [_joint(rows, identity.ids, "id", identity.salts)] if identity.ids and set(identity.ids) <= names else []
    if identity.groups and set(identity.groups) <= names:
        made.append(_joint(rows, identity.groups, "group", identity.groups))
    return tuple(made)


def keys_with(rows: Hashes, how: Identity, column: str) -> tuple[Numbers, ...]:
    """Return the keys of the kinds that the column is part of, as far as they can be made: only its value has them."""
    names = set(rows.names)
    kinds = (("id", how.ids, how.salts), ("group", how.groups, how.groups))
    made = [_joint(rows, of, kind, salts) for kind, of, salts in kinds if column in of and set(of) <= names]
    return tuple(keys[keys != NO_KEY] for keys in made)


class Keyed:
    """Rows' numbers by their keys, one set of records for each kind of key. Iterates over these."""

    def __init__(self, scratch: pathlib.Path) -> None:
        self._scratch = scratch
        self._kinds: list[Records] = []

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Records]:
        return iter(self._kinds)

    def add(self, kinds: Sequence[Numbers], rows: npt.NDArray[np.int64]) -> None:
        """Take in rows with their numbers; what stands for no key is left out."""
        while len(self._kinds) < len(kinds):
            self._kinds.append(Records(self._scratch / str(len(self._kinds)), row="i8"))
        for held, keys in zip(self._kinds, kinds, strict=True):
            has_key = keys != NO_KEY
            whole = bool(has_key.all())
            held.add(keys if whole else keys[has_key], rows if whole else rows[has_key])


class Units:
    """Finds out which rows with two kinds of keys are one unit: those that share a key of either kind."""

    def __init__(self, scratch: pathlib.Path) -> None:
        self._scratch = scratch
        self._rows = Records(scratch / "rows", row="i8")
        self._pairs = Records(scratch / "pairs", group="u8", row="i8")

    def see(self, row_keys: RowKeys, rows: npt.NDArray[np.int64]) -> None:
        """Take in rows with their numbers."""
        ids, groups = row_keys.kinds
        has_id = ids != NO_KEY
        self._rows.add(groups[~has_id], rows[~has_id])
        self._pairs.add(ids[has_id], groups[has_id], rows[has_id])

    def found(self) -> Records:
        """Return the `row` numbers by the key of their unit: the smallest of its groups, else of its Ids."""
        edges: list[Numbers] = [np.empty((0, 2), np.uint64)]
        for (span,) in spans(self._pairs):
            ids, groups, joined = _by_id(span)
            edges.append(joined)
            for held in span:
                of_id = groups[np.searchsorted(ids, held["key"])]
                of_id = np.where(of_id != NO_KEY, of_id, held["key"])
                self._rows.add(np.where(held["group"] != NO_KEY, held["group"], of_id), held["row"])
        nodes, roots = _components(np.concatenate(edges))
        if not len(nodes):
            return self._rows
        made = Records(self._scratch / "units", row="i8")
        for held in (piece for (span,) in spans(self._rows) for piece in span):
            at = np.minimum(np.searchsorted(nodes, held["key"]), len(nodes) - 1)
            made.add(np.where(nodes[at] == held["key"], roots[at], held["key"]), held["row"])
        return made


def _by_id(span: Iterable[npt.NDArray[Any]]) -> tuple[Numbers, Numbers, Numbers]:
    """Every Id, sorted, with the group of one of its rows if any has one; and pairs of groups that an Id joins."""
    ids = groups = np.empty(0, np.uint64)
    for held in span:
        ids, groups = np.concatenate([ids, held["key"]]), np.concatenate([groups, held["group"]])
        order = np.lexsort((groups, ids))
        ids, groups = ids[order], groups[order]
        fresh = np.ones(len(ids), bool)
        fresh[1:] = (ids[1:] != ids[:-1]) | (groups[1:] != groups[:-1])
        ids, groups = ids[fresh], groups[fresh]
    same = ids[1:] == ids[:-1]
    torn = np.flatnonzero(same & (groups[:-1] != NO_KEY))
    # The last of an Id's groups is one if any is.
    last = np.flatnonzero(np.append(~same, np.ones(min(1, len(ids)), bool)))
    return ids[last], groups[last], np.stack([groups[torn], groups[torn + 1]], axis=1)


def _components(edges: Numbers) -> tuple[Numbers, Numbers]:
    """Every key of the pairs, sorted, and the smallest of those that it is joined with."""
    if not len(edges):
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = hashing.distinct(edges.ravel())
    ends = np.searchsorted(nodes, edges)
    shape = (len(nodes), len(nodes))
    count, part = connected_components(
        coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=shape), directed=False
    )
    smallest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, part, nodes)
    return nodes, smallest[part]


def _of_features(rows: Hashes, identity: Identity) -> Numbers:
    return _salted(rows.rows(identity.features, exact=False), "features")


def _joint(rows: Hashes, names: tuple[str, ...], kind: str, salts: tuple[str, ...]) -> Numbers:
    """One key over several columns; none where all of them are missing."""
    total = np.zeros(len(rows), dtype=np.uint64)
    known = np.zeros(len(rows), dtype=bool)
    for name, salt in zip(names, salts, strict=True):
        total += rows.cells(name, salt, exact=False)
        known |= rows.known(name)
    return np.where(known, _salted(total, kind), NO_KEY)


def _salted(numbers: Numbers, kind: str) -> Numbers:
    made = hashing.mixed(numbers + hashing.named(kind))
    made[made == NO_KEY] = np.uint64(1)
    return made
