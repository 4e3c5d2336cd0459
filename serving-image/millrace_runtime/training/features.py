"""A frozen table as the two input tensors of a model, and its labels.

`numeric` FP32 [n, k]: Int64, Float, Bool (0 or 1) and Timestamp (days since 1970-01-01) features in schema order, NaN
where missing. `categorical` text [n, m]: String and Category features in schema order, "" where missing.
A tensor without columns is left out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from millrace.contract.dataset import Field, FieldType, Role
from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.freeze import as_floats

METADATA = "millrace."
"""Prefix of a model's metadata properties: JSON lists `numeric`, `categorical`, `classes`."""

Table = Any
Tensors = dict[str, npt.NDArray[Any]]
_TEXT = (FieldType.STRING, FieldType.CATEGORY)


@dataclass(frozen=True)
class Layout:
    """Which columns a model reads, in which order, and which one it predicts."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    label: Field
    types: dict[str, FieldType]

    @property
    def columns(self) -> tuple[tuple[str, str, int], ...]:
        """(name, tensor, index) of every feature."""
        return tuple(
            (name, tensor, index)
            for tensor, names in ((NUMERIC, self.numeric), (CATEGORICAL, self.categorical))
            for index, name in enumerate(names)
        )


def layout(fields: Sequence[Field], *, classification: bool) -> Layout:
    """Raises StageError(LabelMissing) when there is no label, no feature, or a label that the task cannot predict."""
    labels = [field for field in fields if field.role is Role.LABEL]
    used = [field for field in fields if field.role is Role.FEATURE]
    if not labels:
        text = "The Dataset has no field with role Label. Give the column to predict role: Label in spec.schema.fields."
        raise StageError(Reason.LABEL_MISSING, text)
    suitable = _CLASSES if classification else _NUMBERS
    if labels[0].type not in suitable:
        task = "Classification" if classification else "Regression"
        text = f'Label "{labels[0].name}" is {labels[0].type}, but {task} needs {", ".join(suitable)}. Change the task.'
        raise StageError(Reason.LABEL_MISSING, text)
    if not used:
        raise StageError(Reason.LABEL_MISSING, "The Dataset has no field with role Feature. Declare at least one.")
    return Layout(
        numeric=tuple(field.name for field in used if field.type not in _TEXT),
        categorical=tuple(field.name for field in used if field.type in _TEXT),
        label=labels[0],
        types={field.name: field.type for field in fields},
    )


_CLASSES = (FieldType.BOOL, FieldType.INT64, FieldType.STRING, FieldType.CATEGORY)
_NUMBERS = (FieldType.FLOAT64, FieldType.FLOAT32, FieldType.INT64)


def read(data: bytes) -> Table:
    """Return the pyarrow.Table of a Parquet file's bytes."""
    return pyarrow.parquet.read_table(io.BytesIO(data))


def labelled(table: Table, label: str) -> Table:
    """Return the rows that have a label."""
    return table.filter(table[label].is_valid())


def tensors(table: Table, numeric: Sequence[str], categorical: Sequence[str], types: dict[str, FieldType]) -> Tensors:
    """Return `numeric` and `categorical`, whichever have columns."""
    made: Tensors = {}
    if numeric:
        made[NUMERIC] = np.stack([as_floats(table[name], types[name]).astype(np.float32) for name in numeric], axis=1)
    if categorical:
        made[CATEGORICAL] = np.stack([_texts(table[name]) for name in categorical], axis=1)
    return made


def of(table: Table, model: Layout) -> Tensors:
    """Return the tensors of a layout."""
    return tensors(table, model.numeric, model.categorical, model.types)


def targets(table: Table, label: Field, *, classification: bool) -> npt.NDArray[Any]:
    """Return int64 or text classes, or float64 values. Rows without a label must be gone."""
    column = table[label.name]
    if not classification:
        return np.asarray(as_floats(column, label.type))
    if label.type in _TEXT:
        return _texts(column)
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64)


def _texts(column: Any) -> npt.NDArray[Any]:
    return np.asarray(["" if value is None else value for value in column.to_pylist()], dtype=object)
