"""Rows that occur twice, that contradict each other, or that were nearly trained on.

A **near copy** of a train row has, of at least four features, all but one in common with it, after numbers were rounded
to three significant digits, or all of them, but for rounding. Two numbers on either side of where rounding turns are
told apart, and where features take few values rows are alike by chance: it is a hint, not a proof. Exact copies have
equal features to the last bit; only an Id or a group can put them in two parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.ahead import ahead
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.identity import Keyed
from millrace_runtime.snapshot.records import Array, Records, counted, spans, starts
from millrace_runtime.snapshot.split import TRAIN, Parts

Table = Any
Bools = npt.NDArray[np.bool_]
HELD_OUT_ROWS, HELD_OUT_CELLS = 20_000, 4_000_000
TRAIN_CELLS = 4_000_000
"""Near copies are searched for in so many values of train rows, of the first ones: their order is that of a hash."""
_FEWEST_TO_LEAVE_ONE_OUT = 4
_POWERS = 10.0 ** np.arange(-300, 301)
"""Powers of ten by exponent: looked up, not computed."""
_DIGITS = 3


@dataclass(frozen=True)
class Alike:
    """Rows with the same features."""

    duplicates: int
    """That repeat another one with its label."""
    conflicts: int
    """That repeat one with another label; a row without a label contradicts nobody."""
    copied: Bools
    """Whether each row is held out and has the features of a train row."""


def alike(likeness: Records, parts: Parts) -> Alike:
    """Compare all rows by their features, range by range: exact."""
    duplicates = conflicts = 0
    copied = np.zeros(len(parts), bool)
    for (span,) in spans(likeness):
        pieces = [_not_alone(held) for held in span] if span.is_whole else span
        kinds = _kinds(pieces, parts)
        duplicates += int((kinds["rows"] - 1).sum())
        conflicts += _torn(kinds)
        trained = hashing.distinct(kinds["key"][kinds["train"]])
        for held in pieces:
            rows = held[parts[held["row"]] != TRAIN]
            copied[rows["row"][hashing.among(rows["key"], trained)]] = True
    return Alike(duplicates, conflicts, copied)


def _not_alone(held: Array) -> Array:
    """The records whose features others have too."""
    keys = np.ascontiguousarray(held["key"])
    ordered = np.sort(keys)
    again = hashing.distinct(ordered[1:][ordered[1:] == ordered[:-1]])
    return held[hashing.among(keys, again)]


_KIND = np.dtype([("key", "u8"), ("label", "u8"), ("rows", "i8"), ("train", "?")])


def _kinds(pieces: Iterable[Array], parts: Parts) -> Array:
    """Features and label, each pair once, sorted; how many rows have them, and whether one of these is trained on."""
    found = np.empty(0, _KIND)
    for held in pieces:
        made = np.empty(len(held), _KIND)
        made["key"], made["label"], made["rows"], made["train"] = (
            held["key"],
            held["label"],
            1,
            parts[held["row"]] == TRAIN,
        )
        made = _once(made)
        found = _once(np.concatenate([found, made])) if len(found) else made
    return found


def _once(kinds: Array) -> Array:
    kinds = kinds[np.lexsort((kinds["label"], kinds["key"]))]
    if not len(kinds):
        return kinds
    fresh = np.ones(len(kinds), bool)
    fresh[1:] = (kinds["key"][1:] != kinds["key"][:-1]) | (kinds["label"][1:] != kinds["label"][:-1])
    first = np.flatnonzero(fresh)
    made = kinds[first]
    made["rows"] = np.add.reduceat(kinds["rows"], first)
    made["train"] = np.logical_or.reduceat(kinds["train"], first)
    return made


def _torn(kinds: Array) -> int:
    """How many rows have features that occur with several labels; no label is none."""
    kinds = kinds[kinds["label"] != hashing.MISSING]
    first = starts(kinds["key"])
    if not len(first):
        return 0
    several = np.diff(np.append(first, len(kinds))) > 1
    return int(np.add.reduceat(kinds["rows"], first)[several].sum())


def shared(ids: Keyed) -> int:
    """Return how many rows have an Id that another one has too; `ids` are the rows' keys, Ids first."""
    count = 0
    for (span,) in spans(next(iter(ids))):
        _, sizes = counted(span)
        count += int(sizes[sizes > 1].sum())
    return count


