"""Rows that occur twice, that contradict each other, or that were nearly trained on.

A **near copy** of a train row has, of at least four features, all but one in common with it, after numbers were rounded
to three significant digits, or all of them, but for rounding. Two numbers on either side of where rounding turns are
told apart, and where features take few values rows are alike by chance: it is a hint, not a proof. Exact copies have
equal features to the last bit; only an Id or a group can put them in two parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.quality import Quality
from millrace_runtime.snapshot import hashing, leakage
from millrace_runtime.snapshot.division import Division
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.spec import Field, Role
from millrace_runtime.snapshot.split import TRAIN

Table = Any
HELD_OUT_ROWS = 20_000
CELLS = 100_000_000
"""Near copies are searched for in so many values of train rows; wide tables are compared with fewer rows."""
_FEWEST_TO_LEAVE_ONE_OUT = 4
_DIGITS = 3


def inspect(table: Table, fields: Sequence[Field], divided: Division) -> Quality:
    """Return what is striking about the rows; exact but for near copies, which are sought in a sample of many rows."""
    features = [field for field in fields if field.role is Role.FEATURE]
    names = [field.name for field in features]
    same, parts = divided.rows.features, divided.parts
    held_out, train = np.flatnonzero(parts != TRAIN), np.flatnonzero(parts == TRAIN)
    copied = hashing.among(same[held_out], same[train])
    distinct = held_out[~copied]
    sampled, near, compared = _near(table, names, distinct, train)
    duplicates, conflicts = _repeated(same, divided.rows.labels)
    return Quality(
        duplicate_rows=duplicates,
        conflicting_rows=conflicts,
        shared_rows=_shared(divided.rows.keys.kinds[0]) if divided.recalled.eras[0].ids else 0,
        copied_rows=int(copied.sum()),
        near_copied_rows=round(near * len(distinct) / max(1, sampled)),
        moved_rows=divided.moved,
        compared_held_out=sampled,
        compared_train=compared,
        leakage_suspects=leakage.suspects(table, fields, same),
    )


def _repeated(same: Numbers, label: Numbers) -> tuple[int, int]:
    """Rows that repeat another one with its label, and rows that repeat one with another label.

    A row without a label contradicts nobody.
    """
    order = np.lexsort((label, same))
    ordered, labels = same[order], label[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]) | (labels[1:] != labels[:-1])
    ordered, labels = ordered[labels != hashing.MISSING], labels[labels != hashing.MISSING]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.empty(0, int)
    sizes = np.diff(np.append(first, len(ordered)))
    # Labels are sorted within a group: two that differ show in its ends.
    is_torn = labels[first] != labels[first + sizes - 1]
    return int(len(fresh) - fresh.sum()), int(sizes[is_torn].sum())


def _shared(ids: Numbers) -> int:
    _, counts = np.unique(ids, return_counts=True)
    return int(counts[counts > 1].sum())


def _near(
    table: Table, names: Sequence[str], held_out: npt.NDArray[np.intp], train: npt.NDArray[np.intp]
) -> tuple[int, int, int]:
    """How many held-out rows were compared, how many of them have a near copy, with how many train rows."""
    if not names or not len(held_out) or not len(train):
        return 0, 0, 0
    few, many = _spaced(held_out, HELD_OUT_ROWS), _spaced(train, CELLS // len(names))
    total, other = (_sum(table, names, rows) for rows in (few, many))
    found = hashing.among(total, other)
    if len(names) >= _FEWEST_TO_LEAVE_ONE_OUT:
        for name in names:
            left = np.flatnonzero(~found)
            if len(left):
                ours, theirs = (_rounded(table, name, rows) for rows in (few[left], many))
                found[left] = hashing.among(total[left] - ours, other - theirs)
    return len(few), int(found.sum()), len(many)


def _spaced(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of the rows, evenly taken."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, max(1, most)).astype(np.intp)]


def _sum(table: Table, names: Sequence[str], rows: npt.NDArray[np.intp]) -> Numbers:
    total = np.zeros(len(rows), dtype=np.uint64)
    for name in names:
        total += _rounded(table, name, rows)
    return total


def _rounded(table: Table, name: str, rows: npt.NDArray[np.intp]) -> Numbers:
    """What each value adds to its row's number, numbers being rounded."""
    column = table[name].take(pa.array(rows))
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        column = _significant(column)
    return hashing.cells(column, name, exact=True)


def _significant(column: Any) -> Any:
    numbers = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.where(numbers == 0, 0, np.floor(np.log10(np.abs(numbers))))
        scale = 10.0 ** (_DIGITS - 1 - size)
        rounded = np.round(numbers * scale) / scale
    return pa.chunked_array([pa.array(np.where(np.isfinite(rounded), rounded, numbers))])
