"""Does the ONNX file answer as the estimator it was made of? Every output that is served is compared, label included.

    |got - want|  <=  max(1e-4 spread, min(16 eps |want|, 0.01 spread), floor)

spread  standard deviation of the output (of each class's probability) over the rows: a model whose answers lie between
        0.001 and 0.002 is held to that scale, one between 1 and 2 million to that one
16 eps  what FP32 rounds in a sum over many trees; forgiven as long as it blurs no hundredth of the spread. Where the
        spread is 0 it is all that is allowed
floor   1e-7 for probabilities, which are computed as parts of 1; none for predictions

A label may differ where its probability is that of the estimator's label within twice this bound: a tie.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.environment import PROTECTIVE
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.training import golden
from millrace_runtime.training.export import Served
from millrace_runtime.training.features import Tensors

TOLERANCE = 1e-4
ROWS = 4096
_ROUNDING = 16 * float(np.finfo(np.float32).eps)
_MOST_BLURRED = 0.01
_ADVICE = "Choose another estimator or other parameters."
Array = npt.NDArray[Any]


def check(served: Served, model: bytes, rows: Tensors, *, classification: bool) -> float:
    """Return the largest difference in units of the outputs' spread. Raises StageError(ParityFailed).

    Compared are an even sample of the rows, the extremes of every number, missing values and texts never seen.
    """
    sample = _sample(rows)
    outputs = _run(model, sample)
    table = served.frame(sample)
    if not classification:
        want = np.asarray(served.fitted.predict(table), dtype=np.float64)
        return _close("prediction", want, outputs["prediction"].ravel(), _bound(want, 0.0))
    want = np.asarray(served.fitted.predict_proba(table), dtype=np.float64)
    bound = _bound(want, 1e-7)
    difference = _close("probabilities", want, outputs["probabilities"], bound)
    labels = served.coding.labels(np.asarray(served.fitted.predict(table)))
    _check_labels(served.classes, labels, outputs["label"], want, bound)
    return difference


def _sample(rows: Tensors) -> Tensors:
    count = len(next(iter(rows.values())))
    chosen = np.unique(np.linspace(0, count - 1, min(count, ROWS)).astype(int))
    edges = golden.rows(rows)
    return {name: np.concatenate([tensor[chosen], edges[name]]) for name, tensor in rows.items()}


def _bound(want: Array, floor: float) -> Array:
    # Answers that FP32 cannot tell apart have no spread.
    apart = np.ptp(want, axis=0) > float(np.finfo(np.float32).eps) * np.abs(want).max(axis=0)
    spread = np.where(apart, want.std(axis=0), 0.0)
    rounded = np.minimum(_ROUNDING * np.abs(want), np.where(spread > 0, _MOST_BLURRED * spread, np.inf))
    return np.maximum(np.maximum(TOLERANCE * spread, rounded), floor)


def _close(output: str, want: Array, got: Array, bound: Array) -> float:
    if want.shape != got.shape:
        text = f"The export's {output} has shape {list(got.shape)}, the estimator's {list(want.shape)}"
        raise StageError(Reason.PARITY_FAILED, f"{text}. {_ADVICE}")
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(want - got)
        times = np.where(apart == 0, 0.0, apart / bound)
    times = np.where(np.isnan(times), np.inf, times)
    worst = int(np.argmax(times))
    difference = float(times.ravel()[worst]) * TOLERANCE
    if difference > TOLERANCE:
        seen = f"{got.ravel()[worst]:.7g} instead of {want.ravel()[worst]:.7g}"
        text = f"The export's {output} differs from the estimator's by {difference:.3g} of its spread ({seen})"
        raise StageError(Reason.PARITY_FAILED, f"{text}, at most {TOLERANCE:g} is allowed. {_ADVICE}")
    return difference


def _check_labels(classes: list[Any], want: Array, got: Array, probabilities: Array, bound: Array) -> None:
    """A class is equal to itself alone: the number 1 is not the text "1"."""
    column = {value: at for at, value in enumerate(classes)}
    for row, (mine, theirs) in enumerate(zip(want.tolist(), got.tolist(), strict=True)):
        if mine == theirs:
            continue
        ours, served = column[mine], column.get(theirs)
        is_tie = served is not None and (
            abs(probabilities[row, ours] - probabilities[row, served]) <= bound[row, ours] + bound[row, served]
        )
        if not is_tie:
            text = f"The export answers label {str(theirs)[:60]!r} where the estimator says {str(mine)[:60]!r}"
            raise StageError(Reason.PARITY_FAILED, f"{text}. {_ADVICE}")


def _run(model: bytes, rows: Tensors) -> dict[str, Array]:
    os.environ.update(PROTECTIVE)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, rows), strict=True))
