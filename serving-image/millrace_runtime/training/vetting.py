"""What an ONNX file must be before any runtime loads it: checked on the parsed message, nothing is run or followed.

One file, plain tensors, no graph inside a graph, and only operators of the list below. Why: onnx and onnxruntime have
each had holes in exactly these places (external data paths, in-memory addresses, sparse tensors), and a runtime that
already reads the hostile bytes is too late.
"""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError

MAX_BYTES = 256 * 1024 * 1024
MAX_NODES = 20_000
MIN_OPSET, MAX_OPSET = 9, 21
MIN_ML_OPSET, MAX_ML_OPSET = 1, 5
_STANDARD = ("", "ai.onnx")
_ML = "ai.onnx.ml"
_WHAT = "ask for a model that stays within the serving image's limits"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = {
    "": _names(
        """
        Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast CastLike Ceil Clip
        Concat Constant ConstantOfShape Conv Cos CumSum DequantizeLinear Div Dropout Einsum Elu Equal Erf
        Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool
        Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LayerNormalization LeakyRelu Less
        LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow
        QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
        ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Size
        Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu
        Unsqueeze Where Xor
        """
    ),
    _ML: _names(
        """
        ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder
        LinearClassifier LinearRegressor Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier
        TreeEnsembleRegressor
        """
    ),
}
_TYPES = {
    onnx.TensorProto.FLOAT: (4, "float_data"),
    onnx.TensorProto.DOUBLE: (8, "double_data"),
    onnx.TensorProto.FLOAT16: (2, "int32_data"),
    onnx.TensorProto.INT8: (1, "int32_data"),
    onnx.TensorProto.INT16: (2, "int32_data"),
    onnx.TensorProto.INT32: (4, "int32_data"),
    onnx.TensorProto.INT64: (8, "int64_data"),
    onnx.TensorProto.UINT8: (1, "int32_data"),
    onnx.TensorProto.UINT16: (2, "int32_data"),
    onnx.TensorProto.UINT32: (4, "uint64_data"),
    onnx.TensorProto.UINT64: (8, "uint64_data"),
    onnx.TensorProto.BOOL: (1, "int32_data"),
    onnx.TensorProto.STRING: (0, "string_data"),
}
"""Bytes of one element in raw_data, and the field that holds elements otherwise."""


def read(path: pathlib.Path) -> bytes:
    """Return the file a trainer wrote, following no link. Raises StageError: NoModelWritten, ModelTooLarge, NotOnnx."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise StageError(Reason.NO_MODEL_WRITTEN, f"The trainer ended without writing {path}. Read its log.") from error
    except OSError as error:
        raise StageError(Reason.NOT_ONNX, f"{path} is not a plain file. Write the model itself there.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StageError(Reason.NOT_ONNX, f"{path} is not a plain file. Write the model itself there.")
    with os.fdopen(descriptor, "rb") as file:
        return check_size(file.read(MAX_BYTES + 1))


def check_size(data: bytes) -> bytes:
    """Raises StageError(ModelTooLarge)."""
    if len(data) > MAX_BYTES:
        text = f"The model has more than {MAX_BYTES // 1024**2} MiB. Train a smaller one."
        raise StageError(Reason.MODEL_TOO_LARGE, text)
    return data


def vet(data: bytes) -> Any:
    """Return the onnx.ModelProto. Raises StageError: ModelTooLarge, NotOnnx, ExternalData, OperatorNotAllowed."""
    check_size(data)
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as error:
        text = "The file cannot be parsed as an ONNX model. Export with skl2onnx, torch.onnx or another ONNX exporter."
        raise StageError(Reason.NOT_ONNX, text) from error
    if not model.ir_version or not model.graph.node or not model.graph.output or not model.opset_import:
        text = "The file holds no ONNX graph with nodes and outputs. Export the model again."
        raise StageError(Reason.NOT_ONNX, text)
    _check_opsets(model)
    for tensor in _tensors(model):
        _check_tensor(tensor)
    _check_nodes(model)
    return model


def _check_opsets(model: Any) -> None:
    seen: set[str] = set()
    for entry in model.opset_import:
        domain = "" if entry.domain in _STANDARD else entry.domain
        low, high = (MIN_ML_OPSET, MAX_ML_OPSET) if domain == _ML else (MIN_OPSET, MAX_OPSET)
        if domain not in OPERATORS:
            raise _forbidden(f"the operator domain {_shown(domain)}")
        if domain in seen:
            raise _forbidden(f"two opsets of {domain or 'ai.onnx'}")
        if not low <= entry.version <= high:
            raise _forbidden(f"opset {entry.version} of {domain or 'ai.onnx'} (not {low} to {high})")
        seen.add(domain)


def _check_nodes(model: Any) -> None:
    if model.functions:
        raise _forbidden("local functions")
    if model.training_info:
        raise _forbidden("training information")
    if len(model.graph.node) > MAX_NODES:
        raise StageError(Reason.MODEL_TOO_LARGE, f"The graph has more than {MAX_NODES} nodes. Train a smaller model.")
    for node in model.graph.node:
        domain = "" if node.domain in _STANDARD else node.domain
        if node.op_type not in OPERATORS.get(domain, frozenset()):
            raise _forbidden(f"the operator {_shown(f'{domain}.{node.op_type}' if domain else node.op_type)}")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise _forbidden(f"a graph inside operator {_shown(node.op_type)}")


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of the model wherever it hides: any message of that type at any depth, known to us or not."""
    stack = [model]
    while stack:
        message = stack.pop()
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto":
            yield message
        if kind == "SparseTensorProto":
            raise _forbidden("a sparse tensor")
        for field, value in message.ListFields():
            if field.message_type is not None:
                stack.extend(value if field.is_repeated else [value])


def _check_tensor(tensor: Any) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        text = f"Tensor {_shown(tensor.name)} refers to data outside the model file. Save the model as a single file."
        raise StageError(Reason.EXTERNAL_DATA, text)
    elements = 1
    for size in tensor.dims:
        elements *= size
        if size < 0 or elements > MAX_BYTES:
            raise _malformed(tensor, "has an impossible shape")
    if tensor.data_type not in _TYPES:
        raise _malformed(tensor, "is of a type that cannot be served")
    width, field = _TYPES[tensor.data_type]
    held = len(tensor.raw_data) if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if held != (elements * width if tensor.HasField("raw_data") else elements):
        raise _malformed(tensor, "does not hold what its shape says")


def _malformed(tensor: Any, what: str) -> StageError:
    return StageError(Reason.NOT_ONNX, f"Tensor {_shown(tensor.name)} {what}. Export the model again.")


def _forbidden(what: str) -> StageError:
    return StageError(Reason.OPERATOR_NOT_ALLOWED, f"The model uses {what}, which is not served; {_WHAT}.")


def _shown(name: str) -> str:
    """A name out of the file, harmless in a message."""
    return repr(name[:80])
