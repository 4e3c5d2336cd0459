"""What the users of the workloads write."""

from __future__ import annotations

from typing import Any, Final

from millrace.api import keys
from millrace.clients.store import Manifest
from millrace_harness.kubelet import digest_of

SOURCE: Final = "s3://lake/churn.csv"


def dataset(name: str = "churn", source: str = SOURCE, **spec: Any) -> Manifest:
    """A Dataset of one CSV file."""
    return _manifest("Dataset", name, {"source": {"storageUri": source}, "format": "CSV", **spec})


def training_run(name: str = "churn-lr", *, author: str = "alice", **more: Any) -> Manifest:
    """A run on the Dataset `churn` for the model `churn`. `parameters` say what it does: see `kubelet`."""
    spec: dict[str, Any] = {
        "author": author,
        "datasetRef": {"name": "churn"},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {
            "metrics": ["roc_auc"],
            "gates": [
                {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}},
                {"name": "not-worse", "metric": "roc_auc", "baseline": {"maxRegression": 0.01}},
            ],
        },
        "output": {"modelName": "churn"},
    }
    return _manifest("TrainingRun", name, {**spec, **more})


def model(version: int, content: str = "", name: str = "churn", **spec: Any) -> Manifest:
    """An imported Model; `content` makes its digest, its name by default."""
    full = f"{name}-{version}"
    uri = f"s3://millrace/imported/{full}"
    tensor = {"name": "numeric", "datatype": "FP32", "shape": [-1, 4]}
    filled: dict[str, Any] = {
        "modelName": name,
        "version": str(version),
        "artifact": {"storageUri": f"{uri}/model.onnx", "digest": digest(content or full)},
        "signature": {"inputs": [tensor], "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}]},
        "goldenSetUri": f"{uri}/golden.json",
        "referenceProfileUri": f"{uri}/profile.json",
        "provenance": {"author": "alice"},
    }
    manifest = _manifest("Model", full, {**filled, **spec})
    manifest["metadata"]["labels"] = {keys.MODEL_NAME: name}
    return manifest


def digest(content: str) -> str:
    """The digest of an imported Model of that content."""
    return digest_of("imported", content)


def deployment(name: str = "churn", *, steps: list[Manifest] | None = None, **spec: Any) -> Manifest:
    """A Deployment that follows the model `churn`, at once or in `steps`."""
    filled: dict[str, Any] = {} if "modelRef" in spec else {"modelSelector": {"modelName": "churn"}}
    if steps is not None:
        filled["strategy"] = {"canary": {"steps": steps}}
    return _manifest("Deployment", name, {**filled, **spec})


def weight(percent: int) -> Manifest:
    return {"setWeight": percent}


def pause(duration: str = "2s") -> Manifest:
    return {"pause": {"duration": duration}}


def analysis(limit: float = 0.1, samples: int = 100, builtin: str = "ErrorRate") -> Manifest:
    """A step that passes on some hundred good requests, and never without any: without callers the canary is held."""
    name = "errors" if builtin == "ErrorRate" else "latency"
    metric = {"name": name, "builtin": builtin, "thresholdRange": {"max": limit}, "minSamples": samples}
    return {"analysis": {"metrics": [metric], "maxDuration": "100h"}}


STEPS: Final = [weight(25), pause(), analysis(), weight(50)]
"""A canary that every good model passes."""


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": keys.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
