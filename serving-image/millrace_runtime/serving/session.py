"""One onnxruntime session with explicit options: the same speed on every node, no thread that spins."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from millrace.contract.reasons import Reason
from millrace_runtime import datatypes, discretion
from millrace_runtime.serving.failure import ServerFailed
from millrace_runtime.serving.tensors import Array, Signature, TensorSpec

_SEQUENCE_OF_MAPS = frozenset({"seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"})
"""What ZipMap (ai.onnx.ml) makes of probabilities: for each row a map from class to probability, sorted by class.

The protocol has no maps: served as a tensor of one column per class, in that order.
"""


class ModelFailed(Exception):
    """The runtime refused to compute; the text says which node and may show internals of the model."""


class Session:
    """A loaded model: its signature, and `run`."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load the ONNX bytes. Raises ServerFailed(ModelNotLoadable)."""
        try:
            self._session = onnxruntime.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:
            # onnxruntime's exceptions share no public base class.
            raise ServerFailed(Reason.MODEL_NOT_LOADABLE, f"onnxruntime: {_first_line(error)}") from error
        inputs = tuple(_spec(node, "input") for node in self._session.get_inputs())
        nodes = self._session.get_outputs()
        outputs = tuple(_spec(node, "output") for node in nodes)
        self.signature = Signature(inputs, outputs)
        self._names = [spec.name for spec in outputs]
        self._maps = {index: outputs[index].dtype for index, node in enumerate(nodes) if node.type in _SEQUENCE_OF_MAPS}

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        """Every output, in the order of the signature. Raises ModelFailed. Safe to call from any thread."""
        try:
            results = list(self._session.run(self._names, feeds))
        except Exception as error:  # as above
            raise ModelFailed(discretion.of_a_run(error)) from error
        for index, dtype in self._maps.items():
            results[index] = np.array([list(row.values()) for row in results[index]], dtype)
        return results


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Small models: the arena would keep the largest batch's memory for ever.
    options.enable_cpu_mem_arena = False
    # Failures reach the caller as exceptions; the runtime's own lines would show the model's internals in the log.
    options.log_severity_level = 4
    return options


def _spec(node: Any, role: str) -> TensorSpec:
    if role == "output" and node.type in _SEQUENCE_OF_MAPS:
        return TensorSpec(node.name, "FP32", (-1, -1))
    datatype = datatypes.OF_ONNXRUNTIME.get(node.type)
    if datatype is None:
        raise ServerFailed(
            Reason.MODEL_NOT_LOADABLE,
            f"{role} {node.name} is a {node.type}; only tensors and the maps of ZipMap can be served",
        )
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) else -1 for size in node.shape))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
