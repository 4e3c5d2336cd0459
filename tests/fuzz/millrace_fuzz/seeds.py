"""Where mutation starts: valid specs that together use every field of every kind and come to rest in seconds."""

from __future__ import annotations

import json
from typing import Any

from .schema import Manifest

DATASET, MODEL_NAME, MODEL, RUN = "rows", "served", "served-1", "run-seed"
"""Objects that stand for the whole run: a frozen Dataset, an approved Model, a TrainingRun to clone."""
DIGEST = f"sha256:{'2c' * 32}"
OTHER_DIGEST = f"sha256:{'5f' * 32}"
ID_DIGEST = f"0f7a41c2-{'5f' * 32}"
"""Of somebody who is to be forgotten."""


def _uri(file: str) -> str:
    return f"s3://millrace/models/fuzz/{file}"


def tensor(name: str, datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2)) -> Manifest:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def approval(decision: str = "Approve", user: str = "admin") -> Manifest:
    return {"user": user, "decision": decision, "digest": DIGEST, "comment": "y", "time": "2026-11-20T09:00:00Z"}


def analysis(*metrics: Manifest) -> Manifest:
    return {"metrics": list(metrics), "maxDuration": "30m"}


ERRORS = {
    "name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.01}, "minSamples": 200, "confidence": 0.95,
}  # fmt: skip
COMPARED = {"name": "beside-stable", "builtin": "ErrorRate", "compare": {"maxIncrease": 0.02}, "minSamples": 300}
LATENCY = {"name": "latency", "builtin": "LatencyP95", "thresholdRange": {"max": 0.25}, "minSamples": 500}
RESOURCES = {
    "requests": {"cpu": "250m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "512Mi", "nvidia.com/gpu": "1"},
}

_DATASET = {
    "source": {"storageUri": "s3://lake/churn/", "secretRef": {"name": "lake-reader"}},
    "format": "Parquet",
    "schema": {
        "mode": "Strict",
        "fields": [
            {"name": "tenure", "type": "Int64", "role": "Feature", "nullable": True, "minimum": 0, "maximum": 1200},
            {"name": "plan", "type": "Category", "allowedValues": ["basic", "plus", "pro"]},
            {"name": "churned", "type": "Bool", "role": "Label", "nullable": False},
            {"name": "customer", "type": "String", "role": "Id"},
            {"name": "health", "type": "Category", "role": "Sensitive"},
        ],
    },
    "refresh": {"interval": "15m"},
    "validation": {
        "rules": [
            {"name": "enough-rows", "rowCount": {"min": 10, "max": 5000000}},
            {"name": "tenure-known", "nullFraction": {"field": "tenure", "max": 0.01}},
            {"name": "one-row-a-customer", "unique": {"fields": ["tenure", "plan"]}},
        ]
    },
    "split": {
        "method": "Stratified",
        "field": "churned",
        "seed": 7,
        "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1},
    },
    "erasure": {"field": "customer", "keyRef": {"name": "churn-erasure"}, "ids": {ID_DIGEST: "DSR-1042"}},
    "worker": {"resources": RESOURCES},
    "retention": {
        "mode": "Delete",
        "gracePeriod": "1m",
        "versionHistoryLimit": 3,
        "modelHistoryLimit": 3,
        "successfulRunsHistoryLimit": 2,
        "failedRunsHistoryLimit": 0,
        "autoApproved": "Delete",
    },
}
_DATASET_SMALL = {
    "source": {"storageUri": "s3://lake/rent.csv"},
    "format": "CSV",
    "csv": {
        "delimiter": ";",
        "quote": "'",
        "nullValues": ["-", "unknown"],
        "decimal": ",",
        "encoding": "Windows-1252",
        "compression": "Gzip",
    },
    "schema": {"mode": "Infer"},
    "split": {"method": "Random", "groupBy": ["street", "town"], "fractions": {"train": 0.75, "test": 0.25}},
}
_RUN = {
    "author": "alice@example.com",
    "appliedBy": "flux",
    "datasetRef": {"name": DATASET},
    "trainer": {
        "builtin": {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "task": "Classification"},
        "resourcesPerNode": RESOURCES,
    },
    "parameters": {"n_estimators": "200", "learning_rate": "0.05"},
    "seed": 42,
    "evaluation": {
        "metrics": ["roc_auc", "log_loss", "brier"],
        "gates": [
            {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.1, "max": 0.99}},
            {"name": "not-worse", "metric": "roc_auc", "baseline": {"alias": "champion", "maxRegression": 0.5}},
            {"name": "better", "metric": "brier", "baseline": {"minImprovement": 0.0}},
        ],
    },
    "output": {"modelName": "trained", "approvalPolicy": {"required": 1, "distinctFromAuthor": True}},
    "backoffLimit": 2,
    "activeDeadlineSeconds": 3600,
    "ttlSecondsAfterFinished": 600,
    "worker": {"resources": RESOURCES},
}
_RUN_SMALL = {
    "author": "admin",
    "datasetRef": {"name": DATASET},
    "trainer": {"builtin": {"estimator": "sklearn.linear_model.Ridge", "task": "Regression"}},
    "evaluation": {"metrics": ["rmse"]},
    "output": {"modelName": "fitted", "approvalPolicy": {"required": 0, "distinctFromAuthor": False}},
}
_MODEL = {
    "modelName": "churn",
    "version": "7",
    "artifact": {"storageUri": _uri("7/model.onnx"), "digest": DIGEST, "sizeBytes": 812331},
    "signature": {
        "inputs": [tensor("numeric"), tensor("categorical", "BYTES", (-1, 1))],
        "outputs": [tensor("label", "INT64", (-1,)), tensor("probabilities")],
    },
    "provenance": {
        "trainingRunRef": {"name": "churn-gb"},
        "author": "alice@example.com",
        "appliedBy": "flux",
        "dataset": {"name": "churn", "version": 12, "digest": OTHER_DIGEST},
    },
    "goldenSetUri": _uri("7/golden.json"),
    "referenceProfileUri": _uri("7/profile.json"),
    "approvalPolicy": {"required": 2, "distinctFromAuthor": True},
    "approvals": [approval(), approval("Revoke")],
}
_MODEL_SMALL = {
    "modelName": "rent",
    "version": "1",
    "artifact": {"storageUri": _uri("1/model.onnx"), "digest": DIGEST},
    "signature": {"inputs": [tensor("numeric")], "outputs": [tensor("prediction", shape=(-1, 1))]},
    "goldenSetUri": _uri("1/golden.json"),
    "referenceProfileUri": _uri("1/profile.json"),
}
_DEPLOYMENT = {
    "modelSelector": {"modelName": MODEL_NAME, "policy": "LatestApproved"},
    "replicas": 1,
    "server": {"resources": RESOURCES, "terminationGracePeriodSeconds": 60, "upgradePolicy": "Rolling"},
    "strategy": {
        "progressDeadline": "15m",
        "canary": {
            "steps": [{"setWeight": 5}, {"analysis": analysis(ERRORS, COMPARED)}, {"pause": {"duration": "10m"}}],
            "analysis": analysis(ERRORS, LATENCY, COMPARED),
            "disableDefaults": ["ErrorRate"],
        },
        "allowSignatureChange": "served-2",
    },
    "monitoring": {"drift": {"interval": "1m", "minSamples": 1000, "falseAlarmRate": 0.01, "margin": 0.05}},
    "retraining": {
        "trainingRunRef": {"name": RUN},
        "triggers": [{"name": "drifted", "drift": {"for": "10m"}}],
        "limits": {"cooldown": "12h", "maxRunsPerDay": 1, "maxConcurrent": 1},
    },
    "actions": {
        **{name: {"revision": "3aa210c4", "reason": "wrong data"} for name in ("abort", "retry", "unquarantine")},
        "acknowledgeDrift": {"revision": "3aa210c4", "evaluatedTime": "2026-11-20T09:00:00Z", "reason": "a campaign"},
    },
}
_DEPLOYMENT_SMALL = {"modelRef": {"name": MODEL}, "replicas": 1}

SPECS: dict[str, dict[str, Manifest]] = json.loads(
    # A copy in which nothing is shared: what is changed in one place stays as it was in another.
    json.dumps(
        {
            "Dataset": {"full": _DATASET, "small": _DATASET_SMALL},
            "TrainingRun": {"full": _RUN, "small": _RUN_SMALL},
            "Model": {"full": _MODEL, "small": _MODEL_SMALL},
            "Deployment": {"full": _DEPLOYMENT, "small": _DEPLOYMENT_SMALL},
        }
    )
)


def manifest(kind: str, name: str, namespace: str, spec: Any) -> Manifest:
    """A whole object."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