class NearCopies:
    """Held-out rows, and which of them train rows are nearly like. Both are added as they come, held-out ones first."""

    def __init__(self, features: Sequence[str]) -> None:
        self._names = list(features)
        self._most = min(HELD_OUT_ROWS, max(1, HELD_OUT_CELLS // max(1, len(self._names))))
        self._cells: list[list[Numbers]] = [[] for _ in self._names]
        self.held_out = self.train = 0
        """How many rows are compared."""

    def hold_out(self, table: Table) -> None:
        """Take in held-out rows, the first ones; copies of train rows are not among them."""
        table = table.slice(0, self._most - self.held_out)
        if table.num_rows:
            self.held_out += table.num_rows
            for held, name in zip(self._cells, self._names, strict=True):
                held.append(_rounded(table[name], name))

    def found(self, train: Iterable[Table]) -> int:
        """Return how many of the held-out rows are nearly like a train row."""
        if not self._names or not self.held_out:
            return 0
        ours = [np.concatenate(held) for held in self._cells]
        total = _sum(ours)
        whole = _Sought(total)
        leaves = [_Sought(total - each) for each in ours] if len(ours) >= _FEWEST_TO_LEAVE_ONE_OUT else []
        most = TRAIN_CELLS // len(self._names)
        # One slice is hashed while the one before is compared.
        for theirs in ahead(self._hashed(_slices(train, most))):
            other = _sum(theirs)
            self.train += len(other)
            whole.see(other)
            for leave, each in zip(leaves, theirs, strict=False):
                leave.see(other - each)
        return int(np.logical_or.reduce([whole.found, *(leave.found for leave in leaves)]).sum())

    def _hashed(self, tables: Iterable[Table]) -> Iterator[list[Numbers]]:
        for table in tables:
            yield [_rounded(table[name], name) for name in self._names]


def _sum(many: Sequence[Numbers]) -> Numbers:
    return np.asarray(np.sum(many, axis=0, dtype=np.uint64))


def _slices(tables: Iterable[Table], most: int) -> Iterator[Table]:
    """The first rows, some at a time."""
    for table in tables:
        for start in range(0, min(most, table.num_rows), hashing.BLOCK_ROWS):
            yield table.slice(start, min(hashing.BLOCK_ROWS, most - start))
        most -= table.num_rows
        if most <= 0:
            return


class _Sought:
    """Numbers that are looked for among many others: most of these are told apart by a few bits of theirs."""

    def __init__(self, numbers: Numbers) -> None:
        self._distinct, self._places = np.unique(numbers, return_inverse=True)
        self._seen = np.zeros(len(self._distinct), bool)
        bits = max(1, int(8 * len(numbers) - 1).bit_length())
        self._shift = np.uint64(64 - bits)
        self._may_be = np.zeros(1 << bits, bool)
        self._may_be[numbers >> self._shift] = True

    def see(self, others: Numbers) -> None:
        """Take in numbers."""
        likely = others[self._may_be[others >> self._shift]]
        at = np.minimum(np.searchsorted(self._distinct, likely), len(self._distinct) - 1)
        self._seen[at[self._distinct[at] == likely]] = True

    @property
    def found(self) -> Bools:
        """Which of the numbers were seen."""
        return np.asarray(self._seen[self._places])


def _rounded(column: Any, name: str) -> Numbers:
    """What each value adds to its row's number, numbers being rounded."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        column = _significant(column)
    return hashing.cells(column, name, exact=True)


def _significant(column: Any) -> Any:
    numbers = np.asarray(column.cast(pa.float64(), safe=False), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.nan_to_num(np.floor(np.log10(np.abs(numbers))), nan=0.0, posinf=0.0, neginf=0.0)
        scale = _POWERS[np.clip(_DIGITS - 1 - size, -300, 300).astype(np.intp) + 300]
        rounded = np.round(numbers * scale) / scale
    return pa.array(np.where(np.isfinite(rounded), rounded, numbers))
