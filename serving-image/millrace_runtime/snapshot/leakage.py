"""Features that alone predict the label: the answer has slipped into the question.

Each feature is cut into bins: as many equally full ones as 32 for numbers and instants, one a value for texts. What the
label is on average in a bin is learnt from one half of the rows and judged on the other, so that chance and columns of
distinct values predict nothing. Classes: the area under the ROC curve, the mean over the classes, each against the
rest. Numbers: R2, or the squared correlation of values or of ranks where that is higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.contract.quality import LeakageSuspect
from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.freeze import as_floats
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.spec import Field, FieldType, Role

Table = Any
Floats = npt.NDArray[np.float64]
SUSPICIOUS = 0.99
ROWS = 100_000
"""Taken evenly from larger tables."""
FEWEST_ROWS = 40
FEWEST_OF_A_CLASS = 10
"""Below these, chance alone can look like this."""
MOST_CLASSES = 20
"""An Int64 label with more values is a number."""
_BINS = 32
_TEXT = (FieldType.STRING, FieldType.CATEGORY)
_NUMBERS = (FieldType.FLOAT32, FieldType.FLOAT64, FieldType.TIMESTAMP)


def suspects(table: Table, fields: Sequence[Field], same: Numbers) -> tuple[LeakageSuspect, ...]:
    """Return the features whose AUC or R2 is 0.99 or more, the worst first. `same` is a number per row's features."""
    label = next((field for field in fields if field.role is Role.LABEL), None)
    if label is None:
        return ()
    rows = np.flatnonzero(np.asarray(table[label.name].is_valid()))
    rows = rows if len(rows) <= ROWS else rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.intp)]
    if len(rows) < FEWEST_ROWS:
        return ()
    half = (hashing.mixed(same[rows] + hashing.named("half")) & np.uint64(1)).astype(bool)
    taken = table.take(pa.array(rows))
    truth = _truth(taken[label.name], label.type)
    if truth is None:
        return ()
    measure, targets = truth
    features = [field for field in fields if field.role is Role.FEATURE]
    found = [(_value(taken[field.name], field.type, measure, targets, half), field.name) for field in features]
    guilty = sorted((-value, name) for value, name in found if value >= SUSPICIOUS)
    return tuple(LeakageSuspect(name, measure, f"{-value:.4f}") for value, name in guilty)


def _truth(column: Any, kind: FieldType) -> tuple[str, Floats] | None:
    """What to predict, a column a class (one for two of them) or a number; None where there is too little to judge."""
    codes = hashing.values(column, exact=True)
    values, counts = np.unique(codes, return_counts=True)
    if kind in _NUMBERS or (kind is FieldType.INT64 and len(values) > MOST_CLASSES):
        numbers = as_floats(column, kind)
        return ("R2", numbers.reshape(-1, 1)) if numbers.std() > 0 else None
    often = np.argsort(-counts, kind="stable")
    told = [values[at] for at in often if counts[at] >= FEWEST_OF_A_CLASS][:MOST_CLASSES]
    if len(values) == 2 and len(told) == 2:
        told = told[1:]  # one against the other says it all
    elif len(values) <= 2 or not told:
        return None
    return "AUC", np.stack([codes == one for one in told], axis=1).astype(np.float64)


def _value(column: Any, kind: FieldType, measure: str, targets: Floats, half: npt.NDArray[np.bool_]) -> float:
    numbers = None if kind in _TEXT else as_floats(column, kind)
    bins = _bins(numbers) if numbers is not None else _labels(column)
    found = [_binned(bins, targets[:, at], half, measure) for at in range(targets.shape[1])]
    best = float(np.mean(found))
    if numbers is None:
        return best
    # A missing number may be what tells; it is put below all others.
    filled = np.where(np.isnan(numbers), np.nanmin(numbers, initial=0.0) - 1.0, numbers)
    if measure == "AUC":
        ordered = [_auc(filled, targets[:, at] > 0) for at in range(targets.shape[1])]
        return max(best, float(np.mean([max(area, 1 - area) for area in ordered])))
    whole = np.isfinite(numbers)
    if whole.mean() < 0.5:
        return best
    truth = targets[whole, 0]
    ranked = _squared_correlation(_ranks(numbers[whole]), _ranks(truth))
    return max(best, ranked, _squared_correlation(numbers[whole], truth))


def _labels(column: Any) -> npt.NDArray[np.intp]:
    return np.unique(hashing.values(column, exact=True), return_inverse=True)[1]


def _bins(numbers: Floats) -> npt.NDArray[np.intp]:
    finite = numbers[np.isfinite(numbers)]
    distinct = np.unique(finite)
    edges = distinct if len(distinct) <= _BINS else np.unique(np.quantile(finite, np.arange(1, _BINS) / _BINS))
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))


def _binned(bins: npt.NDArray[np.intp], truth: Floats, half: npt.NDArray[np.bool_], measure: str) -> float:
    """What the mean of one half's bins says of the other half, both ways."""
    said = np.empty(len(truth))
    for learn, judge in ((half, ~half), (~half, half)):
        count = np.bincount(bins[learn], minlength=int(bins.max()) + 1)
        total = np.bincount(bins[learn], weights=truth[learn], minlength=len(count))
        overall = truth[learn].mean() if learn.any() else truth.mean()
        said[judge] = np.where(count > 0, total / np.maximum(count, 1), overall)[bins[judge]]
    if measure == "AUC":
        return _auc(said, truth > 0)
    return 1.0 - float(((truth - said) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _auc(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The area under the ROC curve, by ranks (Mann and Whitney, 1947), ties counting half."""
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return 0.5
    return float((_ranks(score)[positive].sum() - count * (count + 1) / 2) / (count * others))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing their mean rank."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[at], dtype=np.float64)


def _squared_correlation(one: Floats, other: Floats) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0
    return found * found if np.isfinite(found) else 0.0
