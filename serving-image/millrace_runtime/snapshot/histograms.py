"""Histograms in the bins that the model server counts in: `millrace.contract.profile`."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.profile import CATEGORICAL, MAX_BINS, NUMERIC

_SPECIAL = 2
"""Bins that are neither between edges nor a label's: of a number, below its edges and missing; of a text, other and
missing."""


def numeric(values: npt.NDArray[Any], most: int = MAX_BINS) -> dict[str, Any]:
    """`kind`, `edges`, `counts` of at most `most` bins.

    The first bin is for what is below the smallest value here, the last but one for what is above the largest,
    the last for missing values: what was never seen is counted apart from what was. Up to 7 different values
    (of 16 bins) have a bin each, with bins for what lies between them; up to 13 a bin each, with bins for what lies
    behind the most frequent as far as there are any left; more are divided into bins as full as each other, and a
    value that fills one by itself has it to itself.

    Edges are values that occur and their next larger neighbours, in the precision of `values` (float32, else
    float64), so that the server's comparison of what it receives is exact.
    """
    given = np.asarray(values)
    dtype = np.dtype(np.float32) if given.dtype == np.float32 else np.dtype(np.float64)
    numbers = given.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    edges = _edges(finite, most - _SPECIAL, dtype) if len(finite) else np.empty(0)
    bins = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
    counts = np.bincount(bins.astype(np.int64), minlength=len(edges) + _SPECIAL)
    return {
        "kind": NUMERIC,
        "edges": tuple(float(edge) for edge in edges),
        "counts": tuple(int(count) for count in counts),
    }


def categorical(values: Iterable[Any], most: int = MAX_BINS) -> dict[str, Any]:
    """`kind`, `labels`, `counts` of the most frequent labels, then other, then missing (None or empty): `most` bins."""
    tally = collections.Counter("" if value is None else str(value) for value in values)
    missing = tally.pop("", 0)
    frequent = sorted(tally, key=lambda label: (-tally[label], label))[: most - _SPECIAL]
    labels = tuple(sorted(frequent))
    counts = [tally[label] for label in labels]
    return {"kind": CATEGORICAL, "labels": labels, "counts": (*counts, sum(tally.values()) - sum(counts), missing)}


def _edges(finite: npt.NDArray[np.float64], most: int, dtype: np.dtype[Any]) -> npt.NDArray[np.float64]:
    distinct, times = np.unique(finite, return_counts=True)
    if len(distinct) < most:
        left = most - 1 - len(distinct)
        frequent = distinct[np.argsort(-times, kind="stable")][:left]
        inner = np.concatenate([distinct, _after(frequent, dtype), _after(distinct[-1:], dtype)])
    else:
        shares = np.arange(1, most - 1) / (most - 1)
        cuts = np.quantile(finite, shares, method="inverted_cdf")
        starts, times = np.unique(np.concatenate([distinct[:1], cuts]), return_counts=True)
        inner = np.concatenate([starts, _after(starts[times > 1], dtype), _after(distinct[-1:], dtype)])
    return np.unique(inner[np.isfinite(inner)])


def _after(values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[np.float64]:
    """The next larger number of that type: what is at or above it is none of these values."""
    with np.errstate(over="ignore"):
        return np.asarray(np.nextafter(values.astype(dtype), np.asarray(np.inf, dtype)), dtype=np.float64)
