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

from millrace.contract.dataset import Field, FieldType, Role
from millrace.contract.quality import LeakageSuspect
from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.freeze import as_floats
from millrace_runtime.snapshot.hashing import Numbers

Table = Any
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
SUSPICIOUS = 0.99
ROWS, CELLS = 100_000, 40_000_000
"""So many rows, and fewer where rows, features and classes make more than so many cells, evenly taken."""
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
    features = [field for field in fields if field.role is Role.FEATURE]
    if label is None or not features:
        return ()
    told = np.flatnonzero(np.asarray(table[label.name].is_valid()))
    truth = _truth(table[label.name].take(pa.array(told)), label.type)
    if truth is None:
        return ()
    measure, targets = truth
    most = min(ROWS, max(FEWEST_ROWS, CELLS // (len(features) * targets.shape[1])))
    chosen = np.linspace(0, len(told) - 1, most).astype(np.intp) if len(told) > most else np.arange(len(told))
    rows, targets = told[chosen], targets[chosen]
    half = (hashing.mixed(same[rows] + hashing.named("half")) & np.uint64(1)).astype(np.intp)
    found = []
    for field in features:
        column = table[field.name].take(pa.array(rows))
        found.append((_value(column, field.type, measure, targets, half), field.name))
    guilty = sorted((-value, name) for value, name in found if value >= SUSPICIOUS)
    return tuple(LeakageSuspect(name, measure, f"{-value:.4f}") for value, name in guilty)


def _truth(column: Any, kind: FieldType) -> tuple[str, Floats] | None:
    """What to predict, a column a class (one for two of them) or a number; None where there is too little to judge."""
    codes = hashing.values(column, exact=True)
    values, counts = np.unique(codes, return_counts=True)
    if len(codes) < FEWEST_ROWS or len(values) < 2:
        return None
    if kind in _NUMBERS or (kind is FieldType.INT64 and len(values) > MOST_CLASSES):
        return "R2", as_floats(column, kind).reshape(-1, 1)
    often = np.argsort(-counts, kind="stable")
    told = [values[at] for at in often if counts[at] >= FEWEST_OF_A_CLASS][:MOST_CLASSES]
    if len(values) == 2 and len(told) == 2:
        told = told[1:]  # one against the other says it all
    elif len(values) == 2 or not told:
        return None
    return "AUC", np.stack([codes == one for one in told], axis=1).astype(np.float64)


def _value(column: Any, kind: FieldType, measure: str, targets: Floats, half: Codes) -> float:
    if kind in _TEXT:
        bins = np.unique(hashing.values(column, exact=True), return_inverse=True)[1]
        return _binned(bins, targets, half, measure)
    numbers = as_floats(column, kind)
    best = _binned(_bins(numbers), targets, half, measure)
    if measure == "AUC":
        # A missing number may be what tells; it is put below all others.
        filled = np.where(np.isnan(numbers), np.nanmin(numbers, initial=0.0) - 1.0, numbers)
        return max(best, float(np.mean(_areas(_ranks(filled), targets))))
    whole = np.isfinite(numbers)
    if whole.mean() < 0.5:
        return best
    truth = targets[whole, 0]
    ranked = _squared_correlation(_ranks(numbers[whole]), _ranks(truth))
    return max(best, ranked, _squared_correlation(numbers[whole], truth))


def _bins(numbers: Floats) -> Codes:
    finite = numbers[np.isfinite(numbers)]
    edges = np.unique(finite)
    if len(edges) > _BINS:
        cuts = np.quantile(finite, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
        # A value that fills a bin by itself is not mixed with the next ones.
        often = np.unique(cuts[1:][cuts[1:] == cuts[:-1]])
        edges = np.unique(np.concatenate([cuts, np.nextafter(often, np.inf)]))
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))


def _binned(bins: Codes, targets: Floats, half: Codes, measure: str) -> float:
    """What the mean of one half's bins says of the other half, both ways: the mean over the targets."""
    count = int(bins.max()) + 1
    cells = half * count + bins
    rows = np.bincount(cells, minlength=2 * count).astype(np.float64)
    found = []
    for truth in targets.T:
        total = np.bincount(cells, weights=truth, minlength=2 * count).astype(np.float64)
        halves = rows.reshape(2, count), total.reshape(2, count)
        overall = halves[1].sum(axis=1, keepdims=True) / np.maximum(halves[0].sum(axis=1, keepdims=True), 1)
        means = np.where(halves[0] > 0, halves[1] / np.maximum(halves[0], 1), overall)
        said = means[::-1].ravel()  # each half is told by the other
        if measure == "AUC":
            found.append(_area(said, total, rows - total))
        else:
            found.append(1.0 - float(((truth - said[cells]) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()))
    return float(np.mean(found))


def _area(score: Floats, positive: Floats, negative: Floats) -> float:
    """The area under the ROC curve of bins with so many rows of either kind, equal scores counting half."""
    _, at = np.unique(score, return_inverse=True)
    ours, theirs = np.bincount(at, weights=positive), np.bincount(at, weights=negative)
    pairs = ours.sum() * theirs.sum()
    return float((ours * (np.cumsum(theirs) - theirs / 2)).sum() / pairs) if pairs else 0.5


def _areas(ranks: Floats, targets: Floats) -> Floats:
    """The area under the ROC curve of each class, by ranks (Mann and Whitney, 1947), in whichever order is better."""
    ours = targets.sum(axis=0)
    pairs = ours * (len(ranks) - ours)
    area = (ranks @ targets - ours * (ours + 1) / 2) / np.maximum(pairs, 1)
    return np.where(pairs > 0, np.maximum(area, 1 - area), 0.5)


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing their mean rank."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[at], dtype=np.float64)


def _squared_correlation(one: Floats, other: Floats) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    found = float(np.corrcoef(one, other)[0, 1])
    return found * found if np.isfinite(found) else 0.0
