"""A divided table to the files of a version: the same rows give the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.profile import CATEGORICAL, MAX_FEATURES, NUMERIC, FeatureHistogram, OutputHistogram, Profile
from millrace_runtime.snapshot import histograms
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.manifest import Part, of_bytes, schema_digest
from millrace_runtime.snapshot.spec import Field, FieldType, Role
from millrace_runtime.snapshot.split import PARTS, Parts

Table = Any
Order = npt.NDArray[np.intp]
ROW_GROUP_ROWS = 65_536


def files(table: Table, order: Order, parts: Parts) -> dict[str, bytes]:
    """Return the Parquet bytes per part, rows in this order."""
    chosen = {name: order[parts[order] == code] for code, name in enumerate(PARTS)}
    return {name: parquet(table.take(pa.array(rows))) for name, rows in chosen.items()}


def parquet(table: Table) -> bytes:
    """Return zstd Parquet without anything that depends on when or where it was written."""
    buffer = io.BytesIO()
    flat = table.combine_chunks().replace_schema_metadata(None)
    pyarrow.parquet.write_table(flat, buffer, compression="zstd", row_group_size=ROW_GROUP_ROWS, store_schema=False)
    return buffer.getvalue()


def describe(written: dict[str, bytes], parts: Parts) -> dict[str, Part]:
    """Digest, rows and bytes per part."""
    counts = np.bincount(parts, minlength=len(PARTS))
    return {
        name: Part(of_bytes(written[name]), int(counts[code]), len(written[name])) for code, name in enumerate(PARTS)
    }


def content_digest(fields: Sequence[Field], content: Numbers, parts: Parts) -> str:
    """`sha256:<hex>` over the schema and every row's content and part, whatever wrote the files."""
    total = hashlib.sha256(schema_digest(fields).encode())
    order = np.lexsort((parts, content))
    total.update(content[order].astype("<u8").tobytes())
    total.update(parts[order].tobytes())
    return f"sha256:{total.hexdigest()}"


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
        return histograms.categorical(column.to_pylist())
    return histograms.numeric(as_floats(column, kind))


def as_floats(column: Any, kind: FieldType) -> Any:
    """Return a float64 array, NaN where missing; an instant becomes days since 1970-01-01, a Bool 0 or 1."""
    if kind is FieldType.TIMESTAMP:
        days = column.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(days, dtype=np.float64) / 86_400e6
    if kind is FieldType.BOOL:
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
