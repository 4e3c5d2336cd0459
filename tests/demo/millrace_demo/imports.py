"""Models made by hand and imported: what a team does that trains elsewhere, and how the tests get a canary that fails.

An imported Model claims no training run; whoever creates it needs the rights that the admission policies ask for.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from . import data, objects
from .sources import Sources

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Manifest = dict[str, Any]
SIGNATURE: Manifest = {
    "inputs": [{"name": "numeric", "datatype": "FP32", "shape": [-1, len(data.FEATURES)]}],
    "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ],
}


@dataclass(frozen=True)
class Import:
    """An artifact in the store and the Model manifest for it."""

    digest: str
    manifest: Manifest


def logistic(tilt: float) -> bytes:
    """A working model: sigmoid of a weighted sum of the features; `tilt` makes its bytes and answers its own."""
    import numpy as np
    from onnx import helper, numpy_helper

    weights = np.full((len(data.FEATURES), 1), 0.01 * tilt, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["numeric", "weights"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), "one"),
    ]
    return _file(nodes, constants)


def lookup(rows: int) -> bytes:
    """A model that answers 500 for rows it has no entry for: a Gather on `disea` in a table of `rows` rows.

    Its golden set stays within the table, so it loads, becomes ready, and fails only on real callers.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    yes = np.linspace(0.2, 0.8, rows, dtype=np.float32)
    constants = [
        numpy_helper.from_array(np.array([data.FEATURES.index("disea")], dtype=np.int64), "column"),
        numpy_helper.from_array(np.stack([1 - yes, yes], axis=1), "table"),
        numpy_helper.from_array(np.array([-1, 2], dtype=np.int64), "flat"),
    ]
    nodes = [
        helper.make_node("Gather", ["numeric", "column"], ["disea"], axis=1),
        helper.make_node("Cast", ["disea"], ["entry"], to=7),
        helper.make_node("Gather", ["table", "entry"], ["found"], axis=0),
        helper.make_node("Reshape", ["found", "flat"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    return _file(nodes, constants)


def _file(nodes: list[Any], constants: list[Any]) -> bytes:
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, len(data.FEATURES)])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    graph = helper.make_graph(nodes, "imported", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def golden_set(model: bytes, rows: list[list[float]]) -> Manifest:
    """What the model answers to `rows`, in the form the server reproduces before it is ready."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    label, probabilities = session.run(["label", "probabilities"], {"numeric": np.array(rows, dtype=np.float32)})
    flat = [value for row in rows for value in row]
    return {
        "request": {
            "inputs": [
                {"name": "numeric", "datatype": "FP32", "shape": [len(rows), len(data.FEATURES)], "data": flat},
            ]
        },
        "response": {
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": list(label.shape), "data": label.tolist()},
                {
                    "name": "probabilities",
                    "datatype": "FP32",
                    "shape": list(probabilities.shape),
                    "data": probabilities.ravel().tolist(),
                },
            ]
        },
        "tolerance": 1e-4,
        "rows": len(rows),
    }


def profile(rows: list[list[float]]) -> Manifest:
    """Quartile histograms of `rows`, as the evaluator writes them."""
    import numpy as np

    table = np.array(rows)
    features = []
    for index, name in enumerate(data.FEATURES):
        edges = np.unique(np.quantile(table[:, index], [0.25, 0.5, 0.75]))
        counts = np.bincount(np.searchsorted(edges, table[:, index], side="right"), minlength=len(edges) + 2)
        features.append(
            {
                "name": name,
                "input": "numeric",
                "index": index,
                "kind": "numeric",
                "edges": edges.tolist(),
                "labels": [],
                "counts": counts.tolist(),
            }
        )
    half = len(rows) // 2
    answers = {
        "name": "probability",
        "output": "probabilities",
        "index": 1,
        "kind": "numeric",
        "edges": [0.5],
        "labels": [],
        "counts": [half, len(rows) - half, 0],
    }
    return {"rows": len(rows), "features": features, "outputs": [answers]}


def upload(
    store: Sources,
    model_name: str,
    version: int,
    model: bytes,
    rows: list[list[float]],
    golden: Manifest | None = None,
    *,
    author: str,
) -> Import:
    """Put model, golden set and profile in the store; the Model manifest asks for one approval."""
    digest = "sha256:" + hashlib.sha256(model).hexdigest()
    folder = f"imports/{model_name}/{version}"
    answers = golden_set(model, rows[:16]) if golden is None else golden
    spec = {
        "modelName": model_name,
        "version": str(version),
        "artifact": {
            "storageUri": store.put(f"{folder}/model.onnx", model),
            "digest": digest,
            "sizeBytes": len(model),
        },
        "signature": SIGNATURE,
        "goldenSetUri": store.put(f"{folder}/golden.json", json.dumps(answers).encode()),
        "referenceProfileUri": store.put(f"{folder}/profile.json", json.dumps(profile(rows)).encode()),
        "provenance": {"author": author},
        "approvalPolicy": {"required": 1, "distinctFromAuthor": True},
    }
    manifest = {
        "apiVersion": objects.API_VERSION,
        "kind": "Model",
        "metadata": {"name": f"{model_name}-{version}", "labels": {"millrace.dev/model-name": model_name}},
        "spec": spec,
    }
    return Import(digest, manifest)


def approval(user: str, digest: str, decision: str = "Approve") -> str:
    """The merge patch by which a person decides about a digest that nobody decided about before."""
    return json.dumps({"spec": {"approvals": [{"user": user, "decision": decision, "digest": digest}]}})
