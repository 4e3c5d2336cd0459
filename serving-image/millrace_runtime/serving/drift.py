"""Counting served rows in the bins of the reference profile: buffered, then in bulk, about a microsecond per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from millrace.contract.profile import NUMERIC, FeatureHistogram, Histogram, OutputHistogram, Profile
from millrace.contract.reasons import Reason
from millrace_runtime.serving.failure import ServerFailed
from millrace_runtime.serving.tensors import Array, TensorSpec

FLUSH_ROWS = 256


class _Column:
    """One histogram and its live counts."""

    def __init__(self, reference: Histogram, tensor: str) -> None:
        self.reference = reference
        self.tensor = tensor
        self.counts = np.zeros(reference.bins, dtype=np.int64)
        self._edges = np.asarray(reference.edges, dtype=np.float64)
        self._labels = {label: index for index, label in enumerate(reference.labels)} | {"": reference.missing}

    def count(self, rows: Array) -> None:
        """Add rows of the tensor, shape [n, ...]; only this histogram's column is read."""
        values = rows.reshape(len(rows), -1)[:, self.reference.index]
        if self.reference.kind == NUMERIC:
            with np.errstate(invalid="ignore"):  # a NaN that came as bytes may be a signalling one
                numbers = values.astype(np.float64)
            bins = np.searchsorted(self._edges, numbers, side="right")
            bins[np.isnan(numbers)] = self.reference.missing
        else:
            other, labels = len(self.reference.labels), self._labels
            bins = np.array([labels.get(str(value), other) for value in values.tolist()], dtype=np.intp)
        self.counts += np.bincount(bins, minlength=self.reference.bins)


class DriftCounters:
    """Live counts beside the reference's, for every feature and output of the profile."""

    def __init__(self, profile: Profile, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Raises ServerFailed(ModelNotLoadable) when the profile speaks of a tensor or column the model has not got."""
        self.features = [_column(feature, feature.input, inputs) for feature in profile.features]
        self.outputs = [_column(output, output.tensor, outputs) for output in profile.outputs]
        self._tensors = {column.tensor for column in (*self.features, *self.outputs)}
        self._buffer: dict[str, list[Array]] = {name: [] for name in self._tensors}
        self._buffered = 0

    def add(self, feeds: Mapping[str, Array], results: Mapping[str, Array], rows: int) -> None:
        """Remember one answered request; counted with the next flush."""
        for name in self._tensors:
            array = feeds.get(name) if name in feeds else results[name]
            if array is not None and array.ndim and len(array) == rows:
                self._buffer[name].append(array)
        self._buffered += rows
        if self._buffered >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Count what is buffered."""
        if not self._buffered:
            return
        # The buffer is empty before anything is counted: rows that cannot be counted must not be met again.
        buffered, self._buffer = self._buffer, {name: [] for name in self._tensors}
        self._buffered = 0
        joined = {name: np.concatenate(parts) for name, parts in buffered.items() if parts}
        for column in (*self.features, *self.outputs):
            if column.tensor in joined:
                column.count(joined[column.tensor])

    def live(self) -> Iterator[tuple[str, str, Sequence[int]]]:
        """(`feature` or `output`, its name, served rows per bin), flushed first."""
        self.flush()
        for role, columns in (("feature", self.features), ("output", self.outputs)):
            for column in columns:
                yield role, column.reference.name, column.counts.tolist()

    def reference(self) -> Iterator[tuple[str, str, Sequence[int]]]:
        """The same for the training rows."""
        for role, columns in (("feature", self.features), ("output", self.outputs)):
            for column in columns:
                yield role, column.reference.name, column.reference.counts


def _column(reference: FeatureHistogram | OutputHistogram, tensor: str, specs: Sequence[TensorSpec]) -> _Column:
    spec = next((spec for spec in specs if spec.name == tensor), None)
    if spec is None:
        raise ServerFailed(
            Reason.MODEL_NOT_LOADABLE,
            f"the profile counts {reference.name} in tensor {tensor}, which the model has not got",
        )
    width = int(np.prod(spec.shape[1:])) if len(spec.shape) > 1 else 1
    if spec.shape[1:] and -1 not in spec.shape[1:] and reference.index >= width:
        raise ServerFailed(
            Reason.MODEL_NOT_LOADABLE,
            f"the profile counts {reference.name} in column {reference.index} of {tensor}, which has {width}",
        )
    if reference.kind == NUMERIC and spec.datatype == "BYTES":
        raise ServerFailed(
            Reason.MODEL_NOT_LOADABLE, f"the profile counts {reference.name} as a number, {tensor} is BYTES"
        )
    return _Column(reference, tensor)
