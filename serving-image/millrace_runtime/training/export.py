"""A fitted pipeline to ONNX bytes, and the proof that both answer alike."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from millrace.contract.environment import PROTECTIVE
from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.training import fit
from millrace_runtime.training.features import METADATA, Layout, Tensors

OPSET = 18
ML_OPSET = 3
TOLERANCE = 1e-4
PARITY_ROWS = 4096


def to_onnx(fitted: Any, model: Layout, *, classification: bool) -> bytes:
    """Return the serialized model: inputs `numeric` and `categorical`, outputs by the serving convention."""
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
    _import_once(proto)
    facts: dict[str, Any] = {"numeric": list(model.numeric), "categorical": list(model.categorical)}
    if classification:
        facts["classes"] = fitted.classes_.tolist()
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = METADATA + key, json.dumps(value)
    return bytes(proto.SerializeToString(deterministic=True))


def check_parity(fitted: Any, model: bytes, rows: Tensors, *, classification: bool) -> float:
    """Return the largest difference, relative to max(1, |value|). Raises StageError(ParityFailed) above 1e-4."""
    sample = {name: tensor[:PARITY_ROWS] for name, tensor in rows.items()}
    outputs = _run(model, sample)
    if classification:
        want, got = fitted.predict_proba(fit.frame(sample)), outputs["probabilities"]
    else:
        want, got = fitted.predict(fit.frame(sample)), outputs["prediction"].ravel()
    difference = _difference(np.asarray(want), np.asarray(got))
    if not difference <= TOLERANCE:
        text = f"The export differs from the estimator by {difference:.3g}, at most {TOLERANCE:g} is allowed"
        raise StageError(Reason.PARITY_FAILED, f"{text}. Choose another estimator or other parameters.")
    return difference


def _difference(want: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    if want.shape != got.shape:
        return float("inf")
    return float(np.max(np.abs(want - got) / np.maximum(1.0, np.abs(want)), initial=0.0))


def _run(model: bytes, rows: Tensors) -> dict[str, npt.NDArray[Any]]:
    os.environ.update(PROTECTIVE)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, rows), strict=True))


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
