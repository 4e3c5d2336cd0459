"""Before any traffic: does the loaded model answer as the one that was evaluated?"""

from __future__ import annotations

from typing import Any

import numpy as np

from millrace.contract.golden import GoldenSet
from millrace.contract.reasons import Reason
from millrace_runtime.serving import dataplane, tensors
from millrace_runtime.serving.failure import RequestFailed, ServerFailed
from millrace_runtime.serving.session import ModelFailed, Session
from millrace_runtime.serving.tensors import Array

_WARM_UP_RUNS = 3


def reproduce(session: Session, golden: GoldenSet) -> int:
    """Run the golden request, compare every output; return the number of rows.

    Raises ServerFailed(GoldenSetMismatch) naming the first tensor and element that differ. One row is also run alone,
    so that the first caller does not pay for the runtime's own preparations.
    """
    try:
        feeds, rows = dataplane.decode(session, {"inputs": [], **golden.request})
        results = session.run(feeds)
        for _ in range(_WARM_UP_RUNS):
            session.run({name: array[:1] if len(array) == rows else array for name, array in feeds.items()})
    except RequestFailed as error:
        raise ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"the golden request is refused: {error}") from error
    except ModelFailed as error:
        raise ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"the model fails on the golden request: {error}") from error
    expected = {tensor.get("name"): tensor for tensor in golden.response.get("outputs", [])}
    for spec, result in zip(session.outputs, results, strict=True):
        if spec.name not in expected:
            raise _mismatch(spec, "it is not in the golden set")
        _compare(spec, result, expected[spec.name], golden.tolerance)
    return rows


def _compare(spec: tensors.TensorSpec, got: Array, tensor: dict[str, Any], tolerance: float) -> None:
    if list(got.shape) != tensor.get("shape"):
        raise _mismatch(spec, f"expected shape {tensor.get('shape')}, got {list(got.shape)}")
    try:
        want = tensors.decode(tensors.TensorSpec(spec.name, spec.datatype, tuple(got.shape)), tensor)
    except RequestFailed as error:
        raise _mismatch(spec, f"the golden set's values cannot be read: {error}") from error
    if spec.dtype.kind == "f":
        bound = tolerance * np.maximum(1.0, np.abs(want.astype(np.float64)))
        with np.errstate(invalid="ignore"):
            close = np.abs(got.astype(np.float64) - want) <= bound
        # `null` in JSON stands for every value that is not finite.
        same = close | (np.isnan(want) & ~np.isfinite(got))
    else:
        same = np.asarray(got == want)
    if not same.all():
        index = int(np.argmin(same.reshape(-1)))
        values = f"expected {want.reshape(-1)[index]!s}, got {got.reshape(-1)[index]!s}"
        raise _mismatch(spec, f"{values} at element {index} ({int((~same).sum())} of {same.size} differ)")


def _mismatch(spec: tensors.TensorSpec, text: str) -> ServerFailed:
    return ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"output {spec.name}: {text}")
