"""Histograms in the bins that the model server counts in: `millrace.contract.profile`."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.profile import CATEGORICAL, MAX_BINS, NUMERIC

_CUTS = MAX_BINS - 2
"""Edges of a numeric histogram, or labels of a categorical one: two bins are special in both."""


def numeric(values: npt.NDArray[Any]) -> dict[str, Any]:
    """`kind`, `edges`, `counts` of at most 15 equally full bins and one for missing values.

    Edges are values that occur, as 32-bit floats, so that the server's comparison of what it receives is exact.
    """
    numbers = np.asarray(values, dtype=np.float32).astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    edges: tuple[float, ...] = ()
    if len(finite):
        distinct = np.unique(finite)
        shares = np.arange(1, _CUTS + 1) / (_CUTS + 1)
        cuts = distinct[1:] if len(distinct) <= _CUTS + 1 else np.quantile(finite, shares, method="inverted_cdf")
        edges = tuple(float(edge) for edge in np.unique(cuts) if edge > distinct[0])
    bins = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
    counts = np.bincount(bins.astype(np.int64), minlength=len(edges) + 2)
    return {"kind": NUMERIC, "edges": edges, "counts": tuple(int(count) for count in counts)}


def categorical(values: Iterable[Any]) -> dict[str, Any]:
    """`kind`, `labels`, `counts` of at most 14 most frequent labels, then other, then missing (None or empty)."""
    tally = collections.Counter("" if value is None else str(value) for value in values)
    missing = tally.pop("", 0)
    frequent = sorted(tally, key=lambda label: (-tally[label], label))[:_CUTS]
    labels = tuple(sorted(frequent))
    counts = [tally[label] for label in labels]
    return {"kind": CATEGORICAL, "labels": labels, "counts": (*counts, sum(tally.values()) - sum(counts), missing)}
