"""Divided rows to the files of a version, range by range in key order: the same rows give the same bytes."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from millrace.contract.profile import CATEGORICAL, MAX_FEATURES, NUMERIC, FeatureHistogram, OutputHistogram, Profile
from millrace_runtime.snapshot import histograms, shuffle
from millrace_runtime.snapshot.identity import Keys
from millrace_runtime.snapshot.manifest import Part, schema_digest
from millrace_runtime.snapshot.shuffle import KEY, Shuffle
from millrace_runtime.snapshot.spec import Field, FieldType, Role
from millrace_runtime.snapshot.split import Parts
from millrace_runtime.snapshot.texts import ARROW

__all__ = ["ARROW", "Content", "Index", "PartFile", "as_floats", "known", "profile", "read_index"]

Table = Any
ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 * 1024 * 1024
DEPARTED_ROWS = 5_000_000
"""Rows that left the source are remembered up to this many, so that one which comes back keeps its part."""
PROFILE_ROWS = 250_000
PROFILE_BYTES = 64 * 1024 * 1024
"""The profile is of the first rows in key order, up to so many rows and bytes: keys are hashes, so it is a sample."""


class PartFile:
    """One Parquet file of a version, written as its rows come.

    Row groups end after so many rows or bytes, counted from the first row on: the file does not show in which pieces
    its rows came, nor when or where they were written.
    """

    def __init__(self, path: pathlib.Path, kind: Any) -> None:
        self.path = path
        self.rows = 0
        self._held = kind.empty_table()
        self._writer = pyarrow.parquet.ParquetWriter(path, kind, compression="zstd", store_schema=False)

    def add(self, table: Table) -> None:
        """Take in the next rows."""
        self.rows += table.num_rows
        self._held = pa.concat_tables([self._held, table])
        for group in self._full():
            self._write(group)

    def close(self) -> Part:
        """Write what is left. Returns digest, rows and bytes."""
        if self._held.num_rows:
            self._write(self._held)
        self._writer.close()
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(f"sha256:{digest}", self.rows, self.path.stat().st_size)

    def _full(self) -> Iterator[Table]:
        """Cut off row groups that no later row belongs to."""
        while (rows := _group(self._held)) < self._held.num_rows:
            yield self._held.slice(0, rows)
            self._held = self._held.slice(rows)

    def _write(self, group: Table) -> None:
        self._writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP_ROWS)


def _group(table: Table) -> int:
    """Rows of the table's first row group: so many that the next would be too many, or make too many bytes."""
    rows = min(ROW_GROUP_ROWS, table.num_rows)
    head = table.slice(0, rows)
    sizes = np.zeros(rows)
    for column in head.columns:
        if pa.types.is_string(column.type):
            sizes += np.asarray(pc.fill_null(pc.binary_length(column), 0))
        else:
            sizes += 8
    fitting = int(np.searchsorted(np.cumsum(sizes), ROW_GROUP_BYTES, side="right"))
    return int(max(1, min(rows, fitting)))


class Content:
    """`sha256:<hex>` over the schema and every row's content and part in key order, whatever wrote the files."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._total = hashlib.sha256(schema_digest(fields).encode())

    def add(self, full: Keys, parts: Parts) -> None:
        """Take in the next rows."""
        rows = np.empty((len(full), 17), np.uint8)
        rows[:, :16] = np.ascontiguousarray(full).view(np.uint8).reshape(-1, 16)
        rows[:, 16] = parts
        self._total.update(rows.tobytes())

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return f"sha256:{self._total.hexdigest()}"


class Index:
    """index.parquet: key and part of every row, and of rows that are no longer there, in key order."""

    def __init__(self, path: pathlib.Path) -> None:
        kind = pa.schema({"row": pa.binary(16), "part": pa.int8()})
        self._file = PartFile(path, kind)

    def add(self, keys: Keys, parts: Parts, known: tuple[Keys, Parts]) -> None:
        """Take in the next range of keys, sorted, and what was known of it. A range gets its share of departed rows."""
        gone = _absent(known[0], keys)
        departed, left = _first_of_each_range(known[0][gone], known[1][gone])
        every, all_parts = np.concatenate([keys, departed]), np.concatenate([parts, left])
        order = np.argsort(every)
        column = shuffle.as_column(every[order])
        self._file.add(pa.table({"row": column, "part": pa.array(all_parts[order], pa.int8())}))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def _absent(some: Keys, keys: Keys) -> Any:
    """Which of some keys are not among the sorted ones."""
    if not len(some) or not len(keys):
        return np.ones(len(some), bool)
    return keys[np.minimum(np.searchsorted(keys, some), len(keys) - 1)] != some


def _first_of_each_range(keys: Keys, parts: Parts) -> tuple[Keys, Parts]:
    order = np.argsort(keys)
    keys, parts = keys[order], parts[order]
    first = shuffle.first_bytes(shuffle.as_column(keys))
    place = np.arange(len(keys)) - np.searchsorted(first, first)
    kept = place < DEPARTED_ROWS // shuffle.RANGES
    return keys[kept], parts[kept]


def read_index(path: pathlib.Path, into: Shuffle) -> None:
    """Read an index.parquet block by block."""
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS):
            into.add(pa.table({KEY: batch["row"], "part": batch["part"]}))


def known(held: Table | None) -> tuple[Keys, Parts]:
    """Keys and parts of a range of an index."""
    if held is None:
        return np.empty(0, "S16"), np.empty(0, np.int8)
    return shuffle.as_bytes(held[KEY]), np.asarray(held["part"], dtype=np.int8)


def profile(table: Table, fields: Sequence[Field]) -> Profile:
    """Histograms of all rows: the features as the model's inputs will hold them, the label as an output."""
    features: list[FeatureHistogram] = []
    used = {NUMERIC: 0, CATEGORICAL: 0}
    for field in fields:
        if field.role is Role.FEATURE and len(features) < MAX_FEATURES:
            shape = _histogram(table[field.name], field.type)
            index = used[shape["kind"]]
            used[shape["kind"]] += 1
            features.append(FeatureHistogram(name=field.name, input=shape["kind"], index=index, **shape))
    labels = [field for field in fields if field.role is Role.LABEL]
    outputs = tuple(OutputHistogram(name=f.name, **_histogram(table[f.name], f.type)) for f in labels)
    return Profile(rows=table.num_rows, features=tuple(features), outputs=outputs)


def _histogram(column: Any, kind: FieldType) -> dict[str, Any]:
    if kind in (FieldType.STRING, FieldType.CATEGORY):
        return histograms.categorical(column.to_pylist())
    return histograms.numeric(as_floats(column, kind))


def as_floats(column: Any, kind: FieldType) -> Any:
    """Return a float64 array, NaN where missing; an instant becomes days since 1970-01-01, a Bool 0 or 1."""
    if kind is FieldType.TIMESTAMP:
        days = column.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(days, dtype=np.float64) / 86_400e6
    if kind is FieldType.BOOL:
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
