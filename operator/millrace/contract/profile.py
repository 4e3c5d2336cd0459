"""The reference profile: per feature and output a histogram of the training rows, with the bins the server counts in.

Numeric: `len(edges) + 1` bins, the bin of x is the number of edges at or below it (`numpy.searchsorted(edges, x,
side="right")`), then one for missing (NaN). The first edge is the smallest value trained on, the last one just above
the largest, so the outer bins count what was never seen. Categorical: one bin per label, then other, then missing
(the empty text).
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Self

from millrace.contract.record import MalformedRecord, Record

MAX_BINS = 16
MIN_BINS = 6
MAX_FEATURES = 2_000
"""What a model is served and watched with; a Dataset with more is refused before it is trained on."""
ALL_BINS = 12_000
"""Bins of all features together: of many features each has fewer, for every pod has two series a bin."""
NUMERIC = "numeric"
CATEGORICAL = "categorical"


def bins_for(features: int) -> int:
    """How many bins each of so many features may have, the special ones included."""
    return max(MIN_BINS, min(MAX_BINS, ALL_BINS // max(features, 1)))


@dataclass(frozen=True, kw_only=True)
class Histogram(Record):
    """Counts of the training rows per bin; `index` is the column within its tensor."""

    name: str
    index: int = 0
    kind: str
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...]

    @property
    def bins(self) -> int:
        """Number of bins, the special ones included."""
        return len(self.edges) + 2 if self.kind == NUMERIC else len(self.labels) + 2

    @property
    def missing(self) -> int:
        """Index of the bin for missing values: the last."""
        return self.bins - 1

    def bin_of(self, value: float | str) -> int:
        """The bin a value is counted in. Labels compare as text, so the integer 1 is counted as `1`."""
        if self.kind == NUMERIC:
            number = float(value)
            return self.missing if math.isnan(number) else bisect.bisect_right(self.edges, number)
        text = str(value)
        if text == "":
            return self.missing
        return self.labels.index(text) if text in self.labels else len(self.labels)

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Self:
        """Raises MalformedRecord when kind, edges or counts do not agree."""
        self = super().from_dict(data, path)
        if self.kind not in (NUMERIC, CATEGORICAL):
            raise MalformedRecord(f"{path}.kind: expected numeric or categorical, got {self.kind!r}")
        if len(self.counts) != self.bins:
            raise MalformedRecord(f"{path}.counts: expected {self.bins} counts, got {len(self.counts)}")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise MalformedRecord(f"{path}.edges: expected increasing numbers")
        if self.bins > MAX_BINS or self.index < 0:
            raise MalformedRecord(f"{path}: expected at most {MAX_BINS} bins and an index of 0 or more")
        return self


@dataclass(frozen=True, kw_only=True)
class FeatureHistogram(Histogram):
    """One feature: column `index` of the input tensor `input`."""

    input: str


@dataclass(frozen=True, kw_only=True)
class OutputHistogram(Histogram):
    """One watched output: column `index` of the output tensor `output` (when empty, the tensor is called `name`)."""

    output: str = ""

    @property
    def tensor(self) -> str:
        """Name of the output tensor."""
        return self.output or self.name


@dataclass(frozen=True)
class Profile(Record):
    """The reference profile of a model."""

    rows: int
    features: tuple[FeatureHistogram, ...] = ()
    outputs: tuple[OutputHistogram, ...] = ()

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Self:
        """Raises MalformedRecord, also when there are more than 2,000 features."""
        self = super().from_dict(data, path)
        if len(self.features) > MAX_FEATURES:
            raise MalformedRecord(f"features: expected at most {MAX_FEATURES}, got {len(self.features)}")
        return self
