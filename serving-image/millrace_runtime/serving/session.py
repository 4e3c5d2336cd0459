"""One onnxruntime session with explicit options: the same speed on every node, no thread that spins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from millrace.contract.reasons import Reason
from millrace_runtime.serving.failure import ServerFailed
from millrace_runtime.serving.tensors import Array, TensorSpec

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class ModelFailed(Exception):
    """The runtime refused to compute; the text is the runtime's and may show internals of the model."""


class Session:
    """A loaded model: its signature, and `run`."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load the ONNX bytes. Raises ServerFailed(ModelNotLoadable)."""
        try:
            self._session = onnxruntime.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:
            # onnxruntime's exceptions share no public base class.
            raise ServerFailed(Reason.MODEL_NOT_LOADABLE, f"onnxruntime: {_first_line(error)}") from error
        self.inputs = tuple(_spec(node, "input") for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, "output") for node in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Every output, in the order of `outputs`. Raises ModelFailed. Safe to call from any thread."""
        try:
            return list(self._session.run(self._names, dict(feeds)))
        except Exception as error:
            raise ModelFailed(_first_line(error)) from error


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
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise ServerFailed(
            Reason.MODEL_NOT_LOADABLE,
            f"{role} {node.name} is a {node.type}; only tensors can be served (scikit-learn: export with zipmap off)",
        )
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) else -1 for size in node.shape))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
