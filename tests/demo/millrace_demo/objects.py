"""The four short files of the story."""

from __future__ import annotations

from typing import Any

from . import data

API_VERSION = "millrace.dev/v1alpha1"
Manifest = dict[str, Any]


def dataset(name: str, uri: str, interval: str | None = "15s") -> Manifest:
    """The rows under `uri`, looked at every `interval`."""
    spec: Manifest = {
        "source": {"storageUri": uri},
        "format": "CSV",
        "schema": {"mode": "Strict", "fields": data.schema_fields()},
        "validation": {
            "rules": [
                {"name": "enough-rows", "rowCount": {"min": 1000}},
                {"name": "label-known", "nullFraction": {"field": data.LABEL, "max": 0.0}},
            ]
        },
        "split": {
            "method": "Stratified",
            "field": data.LABEL,
            "seed": 7,
            "fractions": {"train": 0.7, "validation": 0.1, "test": 0.2},
        },
    }
    if interval:
        spec["refresh"] = {"interval": interval}
    return {"apiVersion": API_VERSION, "kind": "Dataset", "metadata": {"name": name}, "spec": spec}


def training_run(
    name: str, dataset_name: str, model_name: str, author: str, required: int = 0, **changes: Any
) -> Manifest:
    """A gradient boosting run with a floor and a champion gate; `changes` replace fields of its spec."""
    spec: Manifest = {
        "author": author,
        "datasetRef": {"name": dataset_name},
        "trainer": {
            "builtin": {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "task": "Classification"},
            "resourcesPerNode": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        },
        "parameters": {"n_estimators": "60", "max_depth": "3"},
        "seed": 42,
        "evaluation": {
            "metrics": ["roc_auc", "accuracy", "log_loss"],
            "gates": [
                {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}},
                {"name": "not-worse", "metric": "roc_auc", "baseline": {"alias": "champion", "maxRegression": 0.005}},
            ],
        },
        "output": {"modelName": model_name, "approvalPolicy": {"required": required}},
        "backoffLimit": 1,
        "activeDeadlineSeconds": 600,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingRun",
        "metadata": {"name": name},
        "spec": {**spec, **changes},
    }


def canary_steps(pause: str = "5s") -> list[Manifest]:
    """25 % and 50 %, each judged before the next."""
    return [{"setWeight": 25}, {"pause": {"duration": pause}}, {"setWeight": 50}, {"pause": {"duration": pause}}]


def analysis() -> Manifest:
    """Errors and latency of the canary, watched throughout."""
    return {
        "metrics": [
            {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}, "minSamples": 200},
            {"name": "latency", "builtin": "LatencyP95", "thresholdRange": {"max": 0.5}, "minSamples": 200},
        ],
        "maxDuration": "5m",
    }


def deployment(name: str, model_name: str, run_name: str | None, replicas: int = 1, **changes: Any) -> Manifest:
    """The newest approved version behind a canary, with drift watched and retraining within limits."""
    spec: Manifest = {
        "modelSelector": {"modelName": model_name, "policy": "LatestApproved"},
        "replicas": replicas,
        "server": {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}},
        "strategy": {"canary": {"steps": canary_steps(), "analysis": analysis()}},
    }
    if run_name is not None:
        spec["monitoring"] = {
            "drift": {"interval": "5s", "minSamples": 500, "falseAlarmRate": 0.01, "margin": 0.05},
        }
        spec["retraining"] = {
            "trainingRunRef": {"name": run_name},
            "triggers": [{"name": "drifted", "drift": {"for": "5s"}}],
            "limits": {"cooldown": "10m", "maxRunsPerDay": 2, "maxConcurrent": 1},
        }
    return {"apiVersion": API_VERSION, "kind": "Deployment", "metadata": {"name": name}, "spec": {**spec, **changes}}
