"""ONNX graphs made by hand: harmless ones, and ones that a trainer should never have written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def classifier(width: int = 2, opset: int = 18) -> Any:
    """Numeric [-1, width] -> label [-1], probabilities [-1, 2]: a plain logistic model."""
    weights = numpy_helper.from_array(np.ones((width, 2), np.float32), "weights")
    nodes = [
        helper.make_node("MatMul", ["numeric", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [weights],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", opset)])


def external(tensor: Any, location: str) -> Any:
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def _subgraph() -> Any:
    return helper.make_graph(
        [helper.make_node("Constant", [], ["out"], value_float=1.0)],
        "inner",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
    )


def _tensor() -> Any:
    return numpy_helper.from_array(np.zeros(1, np.float32), "hidden")


def _sparse(location: str) -> Any:
    sparse = onnx.SparseTensorProto()
    sparse.values.CopyFrom(external(_tensor(), location))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    sparse.dims.append(1)
    return sparse


def _with_subgraph(model: Any, location: str) -> None:
    inner = _subgraph()
    inner.initializer.append(external(_tensor(), location))
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def _with_function(model: Any, location: str) -> None:
    node = helper.make_node("Constant", [], ["out"], value=external(_tensor(), location))
    model.functions.append(helper.make_function("local", "f", [], ["out"], [node], [helper.make_opsetid("", 18)]))


def _svm(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.node[0].domain, model.graph.node[0].op_type = "ai.onnx.ml", "SVMClassifier"


Change = Callable[[Any, str], None]

TENSOR_PLACES: dict[str, Change] = {
    "initializer": lambda m, at: external(m.graph.initializer[0], at) and None,
    "second initializer": lambda m, at: m.graph.initializer.append(external(_tensor(), at)),
    "entries without the flag": lambda m, at: (
        m.graph.initializer[0].external_data.add(key="location", value=at) and None
    ),
    "attribute tensor": lambda m, at: m.graph.node[0].attribute.append(
        helper.make_attribute("value", external(_tensor(), at))
    ),
    "attribute tensors": lambda m, at: m.graph.node[0].attribute.append(
        helper.make_attribute("values", [external(_tensor(), at)])
    ),
    "sparse initializer": lambda m, at: m.graph.sparse_initializer.append(_sparse(at)),
    "attribute sparse tensor": lambda m, at: m.graph.node[0].attribute.append(
        onnx.AttributeProto(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=_sparse(at))
    ),
    "attribute sparse tensors": lambda m, at: m.graph.node[0].attribute.append(
        onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSORS, sparse_tensors=[_sparse(at)])
    ),
    "subgraph": _with_subgraph,
    "function": _with_function,
    "training graph": lambda m, at: m.training_info.add().initialization.initializer.append(external(_tensor(), at)),
    "training algorithm": lambda m, at: m.training_info.add().algorithm.initializer.append(external(_tensor(), at)),
}
LOCATIONS = (
    "/etc/passwd",
    "../../secret",
    "weights.bin",
    "a/../../b",
    "*/_ORT_MEM_ADDR_/*",
    "",
)


def _set_domain(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    model.graph.node[0].domain = "com.evil"


def dropout(model: Any, *, training: bool) -> None:
    node = model.graph.node[1]
    node.op_type, node.input[:] = "Dropout", ["scores", "", "mode"]
    node.ClearField("attribute")
    model.graph.initializer.append(numpy_helper.from_array(np.bool_(training), "mode"))


def _normalizing(model: Any) -> None:
    node = model.graph.node[1]
    node.op_type = "BatchNormalization"
    node.attribute.append(helper.make_attribute("training_mode", 1))


FORBIDDEN: dict[str, Callable[[Any], None]] = {
    "a Dropout that answers by chance": lambda m: dropout(m, training=True),
    "a Dropout whose mode is computed": lambda m: m.graph.node.append(
        helper.make_node("Dropout", ["scores", "", "scores"], ["other"])
    ),
    "a normalization by what else is in the batch": _normalizing,
    "If": lambda m: setattr(m.graph.node[0], "op_type", "If"),
    "Loop": lambda m: setattr(m.graph.node[0], "op_type", "Loop"),
    "Scan": lambda m: setattr(m.graph.node[0], "op_type", "Scan"),
    "an unknown operator": lambda m: setattr(m.graph.node[0], "op_type", "ReadFile"),
    "a generator of noise": lambda m: setattr(m.graph.node[0], "op_type", "RandomNormal"),
    "a domain of its own": _set_domain,
    "Microsoft's domain": lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
    "an operator of a domain that is not imported": lambda m: setattr(m.graph.node[0], "domain", "com.evil"),
    "a graph in an allowed operator": lambda m: m.graph.node[0].attribute.append(
        helper.make_attribute("body", _subgraph())
    ),
    "graphs in an allowed operator": lambda m: m.graph.node[0].attribute.append(
        helper.make_attribute("b", [_subgraph()])
    ),
    "a local function": lambda m: m.functions.append(
        helper.make_function(
            "", "MatMul", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 18)]
        )
    ),
    "training information": lambda m: m.training_info.add() and None,
    "a support vector machine": _svm,
    "an opset from the future": lambda m: setattr(m.opset_import[0], "version", 28),
    "an opset from the past": lambda m: setattr(m.opset_import[0], "version", 8),
    "the same domain twice": lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 18)),
}


MALFORMED: dict[str, Callable[[Any], None]] = {
    "no nodes": lambda m: m.graph.ClearField("node"),
    "no outputs": lambda m: m.graph.ClearField("output"),
    "no graph": lambda m: m.ClearField("graph"),
    "no opset": lambda m: m.ClearField("opset_import"),
    "no version": lambda m: m.ClearField("ir_version"),
    "a negative dimension": lambda m: m.graph.initializer[0].dims.append(-1),
    "a huge dimension": lambda m: m.graph.initializer[0].dims.append(2**62),
    "dimensions that overflow": lambda m: m.graph.initializer[0].dims.extend([2**32, 2**32]),
    "fewer bytes than the shape says": lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0\0\0\0"),
    "more bytes than the shape says": lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 64),
    "no bytes at all": lambda m: m.graph.initializer[0].ClearField("raw_data"),
    "an unknown type": lambda m: setattr(m.graph.initializer[0], "data_type", 99),
    "no type": lambda m: setattr(m.graph.initializer[0], "data_type", 0),
    "text as numbers": lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING),
}
