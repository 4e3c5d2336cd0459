"""Rows in ranges of their keys, with memory for some of them: the rest goes to disk by the first byte of the key.

Rows with equal keys are in one range, and ranges follow each other in key order, so numbering equal rows, looking keys
up and sorting are done range by range. Few rows are never written to disk.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Table = Any
MEMORY_BYTES = 64 * 1024 * 1024
"""Held at once of what comes in; then it is spilled."""
SPAN_BYTES = 32 * 1024 * 1024
"""Held at once of what comes back in order, several times over while it is sorted and divided."""
RANGES = 256
KEY = "\x00key"
"""Name of the column, 16 bytes a row, that decides the order; no column of a source is called so."""
_EVERYTHING = range(RANGES)


class Shuffle:
    """Takes tables with a column KEY in any order, gives them back in spans of its first byte."""

    def __init__(self, scratch: pathlib.Path) -> None:
        self._scratch = scratch
        self._held: list[Table] = []
        self._size = 0
        self._writers: list[Any] = []
        self._sizes = [0] * RANGES
        self.rows = 0

    def add(self, table: Table) -> None:
        """Take in rows; those held so far go to disk when they are many."""
        self.rows += table.num_rows
        self._held.append(table)
        self._size += table.nbytes
        if self._size > MEMORY_BYTES:
            self._spill()

    def spans(self) -> Iterator[range]:
        """End the intake, and yield spans of first bytes in order, together all, each fit to be held."""
        if not self._writers:
            yield _EVERYTHING
            return
        self._spill()
        for writer in self._writers:
            writer.close()
        start, size = 0, 0
        for first, added in enumerate(self._sizes):
            if size and size + added > SPAN_BYTES:
                yield range(start, first)
                start, size = first, 0
            size += added
        yield range(start, RANGES)

    def read(self, span: range, *, keep: bool = False) -> Table | None:
        """Return the rows of a span, in the order they came; they are gone afterwards unless kept. None without any."""
        if self._writers:
            return self._from_disk(span, keep=keep)
        if not self._held:
            return None
        table = _joined(self._held)
        if span != _EVERYTHING:
            first = first_bytes(table[KEY])
            return table.filter(pa.array((first >= span.start) & (first < span.stop)))
        self._held = [table] if keep else []
        return table

    def _spill(self) -> None:
        if not self._held:
            return
        table = _joined(self._held)
        self._held, self._size = [], 0
        if not self._writers:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._writers = [pa.ipc.new_file(self._path(first), table.schema) for first in _EVERYTHING]
        first = first_bytes(table[KEY])
        order = np.argsort(first, kind="stable")
        bounds = np.searchsorted(first[order], np.arange(RANGES + 1))
        table = table.take(pa.array(order))
        pa.default_memory_pool().release_unused()
        for number, writer in enumerate(self._writers):
            chosen = table.slice(bounds[number], bounds[number + 1] - bounds[number])
            if chosen.num_rows:
                self._sizes[number] += chosen.nbytes
                writer.write_table(chosen)

    def _from_disk(self, span: range, *, keep: bool) -> Table | None:
        found = []
        for first in span:
            if self._sizes[first]:
                with pa.OSFile(str(self._path(first))) as file:
                    found.append(pa.ipc.open_file(file).read_all())
            if not keep:
                self._path(first).unlink()
        return _joined(found) if found else None

    def _path(self, number: int) -> pathlib.Path:
        return self._scratch / f"{number:03}.arrow"


def first_bytes(keys: Any) -> npt.NDArray[np.uint8]:
    """The first byte of every key of a column of 16 bytes a row."""
    return np.ascontiguousarray(as_bytes(keys)).view(np.uint8).reshape(-1, 16)[:, 0]


def as_bytes(keys: Any) -> npt.NDArray[np.bytes_]:
    """Return a pyarrow column of 16 bytes a row as an `S16` array."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks() if keys.num_chunks != 1 else keys.chunk(0)
    if isinstance(keys, pa.ChunkedArray) or not len(keys):
        return np.empty(0, "S16")
    return np.frombuffer(keys.buffers()[1], "S16", count=len(keys), offset=16 * keys.offset)


def as_column(keys: npt.NDArray[np.bytes_]) -> Any:
    """Return an `S16` array as a pyarrow array of 16 bytes a row."""
    flat = pa.py_buffer(np.ascontiguousarray(keys).tobytes())
    return pa.Array.from_buffers(pa.binary(16), len(keys), [None, flat])


def _joined(tables: list[Table]) -> Table:
    return pa.concat_tables(tables).combine_chunks()
