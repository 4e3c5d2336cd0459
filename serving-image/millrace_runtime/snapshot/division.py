"""Typed rows to their parts: who is who, what each row was before, and where it goes now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import hashing, history, identity, split
from millrace_runtime.snapshot.freeze import as_floats
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.history import Previous, Recalled, Ways
from millrace_runtime.snapshot.identity import RowKeys
from millrace_runtime.snapshot.spec import Field, FieldType, Method, Role, Split
from millrace_runtime.snapshot.split import Parts

Table = Any
_ORDERED = (FieldType.TIMESTAMP, FieldType.INT64, FieldType.FLOAT64, FieldType.FLOAT32)


@dataclass(frozen=True)
class Numbered:
    """Rows as numbers: all that is needed to divide them. Rows may be numbered in pieces, and joined."""

    keys: RowKeys
    bridge: tuple[Numbers, ...]
    before: tuple[Numbers, ...]
    """Keys by which rows were told apart by earlier versions."""
    content: Numbers
    """Over all frozen columns."""
    features: Numbers
    labels: Numbers
    strata: Numbers | None = None
    times: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Division:
    """Every row's part, and what led to it."""

    rows: Numbered
    parts: Parts
    recalled: Recalled
    moved: int
    """Rows that have another part than in the version before."""
    order: npt.NDArray[np.intp]
    """The rows in an order that does not depend on the source's: units, then content."""


def ways(fields: Sequence[Field], how: Split, previous: Previous | None) -> Ways:
    """How rows with these frozen fields are told apart, and were. Raises StageError for groups that cannot be."""
    groups = how.group_by or ()
    _check(fields, groups)
    past = previous.manifest if previous else None
    return history.ways(identity.of(fields, groups, past), past)


def number(table: Table, fields: Sequence[Field], how: Split, told: Ways) -> Numbered:
    """Number the rows of a table. Raises StageError(SchemaMismatch) for a split by a column that cannot divide."""
    features = [field.name for field in fields if field.role is Role.FEATURE]
    labels = [field.name for field in fields if field.role is Role.LABEL]
    before = [keys for era in told.before for keys in identity.keys_left(table, era)]
    return Numbered(
        keys=identity.keys(table, told.now),
        bridge=identity.keys(table, told.bridge).kinds if told.bridge else (),
        before=tuple(before),
        content=hashing.mixed(hashing.rows(table, table.column_names, exact=True)),
        features=hashing.rows(table, features, exact=True),
        labels=hashing.rows(table, labels, exact=True),
        strata=_strata(table, fields, how),
        times=_times(table, fields, how),
    )


def divide(rows: Numbered, how: Split, told: Ways, previous: Previous | None) -> Division:
    """Raises StageError when what earlier versions know cannot be read."""
    if previous is None:
        recalled = history.first(told.now, rows.keys)
    else:
        recalled = history.recall(previous, told, rows.keys, rows.bridge, rows.before)
    codes, own = identity.units(rows.keys)
    units = split.Units(codes, own, recalled.parts, rows.strata, rows.times)
    parts = split.assign(units, how, previous.manifest.split.fractions if previous else None)
    order = np.lexsort((rows.content, own[codes]))
    return Division(rows, parts, recalled, history.moved(recalled, rows.bridge, parts), order)


def _check(fields: Sequence[Field], groups: Sequence[str]) -> None:
    roles = {field.name: field.role for field in fields}
    for name in groups:
        if name not in roles:
            text = f'Rows are grouped by column "{name}", which is not frozen. Correct spec.split.groupBy.'
            raise StageError(Reason.SCHEMA_MISMATCH, text)
        if roles[name] is Role.LABEL:
            text = f'Rows are grouped by column "{name}", which is the label. Correct spec.split.groupBy.'
            raise StageError(Reason.SCHEMA_MISMATCH, text)


def _strata(table: Table, fields: Sequence[Field], how: Split) -> Numbers | None:
    if how.method is not Method.STRATIFIED or how.field is None:
        return None
    _named(table, fields, how.field)
    return hashing.values(table[how.field], exact=True)


def _times(table: Table, fields: Sequence[Field], how: Split) -> npt.NDArray[Any] | None:
    """When each row happened, in the order of its own type."""
    if how.method is not Method.TIME:
        return None
    named = how.field or next((field.name for field in fields if field.role is Role.EVENT_TIME), None)
    if named is None:
        text = "Rows are divided by time, and no column says when they happened. Set spec.split.field."
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    field = _named(table, fields, named)
    column = table[named]
    if field.type not in _ORDERED or field.role is Role.LABEL:
        what = "the label" if field.role is Role.LABEL else f"a {field.type}"
        text = f'Rows are divided by column "{named}", which is {what}: no time. Correct spec.split.field.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    if column.null_count:
        text = f'Rows are divided by column "{named}", which is missing in {column.null_count} rows.'
        raise StageError(Reason.SCHEMA_MISMATCH, f"{text} Fill it in, or divide otherwise in spec.split.")
    if field.type in (FieldType.TIMESTAMP, FieldType.INT64):
        return np.asarray(column.cast(pa.int64()), dtype=np.int64)
    return np.asarray(as_floats(column, field.type))


def _named(table: Table, fields: Sequence[Field], name: str) -> Field:
    if name not in table.column_names:
        text = f'Rows are divided by column "{name}", which is not frozen. Correct spec.split.field.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    return next(field for field in fields if field.name == name)
