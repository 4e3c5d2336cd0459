"""One Parquet file of a version, written as its rows come: the same rows give the same bytes."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from millrace_runtime.snapshot.manifest import Part

Table = Any
ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 * 1024 * 1024
_LOOKED_AT = 8_192


class PartFile:
    """One Parquet file of a version, written as its rows come.

    Row groups end after so many rows or bytes, counted from the first row on: the file does not show in which pieces
    its rows came, nor when or where they were written.
    """

    def __init__(self, path: pathlib.Path, kind: Any) -> None:
        self.path = path
        self.rows = 0
        self._kind = kind
        self._held = kind.empty_table()
        self._writer: Any = None

    def add(self, table: Table) -> None:
        """Take in the next rows."""
        self.rows += table.num_rows
        self._held = pa.concat_tables([self._held, table])
        for group in self._full():
            self._write(group)

    def close(self) -> None:
        """Write what is left."""
        if self._held.num_rows or self._writer is None:
            self._write(self._held)
        self._writer.close()

    def part(self) -> Part:
        """Digest, rows and bytes of a file that is closed."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(f"sha256:{digest}", self.rows, self.path.stat().st_size)

    def _full(self) -> Iterator[Table]:
        """Cut off row groups that no later row belongs to."""
        while (rows := _group(self._held)) < self._held.num_rows:
            yield self._held.slice(0, rows)
            self._held = self._held.slice(rows)

    def _write(self, group: Table) -> None:
        if self._writer is None:
            # A column of distinct values is no shorter with a dictionary, and takes twice the time.
            options: dict[str, Any] = {"use_dictionary": _repetitive(group), "compression": "zstd"}
            self._writer = pyarrow.parquet.ParquetWriter(self.path, self._kind, store_schema=False, **options)
        if group.num_rows:
            self._writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP_ROWS)


def _repetitive(group: Table) -> list[str]:
    """The columns in whose first values fewer than half are distinct."""
    head = group.slice(0, _LOOKED_AT)
    return [name for name in head.column_names if 2 * pc.count_distinct(head[name]).as_py() < head.num_rows]


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
