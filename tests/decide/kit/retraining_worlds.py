"""Worlds of a Deployment whose drift starts runs: what its tests share."""

from __future__ import annotations

from typing import Any

from millrace import api
from millrace.decide.deployment.drift import Verdict

SPEC = {
    "author": "ada",
    "datasetRef": {"name": "customers"},
    "trainer": {"builtin": {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "task": "Classification"}},
    "evaluation": {"metrics": ["roc_auc"], "gates": []},
    "output": {"modelName": "churn"},
}
DRIFTED = Verdict("Drifted", 0.31, 0.2, "tenure", 1200, 0.4)
RETRAINING: dict[str, Any] = {
    "trainingRunRef": {"name": "churn-gb"},
    "triggers": [{"name": "drifted", "drift": {"for": "60s"}}],
    "limits": {"cooldown": "10m", "maxRunsPerDay": 2, "maxConcurrent": 1},
}


def dataset(version: int) -> api.Dataset:
    current = {
        "version": version,
        "digest": f"sha256:{version:064x}",
        "uri": f"s3://millrace/datasets/ml/customers/{version}",
        "rows": 10,
        "bytes": 10,
        "createdTime": "2026-11-20T00:00:00Z",
    }
    return api.Dataset.model_validate(
        {
            "metadata": {"name": "customers", "namespace": "ml"},
            "spec": {"source": {"storageUri": "s3://millrace/raw/"}, "format": "CSV"},
            "status": {"current": current},
        }
    )
