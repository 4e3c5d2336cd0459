"""Rows in the order of their keys, with memory for some of them: the rest goes to disk by the first byte of the key.

Ranges of keys follow each other in key order and are sorted one by one. Few rows are never written to disk.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace_runtime.snapshot.hashing import Numbers

Table = Any
Order = npt.NDArray[np.intp]
MEMORY_BYTES = 64 * 1024 * 1024
"""Held at once of what comes in; then it is spilled."""
SPAN_BYTES = 32 * 1024 * 1024
"""Held at once of what comes back in order, several times over while it is sorted and divided."""
RANGES = 256
BYTES = 8
KEY = "\x00key"
"""Name of the column of 64-bit numbers that decides the order; no column of a source is called so."""


class Shuffle:
    """Takes tables with a column KEY in any order, gives them back in its order."""

    def __init__(self, scratch: pathlib.Path, depth: int = 0) -> None:
        """Ranges are of the key's byte at `depth`, those before it being equal."""
        self._scratch = scratch
        self._depth = depth
        self._held: list[Table] = []
        self._size = 0
        self._writers: dict[int, Any] = {}
        """By range; of those that have a row."""
        self._is_closed = False
        self._sizes = [0] * RANGES
        self.rows = 0

    def add(self, table: Table) -> None:
        """Take in rows; those held so far go to disk when they are many."""
        self.rows += table.num_rows
        self._held.append(table)
        self._size += table.nbytes
        if self._size > MEMORY_BYTES:
            self._spill()

    def blocks(self) -> Iterator[Table]:
        """Yield every row once, in no order, and keep them. No rows may be added afterwards."""
        self._close()
        yield from self._held
        for first in sorted(self._writers):
            with pa.OSFile(str(self._path(first))) as file, pa.ipc.open_file(file) as held:
                for number in range(held.num_record_batches):
                    yield pa.Table.from_batches([held.get_batch(number)])

    def ordered(self) -> Iterator[tuple[Table, Order]]:
        """Yield every row once with the order of the keys, range by range; they are gone afterwards."""
        if not self._writers:
            held, self._held = self._held, []
            if held:
                yield _with_order(held)
            return
        self._close()
        span: list[int] = []
        held_bytes = 0
        for first in sorted(self._writers):
            if span and held_bytes + self._sizes[first] > SPAN_BYTES:
                yield from self._taken(span)
                span, held_bytes = [], 0
            span.append(first)
            held_bytes += self._sizes[first]
        yield from self._taken(span)

    def _taken(self, span: list[int]) -> Iterator[tuple[Table, Order]]:
        if len(span) == 1 and self._sizes[span[0]] > 2 * SPAN_BYTES:
            yield from self._divided(span[0])
            return
        found = []
        for first in span:
            with pa.memory_map(str(self._path(first))) as file:
                found.append(pa.ipc.open_file(file).read_all())
            self._path(first).unlink()
        yield _with_order(found)

    def _divided(self, first: int) -> Iterator[tuple[Table, Order]]:
        """A range that is too large, by the next byte of the key; rows with equal keys are yielded as they come."""
        deeper = Shuffle(self._scratch / f"{first:03}", self._depth + 1)
        with pa.OSFile(str(self._path(first))) as file, pa.ipc.open_file(file) as held:
            for number in range(held.num_record_batches):
                table = pa.Table.from_batches([held.get_batch(number)])
                if deeper._depth == BYTES:
                    yield table, np.arange(table.num_rows)
                else:
                    deeper.add(table)
        self._path(first).unlink()
        yield from deeper.ordered()

    def _close(self) -> None:
        if self._writers and not self._is_closed:
            self._spill()
            for writer in self._writers.values():
                writer.close()
            self._is_closed = True

    def _spill(self) -> None:
        if not self._held:
            return
        if not self._writers:
            self._scratch.mkdir(parents=True, exist_ok=True)
        # A block at a time: what stays in a core's own cache is put in order twice as quickly.
        held = [self._in_ranges(self._held.pop(0)) for _ in range(len(self._held))]
        self._size = 0
        for number in range(RANGES):
            slices = [
                table.slice(ends[number], ends[number + 1] - ends[number])
                for table, ends in held
                if ends[number] < ends[number + 1]
            ]
            if slices:
                chosen = _joined(slices)
                self._sizes[number] += chosen.nbytes
                self._writer(number, chosen.schema).write_table(chosen)
        del held
        pa.default_memory_pool().release_unused()

    def _writer(self, number: int, kind: Any) -> Any:
        """The range's own; keys that begin alike are in few of them."""
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_file(self._path(number), kind)
        return self._writers[number]

    def _in_ranges(self, table: Table) -> tuple[Table, list[int]]:
        first_bytes = (keys_of(table) >> np.uint64(8 * (BYTES - 1 - self._depth))).astype(np.uint8)
        order = np.argsort(first_bytes, kind="stable")
        ends = np.searchsorted(first_bytes[order], np.arange(RANGES + 1))
        return table.take(pa.array(order)), ends.tolist()

    def _path(self, number: int) -> pathlib.Path:
        return self._scratch / f"{number:03}.arrow"


def keys_of(table: Table) -> Numbers:
    """The rows' keys."""
    return np.asarray(table[KEY], dtype=np.uint64)


def _with_order(tables: list[Table]) -> tuple[Table, Order]:
    table = _joined(tables)
    return table, np.argsort(keys_of(table), kind="stable")


def _joined(tables: list[Table]) -> Table:
    return pa.concat_tables(tables).combine_chunks()
