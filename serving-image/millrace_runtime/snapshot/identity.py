"""What makes a row the same row in the next version: its Id, else its group, else its features; never its label.

Values are compared by what they say (`hashing.values` with `exact=False`), so neither a new type nor another order of
columns makes a row a new one. Rows that share a key are one *unit*: they are never divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.manifest import Identity, Manifest
from millrace_runtime.snapshot.spec import Field, Role

Table = Any
Codes = npt.NDArray[np.intp]
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


def keys(table: Table, identity: Identity) -> RowKeys:
    """Return every row's keys; each has at least one. The table has all columns of the identity."""
    made = [_joint(table, identity.ids, "id", identity.salts)] if identity.ids else []
    if identity.groups:
        made.append(_joint(table, identity.groups, "group", identity.groups))
    if not made:
        return RowKeys((_of_features(table, identity),), by_features=True)
    bare = np.logical_and.reduce([each == NO_KEY for each in made])
    if bare.any():
        made[0] = np.where(bare, _of_features(table, identity), made[0])
    return RowKeys(tuple(made), by_features=bool(bare.any()))


def keys_left(table: Table, identity: Identity) -> tuple[Numbers, ...]:
    """Return the keys of an identity of old that can still be made: a column may be gone."""
    names = set(table.column_names)
    if set(identity.columns) <= names:
        return keys(table, identity).kinds
    made = [_joint(table, identity.ids, "id", identity.salts)] if identity.ids and set(identity.ids) <= names else []
    if identity.groups and set(identity.groups) <= names:
        made.append(_joint(table, identity.groups, "group", identity.groups))
    return tuple(made)


def units(row_keys: RowKeys) -> tuple[Codes, Numbers]:
    """Return each row's unit and each unit's own key: rows that share a key of either kind are one unit.

    Units are numbered in the order of their keys; the key is the smallest of the unit's groups, else of its Ids.
    """
    if len(row_keys.kinds) == 1:
        distinct, codes = np.unique(row_keys.kinds[0], return_inverse=True)
        return codes, distinct
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids, groups = row_keys.kinds
    every, ends = np.unique(np.concatenate(row_keys.kinds), return_inverse=True)
    left, right = ends[: len(ids)], ends[len(ids) :]
    both = (ids != NO_KEY) & (groups != NO_KEY)
    edges = (np.ones(int(both.sum()), dtype=np.int8), (left[both], right[both]))
    _, part = connected_components(coo_array(edges, shape=(len(every), len(every))), directed=False)
    component = part[np.where(groups != NO_KEY, right, left)]
    own = np.full(len(every), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(own, component, np.where(groups != NO_KEY, groups, ids))
    distinct, codes = np.unique(own[component], return_inverse=True)
    return codes, distinct


def _of_features(table: Table, identity: Identity) -> Numbers:
    return _salted(hashing.rows(table, identity.features, exact=False), "features")


def _joint(table: Table, names: tuple[str, ...], kind: str, salts: tuple[str, ...]) -> Numbers:
    """One key over several columns; none where all of them are missing."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name, salt in zip(names, salts, strict=True):
        total += hashing.cells(table[name], salt, exact=False)
    return np.where(total == hashing.MISSING, NO_KEY, _salted(total, kind))


def _salted(numbers: Numbers, kind: str) -> Numbers:
    made = hashing.mixed(numbers + hashing.named(kind))
    made[made == NO_KEY] = np.uint64(1)
    return made
