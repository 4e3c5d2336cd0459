"""Typed rows to their parts: who is who, what each row was before, and where it goes now."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.contract.dataset import Field, FieldType, Fractions, Method, Role, Split
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import history, identity, split
from millrace_runtime.snapshot.freeze import as_floats
from millrace_runtime.snapshot.hashing import BLOCK_ROWS, Hashes, Numbers
from millrace_runtime.snapshot.history import Known, Lookups, Previous, Recalled, Ways
from millrace_runtime.snapshot.identity import Keyed, Units
from millrace_runtime.snapshot.records import Records, spans
from millrace_runtime.snapshot.shuffle import KEY
from millrace_runtime.snapshot.split import Parts

Table = Any
ROW = "\x00row"
"""Name of the column with the number of each row, from 0 in the order they came."""
_ORDERED = (FieldType.TIMESTAMP, FieldType.INT64, FieldType.FLOAT64, FieldType.FLOAT32)


class Rows:
    """Numbers of all rows as they come: who each one is, what it is like, and what it is divided by."""

    def __init__(self, fields: Sequence[Field], how: Split, told: Ways, scratch: pathlib.Path) -> None:
        """Raises StageError(SchemaMismatch) for a split by a column that cannot divide."""
        self._features = sorted(field.name for field in fields if field.role is Role.FEATURE)
        self._labels = [field.name for field in fields if field.role is Role.LABEL]
        self._others = sorted(field.name for field in fields if field.role is not Role.FEATURE)
        self._told = told
        self._loose = {name for era in (told.now, told.bridge, *told.before) if era for name in era.columns}
        self._by = _divided_by(fields, how)
        self._values: list[npt.NDArray[Any]] = []
        self._missing = 0
        self.rows = 0
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._pairs = Units(scratch / "units")
        self.known = Lookups(Keyed(scratch / "now"), Keyed(scratch / "bridge"), Keyed(scratch / "before"))
        self.likeness = Records(scratch / "likeness", label="u8", row="i8")
        """The number of each row's features, of its label, and its own."""

    def see(self, table: Table) -> Table:
        """Number the rows of a table, in the order they come. Returns it with KEY, over its content, and ROW."""
        rows = np.arange(self.rows, self.rows + table.num_rows)
        starts = range(0, table.num_rows, BLOCK_ROWS)
        contents = [self._see(table.slice(start, BLOCK_ROWS), rows[start : start + BLOCK_ROWS]) for start in starts]
        self.rows = self.known.rows = self.rows + table.num_rows
        content = np.concatenate([np.empty(0, np.uint64), *contents])
        return table.append_column(KEY, pa.array(content)).append_column(ROW, pa.array(rows))

    def _see(self, table: Table, rows: npt.NDArray[np.int64]) -> Numbers:
        hashes, told = Hashes(table, self._loose), self._told
        now = identity.keys(hashes, told.now)
        if len(now.kinds) > 1:
            self._pairs.see(now, rows)
        self.known.kinds.add(now.kinds, rows)
        self.known.by_features |= now.by_features
        if told.bridge:
            self.known.bridge.add(identity.keys(hashes, told.bridge).kinds, rows)
        self.known.before.add([keys for era in told.before for keys in identity.keys_left(hashes, era)], rows)
        features = hashes.contents(self._features)
        self.likeness.add(features, hashes.rows(self._labels, exact=True), rows)
        if self._by is not None:
            self._missing += table[self._by.name].null_count if self._by.is_time else 0
            self._values.append(self._by.values(table, hashes))
        return hashes.contents(self._others, features)

    def units(self) -> Records:
        """The rows by the key of their unit."""
        return self._pairs.found() if len(self.known.kinds) > 1 else next(iter(self.known.kinds))

    def values(self) -> npt.NDArray[Any] | None:
        """Each row's class or time. Raises StageError(SchemaMismatch) where a time is missing."""
        if self._by is None:
            return None
        if self._missing:
            text = f'Rows are divided by column "{self._by.name}", which is missing in {self._missing} rows.'
            raise StageError(Reason.SCHEMA_MISMATCH, f"{text} Fill it in, or divide otherwise in spec.split.")
        return np.concatenate(self._values)


@dataclass(frozen=True)
class Division:
    """Every row's part, by its number, and what led to it."""

    parts: Parts
    recalled: Recalled
    moved: int
    """Rows that have another part than in the version before."""


