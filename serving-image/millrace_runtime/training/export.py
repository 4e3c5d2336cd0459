"""A fitted pipeline to ONNX bytes. That both answer alike is for `parity` to prove."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace_runtime.training import fit, narrow
from millrace_runtime.training.coding import PLAIN, Coding
from millrace_runtime.training.features import Layout, Tensors
from millrace_runtime.training.narrow import Narrow
from millrace_runtime.training.spec import METADATA

OPSET = 18
ML_OPSET = 3


@dataclass(frozen=True)
class Served:
    """A fitted pipeline, and what stands before and behind it in the graph."""

    fitted: Any
    narrow: Narrow | None = None
    coding: Coding = PLAIN

    def frame(self, rows: Tensors) -> Any:
        """The rows as the pipeline reads them, from those that the graph reads."""
        return fit.frame(self.narrow.tensors(rows) if self.narrow is not None else rows)

    @property
    def classes(self) -> list[Any]:
        """In the order of the probabilities' columns."""
        return list(self.coding.labels(self.fitted.classes_).tolist())


def to_onnx(served: Served, model: Layout, *, classification: bool) -> bytes:
    """Return the serialized model: inputs `numeric` and `categorical`, outputs by the serving convention."""
    fitted = served.fitted
    inputs = []
    if model.numeric:
        inputs.append((NUMERIC, FloatTensorType([None, len(model.numeric)])))
    if model.categorical:
        inputs.append((CATEGORICAL, StringTensorType([None, len(model.categorical)])))
    options = {id(fitted): {"zipmap": False}} if classification else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proto = convert_sklearn(
            fitted,
            name="millrace",  # the default is a random name, and with it other bytes for the same model
            initial_types=inputs,
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        )
    if not classification:
        _rename(proto.graph, proto.graph.output[0].name, "prediction")
    if served.narrow is not None:
        narrow.put_in_front(proto, served.narrow, OPSET)
    if classification:
        served.coding.put_behind(proto.graph)
    _import_once(proto)
    facts: dict[str, Any] = {"numeric": list(model.numeric), "categorical": list(model.categorical)}
    if classification:
        facts["classes"] = served.classes
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = METADATA + key, json.dumps(value)
    return bytes(proto.SerializeToString(deterministic=True))


def _import_once(proto: Any) -> None:
    # skl2onnx imports the default domain twice when a graph uses none of its operators.
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        versions[entry.domain] = max(entry.version, versions.get(entry.domain, 0))
    del proto.opset_import[:]
    for domain, version in sorted(versions.items()):
        proto.opset_import.add(domain=domain, version=version)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]
    for output in graph.output:
        if output.name == old:
            output.name = new
