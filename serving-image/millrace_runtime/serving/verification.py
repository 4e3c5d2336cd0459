"""Before any traffic: does the loaded model answer as the one that was evaluated?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from millrace.contract.golden import GoldenSet
from millrace.contract.reasons import Reason
from millrace_runtime.serving import rest, tensors
from millrace_runtime.serving.failure import RequestFailed, ServerFailed
from millrace_runtime.serving.session import ModelFailed, Session
from millrace_runtime.serving.tensors import Array

_WARM_UP_RUNS = 3


class Verified(NamedTuple):
    """What the golden set has shown."""

    rows: int
    joins: bool
    """Whether a row's answer is the same whatever other rows are in the run, so that requests may share one."""


def reproduce(session: Session, golden: GoldenSet) -> Verified:
    """Run the golden request, compare every output.

    Raises ServerFailed(GoldenSetMismatch) naming the first tensor and element that differ. One row is also run alone,
    so that the first caller does not pay for the runtime's own preparations.
    """
    try:
        feeds, rows = rest.decode_inputs(session.signature, golden.request.get("inputs", []))
        results = session.run(feeds)
        for _ in range(_WARM_UP_RUNS):
            session.run({name: array[:1] if len(array) == rows else array for name, array in feeds.items()})
    except RequestFailed as error:
        raise ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"the golden request is refused: {error}") from error
    except ModelFailed as error:
        raise ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"the model fails on the golden request: {error}") from error
    expected = {tensor.get("name"): tensor for tensor in golden.response.get("outputs", [])}
    for spec, result in zip(session.signature.outputs, results, strict=True):
        if spec.name not in expected:
            raise _mismatch(spec, "it is not in the golden set")
        _compare(spec, result, expected[spec.name], golden)
    return Verified(rows, _joins(session, feeds, rows, results, golden))


def _joins(session: Session, feeds: dict[str, Array], rows: int, together: list[Array], golden: GoldenSet) -> bool:
    if not session.signature.has_free_rows or rows < 2:
        return False
    try:
        first = session.run({name: array[:1] for name, array in feeds.items()})
        others = session.run({name: array[1:] for name, array in feeds.items()})
    except ModelFailed:
        return False
    parts = zip(session.signature.outputs, first, others, together, strict=True)
    return all(_same_rows(spec, one, rest, whole, golden) for spec, one, rest, whole in parts)


def _same_rows(spec: tensors.TensorSpec, first: Array, others: Array, whole: Array, golden: GoldenSet) -> bool:
    if len(first) != 1 or len(others) != len(whole) - 1:
        return False
    parts = np.concatenate([first, others])
    return parts.shape == whole.shape and bool(_agree(spec, parts, whole, golden).all())


def _compare(spec: tensors.TensorSpec, got: Array, tensor: dict[str, Any], golden: GoldenSet) -> None:
    if list(got.shape) != tensor.get("shape"):
        raise _mismatch(spec, f"expected shape {tensor.get('shape')}, got {list(got.shape)}")
    try:
        want = tensors.decode(tensors.TensorSpec(spec.name, spec.datatype, tuple(got.shape)), tensor)
    except RequestFailed as error:
        raise _mismatch(spec, f"the golden set's values cannot be read: {error}") from error
    same = _agree(spec, got, want, golden)
    if not same.all():
        index = int(np.argmin(same.reshape(-1)))
        values = f"expected {want.reshape(-1)[index]!s}, got {got.reshape(-1)[index]!s}"
        raise _mismatch(spec, f"{values} at element {index} ({int((~same).sum())} of {same.size} differ)")


def _agree(spec: tensors.TensorSpec, got: Array, want: Array, golden: GoldenSet) -> Array:
    """Element by element; a NaN that is wanted stands for every value that is not finite, as `null` does in JSON."""
    if want.dtype.kind != "f":
        return np.asarray(got == want)
    wide = want.astype(np.float64)
    bounds = [golden.bound(spec.name, spec.datatype, value) for value in wide.ravel().tolist()]
    with np.errstate(invalid="ignore"):
        close = np.abs(got.astype(np.float64) - wide) <= np.reshape(bounds, wide.shape)
    return np.asarray(close | (np.isnan(want) & ~np.isfinite(got)) | (got == want))


def _mismatch(spec: tensors.TensorSpec, text: str) -> ServerFailed:
    return ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"output {spec.name}: {text}")
