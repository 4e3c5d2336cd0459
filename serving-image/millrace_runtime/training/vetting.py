"""What an ONNX file must be before any runtime loads it: checked on the parsed message, nothing is run or followed.

One file, plain tensors, no graph inside a graph, only operators of the list below, and no size that a caller's values
decide. Why: onnx and onnxruntime have each had holes in exactly these places (external data paths, in-memory addresses,
sparse tensors), and a runtime that already reads the hostile bytes is too late.

The parts are counted before they are parsed (`wire`), and the evaluator has all this done in a process of its own
(`examine`): the one that holds the store's keys parses nothing.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from millrace.contract.reasons import Reason
from millrace_runtime import files
from millrace_runtime.outcome import StageError
from millrace_runtime.training import wire

MAX_BYTES = 256 * 1024 * 1024
MAX_NODES = 20_000
MAX_MESSAGES = 250_000
"""Parts of every kind, at some 320 bytes each once they are parsed."""
MAX_STRINGS = 10_000_000
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
        return files.read(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise StageError(Reason.NO_MODEL_WRITTEN, f"The trainer ended without writing {path}. Read its log.") from error
    except files.TooLargeError as error:
        raise _too_large() from error
    except (OSError, files.NotPlainError) as error:
        raise StageError(Reason.NOT_ONNX, f"{path} is not a plain file. Write the model itself there.") from error


def check_size(size: int) -> None:
    """Raises StageError(ModelTooLarge) for more bytes than a model may have."""
    if size > MAX_BYTES:
        raise _too_large()


def vet(data: bytes) -> Any:
    """Return the onnx.ModelProto. Raises StageError: ModelTooLarge, NotOnnx, ExternalData, OperatorNotAllowed."""
    check_size(len(data))
    _check_parts(data)
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as error:
        raise _unreadable() from error
    if not model.ir_version or not model.graph.node or not model.graph.output or not model.opset_import:
        text = "The file holds no ONNX graph with nodes and outputs. Export the model again."
        raise StageError(Reason.NOT_ONNX, text)
    _check_opsets(model)
    for tensor in _tensors(model):
        _check_tensor(tensor)
    _check_nodes(model)
    _check_sizes(model.graph)
    return model


def _check_parts(data: bytes) -> None:
    """How many messages a parser would make of it, before one does."""
    limits = {"NodeProto": MAX_NODES, wire.STRINGS: MAX_STRINGS}
    try:
        wire.check(data, onnx.ModelProto.DESCRIPTOR, MAX_MESSAGES, limits)
    except wire.TooManyError as error:
        what = {"NodeProto": "nodes", wire.ALL: "parts"}.get(error.kind, error.kind)
        text = f"The graph has more than {error.most} {what}. Train a smaller model."
        raise StageError(Reason.MODEL_TOO_LARGE, text) from error
    except wire.MalformedError as error:
        raise _unreadable() from error


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
        if _trains(node, model.graph):
            raise _forbidden(f"the operator {_shown(node.op_type)} in training mode")


def _trains(node: Any, graph: Any) -> bool:
    """Whether it answers by chance (Dropout), or by what other rows there are (BatchNormalization)."""
    if node.op_type == "BatchNormalization":
        return any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    if node.op_type != "Dropout" or not node.input[2:] or not node.input[2]:
        return False
    fixed = next((tensor for tensor in graph.initializer if tensor.name == node.input[2]), None)
    return fixed is None or bool(onnx.numpy_helper.to_array(fixed).any())


_SIZED_BY = {
    "ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Operators that make a tensor as large as some of their inputs say, and which inputs those are. Some only make it
smaller; but what shape a slice of a large constant has would be a size that values decide, too."""
_REDUCES, _AXES = "Reduce", (1,)
_OF_SHAPE = ("Shape", "Size")


def _check_sizes(graph: Any) -> None:
    """Sizes may follow from constants and from other tensors' shapes; not from values, which come from callers.

    A graph of 271 bytes otherwise takes what memory there is for one row.
    """
    readers: dict[str, list[Any]] = collections.defaultdict(list)
    for node in graph.node:
        for name in set(node.input):
            readers[name].append(node)
    fixed = {tensor.name for tensor in graph.initializer}
    found = {value.name for value in graph.input} - fixed
    left = list(found)
    while left:
        for node in readers[left.pop()]:
            if node.op_type not in _OF_SHAPE:
                new = set(node.output) - found
                found |= new
                left += new
    for node in graph.node:
        places = _AXES if node.op_type.startswith(_REDUCES) else _SIZED_BY.get(node.op_type, ())
        sizes = [node.input[at] for at in places if at < len(node.input)]
        if found.intersection(sizes):
            raise _forbidden(f"an operator {node.op_type} whose size its input's values decide")


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


def _too_large() -> StageError:
    text = f"The model has more than {MAX_BYTES // 1024**2} MiB. Train a smaller one."
    return StageError(Reason.MODEL_TOO_LARGE, text)


def _unreadable() -> StageError:
    text = "The file cannot be parsed as an ONNX model. Export with skl2onnx, torch.onnx or another ONNX exporter."
    return StageError(Reason.NOT_ONNX, text)


def _malformed(tensor: Any, what: str) -> StageError:
    return StageError(Reason.NOT_ONNX, f"Tensor {_shown(tensor.name)} {what}. Export the model again.")


def _forbidden(what: str) -> StageError:
    return StageError(Reason.OPERATOR_NOT_ALLOWED, f"The model uses {what}, which is not served; {_WHAT}.")


def _shown(name: str) -> str:
    """A name out of the file, harmless in a message."""
    return repr(name[:80])
