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
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.identity import RowKeys
from millrace_runtime.snapshot.spec import Field, Role
from millrace_runtime.snapshot.split import TRAIN, Parts

Table = Any
HELD_OUT_ROWS = 20_000
CELLS = 100_000_000
"""Near copies are searched for in so many values of train rows; wide tables are compared with fewer rows."""
_FEWEST_TO_LEAVE_ONE_OUT = 4
_DIGITS = 3


def inspect(table: Table, fields: Sequence[Field], row_keys: RowKeys, parts: Parts, moved: int) -> Quality:
    """Return what is striking about the rows; exact but for near copies, which are sought in a sample of many rows."""
    features = [field for field in fields if field.role is Role.FEATURE]
    labels = [field.name for field in fields if field.role is Role.LABEL]
    names = [field.name for field in features]
    same = hashing.rows(table, names, exact=True)
    label = hashing.rows(table, labels, exact=True)
    held_out, train = np.flatnonzero(parts != TRAIN), np.flatnonzero(parts == TRAIN)
    copied = np.isin(same[held_out], same[train])
    distinct = held_out[~copied]
    sampled, near, compared = _near(table, names, distinct, train)
    return Quality(
        duplicate_rows=table.num_rows - len(np.unique(hashing.mixed(same) + label)),
        conflicting_rows=_conflicts(same, label) if labels else 0,
        shared_rows=_shared(row_keys.kinds[0]) if any(field.role is Role.ID for field in fields) else 0,
        copied_rows=int(copied.sum()),
        near_copied_rows=round(near * len(distinct) / max(1, sampled)),
        moved_rows=moved,
        compared_held_out=sampled,
        compared_train=compared,
        leakage_suspects=leakage.suspects(table, fields, same),
    )


def _conflicts(same: Numbers, label: Numbers) -> int:
    """Rows of which another one has the same features and another label; rows without a label contradict nobody."""
    told = np.flatnonzero(label != hashing.MISSING)
    _, groups = np.unique(same[told], return_inverse=True)
    pairs = np.unique(hashing.mixed(same[told]) + label[told], return_index=True)[1]
    labels_of = np.bincount(groups[pairs], minlength=int(groups.max()) + 1) if len(told) else np.empty(0, int)
    return int((labels_of[groups] > 1).sum()) if len(told) else 0


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
    found = np.isin(total, other)
    if len(names) >= _FEWEST_TO_LEAVE_ONE_OUT:
        for name in names:
            left = np.flatnonzero(~found)
            if len(left):
                ours, theirs = (_rounded(table, name, rows) for rows in (few[left], many))
                found[left] = np.isin(total[left] - ours, other - theirs)
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
