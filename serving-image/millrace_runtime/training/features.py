"""A frozen table as the two input tensors of a model, and its labels.

`numeric` FP32 or FP64 (`precision`) [n, k]: Int64, Float, Bool (0 or 1) and Timestamp (days since 1970-01-01) features
in schema order, NaN where missing. `categorical` text [n, m]: String and Category features in schema order, "" where
missing. A tensor without columns is left out.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.dataset import Field, FieldType, Role
from millrace.contract.profile import CATEGORICAL, MAX_FEATURES, NUMERIC
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.freeze import as_floats

Table = Any
Tensors = dict[str, npt.NDArray[Any]]
_TEXT = (FieldType.STRING, FieldType.CATEGORY)
_READ_BUFFER = 1024 * 1024


@dataclass(frozen=True)
class Layout:
    """Which columns a model reads, in which order, and which one it predicts.

    `types` are those of the features: nothing else is ever fed. `roles` say what all columns of the version are for.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    label: Field
    types: Mapping[str, FieldType]
    roles: Mapping[str, Role] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[tuple[str, str, int], ...]:
        """(name, tensor, index) of every feature."""
        return tuple(
            (name, tensor, index)
            for tensor, names in ((NUMERIC, self.numeric), (CATEGORICAL, self.categorical))
            for index, name in enumerate(names)
        )


def layout(fields: Sequence[Field], *, classification: bool) -> Layout:
    """Raises StageError: LabelMissing, LabelNotSuitable, FeatureMissing, TooManyFeatures."""
    labels = [each for each in fields if each.role is Role.LABEL]
    used = [each for each in fields if each.role is Role.FEATURE]
    if not labels:
        text = "The Dataset has no field with role Label. Give the column to predict role: Label in spec.schema.fields."
        raise StageError(Reason.LABEL_MISSING, text)
    suitable = _CLASSES if classification else _NUMBERS
    if labels[0].type not in suitable:
        task = "Classification" if classification else "Regression"
        text = f'Label "{labels[0].name}" is {labels[0].type}, but {task} needs {", ".join(suitable)}. Change the task.'
        raise StageError(Reason.LABEL_NOT_SUITABLE, text)
    if not used:
        raise StageError(Reason.FEATURE_MISSING, "The Dataset has no field with role Feature. Declare at least one.")
    if len(used) > MAX_FEATURES:
        text = f"The Dataset has {len(used)} features, a model is served and watched with at most {MAX_FEATURES}"
        raise StageError(Reason.TOO_MANY_FEATURES, f"{text}. Give the rest role Ignore.")
    return Layout(
        numeric=tuple(each.name for each in used if each.type not in _TEXT),
        categorical=tuple(each.name for each in used if each.type in _TEXT),
        label=labels[0],
        types={each.name: each.type for each in used},
        roles={each.name: each.role for each in fields},
    )


def check(model: Layout) -> None:
    """Raises StageError(NotAFeature) for a column that is none of the Dataset's features, of another type, or twice."""
    if not model.columns:
        raise StageError(Reason.NOT_A_FEATURE, "The model says that it reads no column. Train it on features.")
    seen: set[str] = set()
    for name, tensor, _ in model.columns:
        kind = model.types.get(name)
        if kind is None:
            role = model.roles.get(name)
            is_what = f"whose role is {role}" if role is not None else "which the dataset does not have"
            text = f'The model reads column "{name[:80]}", {is_what}: only columns of role Feature are ever fed'
            raise StageError(Reason.NOT_A_FEATURE, f"{text}. Train it on features alone.")
        if (kind in _TEXT) != (tensor == CATEGORICAL):
            text = f'The model reads column "{name[:80]}" in its input {tensor}, but the column is {kind}'
            raise StageError(Reason.NOT_A_FEATURE, f"{text}. Train it on the Dataset as it is now.")
        if name in seen:
            # Every count of a feature is by its name.
            text = f'The model reads column "{name[:80]}" twice'
            raise StageError(Reason.NOT_A_FEATURE, f"{text}. Train it on each feature once.")
        seen.add(name)


_CLASSES = (FieldType.BOOL, FieldType.INT64, FieldType.STRING, FieldType.CATEGORY)
_NUMBERS = (FieldType.FLOAT64, FieldType.FLOAT32, FieldType.INT64)


def read(path: pathlib.Path, used: Layout) -> Table:
    """Return the features and the label of a frozen Parquet file, as a pyarrow.Table."""
    names = [*used.types, used.label.name]
    # Without buffers of whole columns: beside the table, the pages that are being unpacked are held.
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BUFFER) as file:
        return file.read(columns=names).select(names)


def labelled(table: Table, used: Layout) -> Table:
    """Return the rows that have a label: the table itself, not a copy, where all have."""
    if not table[used.label.name].null_count:
        return table
    return table.filter(table[used.label.name].is_valid())


def tensors(
    table: Table,
    numeric: Sequence[str],
    categorical: Sequence[str],
    types: Mapping[str, FieldType],
    dtype: npt.DTypeLike = np.float32,
) -> Tensors:
    """Return `numeric`, of `dtype`, and `categorical`, whichever have columns. Beside them one column is held."""
    made: Tensors = {}
    if numeric:
        made[NUMERIC] = np.empty((table.num_rows, len(numeric)), dtype)
        with np.errstate(over="ignore"):  # a value that FP32 has no room for is infinite in a model that reads FP32
            for at, name in enumerate(numeric):
                made[NUMERIC][:, at] = as_floats(table[name], types[name])
    if categorical:
        made[CATEGORICAL] = np.empty((table.num_rows, len(categorical)), object)
        for at, name in enumerate(categorical):
            made[CATEGORICAL][:, at] = _texts(table[name])
    return made


def of(table: Table, model: Layout, dtype: npt.DTypeLike = np.float32) -> Tensors:
    """Return the tensors of a layout."""
    return tensors(table, model.numeric, model.categorical, model.types, dtype)


def targets(table: Table, label: Field, *, classification: bool) -> npt.NDArray[Any]:
    """Return int64 or text classes, or float64 values. Rows without a label must be gone."""
    column = table[label.name]
    if not classification:
        return np.asarray(as_floats(column, label.type))
    if label.type in _TEXT:
        return _texts(column)
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64)


def _texts(column: Any) -> npt.NDArray[Any]:
    """One Python string for each different text, however many rows have it."""
    encoded = column.combine_chunks().fill_null("").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = np.empty(len(encoded.dictionary), dtype=object)
    values[:] = encoded.dictionary.to_pylist()
    return np.asarray(values[np.asarray(encoded.indices)])