def ways(fields: Sequence[Field], how: Split, previous: Previous | None) -> Ways:
    """How rows with these frozen fields are told apart, and were. Raises StageError for groups that cannot be."""
    groups = how.group_by or ()
    _check(fields, groups)
    past = previous.manifest if previous else None
    return history.ways(identity.of(fields, groups, past), past)


def divide(rows: Rows, how: Split, told: Ways, previous: Previous | None, erased: Numbers) -> Division:
    """Divide the rows; what `erased` keys stand for is not remembered.

    Raises StageError when what earlier versions know cannot be read, or a time is missing.
    """
    values = rows.values()
    recalled = history.recall(previous, told, rows.known, rows.scratch, erased)
    units = rows.units()
    before = previous.manifest.split.fractions if previous else None
    parts = None
    if split.is_drawn(how, before):
        parts = _drawn(units, recalled.parts, how, is_first=previous is None)
    if parts is None:
        parts = _together(units, recalled.parts, values, how, before)
    return Division(parts, recalled, history.moved(recalled, rows.known.bridge, parts))


def _drawn(units: Records, known: Parts, how: Split, *, is_first: bool) -> Parts | None:
    """Each unit by itself, some at a time; None where that leaves a part empty."""
    parts = np.empty(len(known), np.int8)
    for (span,) in spans(units):
        if is_first:
            for held in span:
                parts[held["row"]] = split.drawn(held["key"], known[held["row"]], how)
            continue
        mine = Known.over((held["key"], known[held["row"]]) for held in span)
        made = split.drawn(mine.keys, mine.parts, how)
        for held in span:
            parts[held["row"]] = made[mine.find(held["key"])[0]]
    counts = [int(np.count_nonzero(parts == code)) for code in range(len(split.PARTS))]
    return parts if split.has_all(counts, how.fractions) else None


def _together(
    units: Records, known: Parts, values: npt.NDArray[Any] | None, how: Split, before: Fractions | None
) -> Parts:
    """All units at once, some 60 bytes for each."""
    found = []
    for (span,) in spans(units):
        pieces = []
        for held in span:
            of_rows = None if values is None else values[held["row"]]
            is_time = how.method is Method.TIME
            strata, times = (None, of_rows) if is_time else (of_rows, None)
            pieces.append(split.gather(held["key"], known[held["row"]], strata, times))
        found.append(split.merged(pieces))
    every = split.joined(found)
    made = split.assign(every, how, before)
    parts = np.empty(len(known), np.int8)
    for (span,) in spans(units):
        for held in span:
            parts[held["row"]] = made[np.searchsorted(every.keys, held["key"])]
    return parts


def _check(fields: Sequence[Field], groups: Sequence[str]) -> None:
    roles = {field.name: field.role for field in fields}
    for name in groups:
        if name not in roles:
            text = f'Rows are grouped by column "{name}", which is not frozen. Correct spec.split.groupBy.'
            raise StageError(Reason.SCHEMA_MISMATCH, text)
        if roles[name] is Role.LABEL:
            text = f'Rows are grouped by column "{name}", which is the label. Correct spec.split.groupBy.'
            raise StageError(Reason.SCHEMA_MISMATCH, text)


@dataclass(frozen=True)
class _By:
    """The column that rows are divided by."""

    name: str
    type: FieldType
    is_time: bool

    def values(self, table: Table, hashes: Hashes) -> npt.NDArray[Any]:
        """Each row's class, or when it happened in the order of the column's type; 0 where that is missing."""
        if not self.is_time:
            return hashes.values(self.name, exact=True)
        column = table[self.name]
        if self.type in (FieldType.TIMESTAMP, FieldType.INT64):
            return np.asarray(column.cast(pa.int64()).fill_null(0), dtype=np.int64)
        return np.asarray(as_floats(column.fill_null(0), self.type))


def _divided_by(fields: Sequence[Field], how: Split) -> _By | None:
    if how.method is Method.RANDOM:
        return None
    named = how.field
    if how.method is Method.TIME:
        named = named or next((field.name for field in fields if field.role is Role.EVENT_TIME), None)
    if named is None:
        text = "Rows are divided by time, and no column says when they happened. Set spec.split.field."
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    field = next((field for field in fields if field.name == named), None)
    if field is None:
        text = f'Rows are divided by column "{named}", which is not frozen. Correct spec.split.field.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    if how.method is Method.TIME and (field.type not in _ORDERED or field.role is Role.LABEL):
        what = "the label" if field.role is Role.LABEL else f"a {field.type}"
        text = f'Rows are divided by column "{named}", which is {what}: no time. Correct spec.split.field.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    return _By(named, field.type, how.method is Method.TIME)
