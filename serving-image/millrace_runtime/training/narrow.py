"""Numbers of 64 bits to the 32 bits that estimators and their exports compute in, losing as little as can be.

The middle of each column is taken off first, in 64 bits, so that what is rounded is the distance from it: dates written
20240101 and 20240102, or instants seconds apart, stay different. The same operations are put in front of the exported
graph, so a threshold divides the same rows in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from millrace.contract.profile import NUMERIC
from millrace_runtime.training.features import Tensors

Matrix = npt.NDArray[Any]
_INSIDE = "narrowed"


@dataclass(frozen=True)
class Narrow:
    """(x - centre) / scale in 64 bits, then FP32; NaN stays NaN. One centre and scale a column."""

    centre: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    def matrix(self, wide: Matrix) -> Matrix:
        """FP32 [n, k] of FP64 [n, k]."""
        with np.errstate(over="ignore"):
            return np.asarray(((wide - self.centre) / self.scale).astype(np.float32))

    def tensors(self, rows: Tensors) -> Tensors:
        """The same tensors, `numeric` in FP32."""
        return {**rows, NUMERIC: self.matrix(rows[NUMERIC])}


def learn(rows: Tensors, *, scaled: bool) -> Narrow | None:
    """Centre and scale of the train rows: mean and standard deviation when `scaled`, else the median and 1.

    None where there are no numbers, or FP32 is what the model reads.
    """
    if NUMERIC not in rows or rows[NUMERIC].dtype != np.float64:
        return None
    wide = rows[NUMERIC]
    held = np.where(np.isnan(wide).all(axis=0), 0.0, wide)
    with np.errstate(over="ignore", invalid="ignore"):
        if not scaled:
            return Narrow(np.nanmedian(held, axis=0), np.ones(wide.shape[1]))
        spread = np.nanstd(held, axis=0)
        return Narrow(np.nanmean(held, axis=0), np.where(spread > 0, spread, 1.0))


def overflowing(made: Narrow, wide: Matrix) -> int | None:
    """A column that FP32 has no room for even so; None where there is none."""
    bad = (~np.isfinite(made.matrix(wide)) & ~np.isnan(wide)).any(axis=0) | ~np.isfinite(made.scale)
    return int(np.argmax(bad)) if bad.any() else None


def put_in_front(proto: Any, made: Narrow, opset: int) -> None:
    """Make the graph's input `numeric` FP64, and narrow it before anything reads it."""
    graph = proto.graph
    if not any(entry.domain == "" for entry in proto.opset_import):
        proto.opset_import.add(domain="", version=opset)
    for node in graph.node:
        node.input[:] = [_INSIDE if name == NUMERIC else name for name in node.input]
    constants = {"centre": made.centre, "scale": made.scale}
    graph.initializer.extend(numpy_helper.from_array(values, f"{_INSIDE}_{name}") for name, values in constants.items())
    first = [
        helper.make_node("Sub", [NUMERIC, f"{_INSIDE}_centre"], [f"{_INSIDE}_centred"], name=f"{_INSIDE}_sub"),
        helper.make_node(
            "Div", [f"{_INSIDE}_centred", f"{_INSIDE}_scale"], [f"{_INSIDE}_scaled"], name=f"{_INSIDE}_div"
        ),
        helper.make_node("Cast", [f"{_INSIDE}_scaled"], [_INSIDE], name=f"{_INSIDE}_cast", to=TensorProto.FLOAT),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *rest])
    for value in graph.input:
        if value.name == NUMERIC:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
