"""The golden set: which rows, and request and response as the inference protocol writes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.golden import ROWS, GoldenSet
from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace.contract.report import Signature
from millrace_runtime.training.features import Tensors

_EXTREMES = 40
UNSEEN = "a value never seen in training"


def rows(train: Tensors) -> Tensors:
    """Return 64 rows: all missing, unseen texts, the extremes of each number, rows with gaps, then an even sample."""
    count = len(next(iter(train.values())))
    chosen = list(
        dict.fromkeys([*_extremes(train), *_gaps(train), *np.linspace(0, count - 1, ROWS).astype(int).tolist()])
    )
    picked = np.resize(np.asarray(chosen), ROWS - 2)
    made: Tensors = {}
    for name, tensor in train.items():
        edges = [_missing(tensor), _unseen(tensor)]
        made[name] = np.concatenate([*edges, tensor[picked]]).astype(tensor.dtype)
    return made


def make(inputs: Tensors, outputs: Tensors, signature: Signature, train: Tensors) -> GoldenSet:
    """Return the set; a missing number is `null`, a missing text `""`. `train` are the answers on the train rows."""
    asked = [_tensor(each.name, each.datatype, inputs[each.name]) for each in signature.inputs]
    answered = [_tensor(each.name, each.datatype, outputs[each.name]) for each in signature.outputs]
    return GoldenSet(request={"inputs": asked}, response={"outputs": answered}, spreads=_spreads(train))


def _spreads(train: Tensors) -> dict[str, float]:
    """Standard deviation of each output of numbers; of one with several columns, that of the widest."""
    found: dict[str, float] = {}
    for name, answers in train.items():
        if answers.dtype.kind == "f":
            columns = answers.reshape(len(answers), -1).astype(np.float64)
            columns = np.where(np.isfinite(columns), columns, 0.0)
            found[name] = float(columns.std(axis=0).max(initial=0.0))
    return found


def _extremes(train: Tensors) -> list[int]:
    found: list[int] = []
    for column in train.get(NUMERIC, np.empty((0, 0))).T:
        if np.isfinite(column).any():
            found += [int(np.nanargmin(column)), int(np.nanargmax(column))]
    return found[:_EXTREMES]


def _gaps(train: Tensors) -> list[int]:
    found: list[int] = []
    if NUMERIC in train:
        found += np.flatnonzero(np.isnan(train[NUMERIC]).any(axis=1))[:8].tolist()
    if CATEGORICAL in train:
        found += np.flatnonzero((train[CATEGORICAL] == "").any(axis=1))[:8].tolist()
    return found


def _missing(tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.full((1, tensor.shape[1]), "" if tensor.dtype == object else np.nan, dtype=tensor.dtype)


def _unseen(tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.full((1, tensor.shape[1]), UNSEEN, dtype=object) if tensor.dtype == object else tensor[:1]


def _tensor(name: str, datatype: str, values: npt.NDArray[Any]) -> dict[str, Any]:
    data = [
        None if isinstance(value, float) and not math.isfinite(value) else value for value in values.ravel().tolist()
    ]
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": data}
