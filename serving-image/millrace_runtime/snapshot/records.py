"""Numbers about rows, in ranges of a key, with memory for some of them: the rest goes to disk by the key's first byte.

Keys are hashes, so ranges are of much the same size, and records with equal keys are in one. Looking keys up in other
records, counting equal ones and writing them in order are done range by range, whatever their number. A range that is
larger than all others, because a few keys have most records, comes in pieces.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace_runtime.snapshot.hashing import Numbers

Array = npt.NDArray[Any]
MEMORY_BYTES = 16 * 1024 * 1024
"""Held at once of what comes in; then it is spilled."""
SPAN_BYTES = 16 * 1024 * 1024
"""Held at once of what comes back, several times over while it is worked on."""
RANGES = 256
BLOCK = 1 << 18
"""Records of a piece."""


class Records:
    """Takes records in any order, each with a `key`, and gives them back by ranges of it, as often as asked."""

    def __init__(self, scratch: pathlib.Path, **columns: str) -> None:
        """`columns` are numpy's types of what stands beside the key."""
        self._kind = np.dtype([("key", "u8"), *columns.items()])
        self._scratch = scratch
        self._waiting: list[tuple[Array, ...]] = []
        self._rows = 0
        self._counts = np.zeros(RANGES, np.int64)
        self._held: Array | None = None
        """Everything, by ranges, where all of it is held."""

    def add(self, keys: Numbers, *columns: Array) -> None:
        """Take in records; those held so far go to disk when they are many."""
        self._waiting.append((keys, *columns))
        self._rows += len(keys)
        if self._rows * self._kind.itemsize > MEMORY_BYTES:
            self._spill()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each range. No records may be added afterwards."""
        if self._held is None and not self._counts.any():
            self._held = self._in_ranges()
        elif self._waiting:
            self._spill()
        return self._counts * self._kind.itemsize

    def between(self, first: int, last: int) -> Iterator[Array]:
        """Yield the records of the ranges from `first` to below `last`; `sizes` was asked for before."""
        if self._held is not None:
            start, count = int(self._counts[:first].sum()), int(self._counts[first:last].sum())
            yield self._held[start : start + count]
        elif self.is_small(first, last):
            found = [np.fromfile(self._path(at), self._kind) for at in range(first, last) if self._counts[at]]
            yield np.concatenate([np.empty(0, self._kind), *found])
        else:
            for at in range(first, last):
                for start in range(0, int(self._counts[at]), BLOCK):
                    yield np.fromfile(self._path(at), self._kind, BLOCK, offset=start * self._kind.itemsize)

    def is_small(self, first: int, last: int) -> bool:
        """Whether the records of the ranges are held, or few enough for it."""
        size = int(self._counts[first:last].sum()) * self._kind.itemsize
        return self._held is not None or size <= SPAN_BYTES

    def _in_ranges(self) -> Array:
        """What waits, by ranges; it is counted."""
        made = np.empty(self._rows, self._kind)
        if self._waiting:
            columns = [np.concatenate(each) for each in zip(*self._waiting, strict=True)]
            first_bytes = (columns[0] >> np.uint64(56)).astype(np.uint8)
            order = np.argsort(first_bytes, kind="stable")
            for name, column in zip(self._kind.names or (), columns, strict=True):
                made[name] = column[order]
            self._counts += np.bincount(first_bytes, minlength=RANGES)
        self._waiting, self._rows = [], 0
        return made

    def _spill(self) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        before = self._counts.copy()
        held = self._in_ranges()
        ends = np.concatenate([[0], np.cumsum(self._counts - before)])
        for at in range(RANGES):
            if ends[at] < ends[at + 1]:
                with self._path(at).open("ab") as file:
                    file.write(held[ends[at] : ends[at + 1]].tobytes())  # numpy's own writing hides a full disk

    def _path(self, at: int) -> pathlib.Path:
        return self._scratch / f"{at:03}.bin"


@dataclass(frozen=True)
class Span:
    """The records of some ranges. Iterates over pieces of them, as often as asked: of most there is one."""

    records: Records
    first: int
    last: int

    @property
    def is_whole(self) -> bool:
        """Whether there is one piece."""
        return self.records.is_small(self.first, self.last)

    def __iter__(self) -> Iterator[Array]:
        return self.records.between(self.first, self.last)


def spans(*many: Records) -> Iterator[tuple[Span, ...]]:
    """Yield what each of them has in one range of keys after another, as many at a time as are fit to be held."""
    sizes = sum((each.sizes for each in many), start=np.zeros(RANGES, np.int64))
    start, size = 0, 0
    for first in range(RANGES):
        if size and size + sizes[first] > SPAN_BYTES:
            yield tuple(Span(each, start, first) for each in many)
            start, size = first, 0
        size += int(sizes[first])
    yield tuple(Span(each, start, RANGES) for each in many)


def counted(span: Span) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Return each key of a span once, sorted, and how many records have it."""
    found, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for held in span:
        ordered = np.sort(held["key"])
        first = starts(ordered)
        found, counts = _added(found, counts, ordered[first], np.diff(np.append(first, len(ordered))))
    return found, counts


def _added(keys: Numbers, counts: Array, more: Numbers, others: Array) -> tuple[Numbers, Array]:
    if not len(keys):
        return more, others
    joined = np.concatenate([keys, more])
    order = np.argsort(joined)
    ordered = joined[order]
    first = starts(ordered)
    return ordered[first], np.add.reduceat(np.concatenate([counts, others])[order], first)


def starts(ordered: Array) -> npt.NDArray[np.intp]:
    """Return where runs of equal values begin."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]]))
