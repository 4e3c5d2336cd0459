"""What a version says of its rows: a digest of all of them, and a profile."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import Field, FieldType, Role
from millrace.contract.profile import (
    CATEGORICAL,
    MAX_BINS,
    MAX_FEATURES,
    NUMERIC,
    FeatureHistogram,
    OutputHistogram,
    Profile,
)
from millrace_runtime.snapshot import histograms
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.manifest import schema_digest
from millrace_runtime.snapshot.split import Parts
from millrace_runtime.snapshot.texts import ARROW

__all__ = ["ARROW", "Content", "as_floats", "profile"]

Table = Any
PROFILE_ROWS = 100_000
PROFILE_BYTES = 64 * 1024 * 1024
"""The profile is of the first rows in key order, up to so many rows and bytes: keys are hashes, so it is a sample."""


class Content:
    """`sha256:<hex>` over the schema and every row's content and part in key order, whatever wrote the files."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._total = hashlib.sha256(schema_digest(fields).encode())

    def add(self, keys: Numbers, parts: Parts) -> None:
        """Take in the next rows: numbers of their contents, which are the keys of the order, and their parts."""
        rows = np.empty(len(keys), [("key", "<u8"), ("part", "i1")])
        rows["key"], rows["part"] = keys, parts
        self._total.update(rows.tobytes())

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return f"sha256:{self._total.hexdigest()}"


def profile(table: Table, fields: Sequence[Field]) -> Profile:
    """Histograms of all rows: the features as the model's inputs will hold them, the label as an output."""
    features: list[FeatureHistogram] = []
    used = {NUMERIC: 0, CATEGORICAL: 0}
    for field in fields:
        if field.role is Role.FEATURE and len(features) < MAX_FEATURES:
            shape = _histogram(table[field.name], field.type)
            index = used[shape["kind"]]
            used[shape["kind"]] += 1
            features.append(FeatureHistogram(name=field.name, input=shape["kind"], index=index, **shape))
    labels = [field for field in fields if field.role is Role.LABEL]
    outputs = tuple(OutputHistogram(name=f.name, **_histogram(table[f.name], f.type)) for f in labels)
    return Profile(rows=table.num_rows, features=tuple(features), outputs=outputs)


def _histogram(column: Any, kind: FieldType) -> dict[str, Any]:
    if kind in (FieldType.STRING, FieldType.CATEGORY):
        return _categorical(column)
    return histograms.numeric(as_floats(column, kind))


def _categorical(column: Any) -> dict[str, Any]:
    """As `histograms.categorical`, counted by Arrow: a column of codes has as many values as rows."""
    counted = pc.value_counts(pc.fill_null(column, ""))
    tally = pa.table([counted.field("values"), counted.field("counts")], ["label", "rows"])
    named = tally.filter(pc.not_equal(tally["label"], ""))
    keys = [("rows", "descending"), ("label", "ascending")]
    frequent = named.take(pc.select_k_unstable(named, MAX_BINS - 2, keys)).sort_by("label")
    labels, counts = tuple(frequent["label"].to_pylist()), tuple(frequent["rows"].to_pylist())
    total = pc.sum(named["rows"]).as_py() or 0
    missing = len(column) - total
    return {"kind": CATEGORICAL, "labels": labels, "counts": (*counts, total - sum(counts), missing)}


def as_floats(column: Any, kind: FieldType) -> Any:
    """Return a float64 array, NaN where missing; an instant becomes days since 1970-01-01, a Bool 0 or 1."""
    if kind is FieldType.TIMESTAMP:
        days = column.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(days, dtype=np.float64) / 86_400e6
    if kind is FieldType.BOOL:
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
