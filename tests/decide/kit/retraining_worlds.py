"""Worlds of a Deployment whose drift starts runs: what its tests share."""

from __future__ import annotations

from typing import Any

from millrace import api
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift
from millrace_kit.simulation import SimulatedCluster, make_model

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


def watched_cluster() -> SimulatedCluster:
    """churn-1, trained on version 1 of customers, serves; drift is monitored."""
    cluster = SimulatedCluster()
    cluster.change(monitoring={"drift": {"interval": "10s"}}, retraining=RETRAINING)
    trained = {"name": "customers", "version": 1, "digest": f"sha256:{1:064x}"}
    cluster.add(make_model("churn", 1, dataset=trained))
    cluster.run = api.TrainingRun.model_validate({"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": SPEC})
    cluster.dataset = dataset(1)
    cluster.settle(5)
    return cluster


def drifts(cluster: SimulatedCluster, verdict: Verdict = DRIFTED) -> None:
    stable = cluster.status.stable
    assert stable is not None
    cluster.drift = RevisionDrift(revision=stable.revision, verdict=verdict)


def finish(cluster: SimulatedCluster, kind: str = "Failed", **status: Any) -> None:
    done = {"type": kind, "status": "True", "reason": "GatesFailed", "lastTransitionTime": "2026-11-21T08:00:00Z"}
    cluster.runs = [
        run.model_copy(update={"status": api.TrainingRunStatus.model_validate({"conditions": [done], **status})})
        for run in cluster.runs
    ]


def condition(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = next(one for one in cluster.status.conditions if one.type == kind)
    return found.status, found.reason


def drifting(**retraining: Any) -> SimulatedCluster:
    """churn-1, trained on version 1 of customers, serves and drifts; version 2 is there, and nothing was started yet.

    `retraining` are fields of the spec's in place of those of `RETRAINING`.
    """
    cluster = SimulatedCluster()
    cluster.change(monitoring={"drift": {"interval": "10s"}}, retraining={**RETRAINING, **retraining})
    trained = {"name": "customers", "version": 1, "digest": f"sha256:{1:064x}"}
    cluster.add(make_model("churn", 1, dataset=trained))
    cluster.run = api.TrainingRun.model_validate({"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": SPEC})
    cluster.dataset = dataset(2)
    cluster.settle(5)
    assert cluster.status.stable is not None
    cluster.drift = RevisionDrift(revision=cluster.status.stable.revision, verdict=DRIFTED)
    return cluster


def end_runs(cluster: SimulatedCluster, kind: str = "Failed", reason: str = "GatesFailed", **status: Any) -> None:
    """Every run ends so that has not ended yet."""
    done = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": cluster.now}
    ended = api.TrainingRunStatus.model_validate({"conditions": [done], **status})
    cluster.runs = [run if run.status.conditions else run.model_copy(update={"status": ended}) for run in cluster.runs]


def told(cluster: SimulatedCluster, kind: str = "RetrainingBlocked") -> str:
    """The message of that condition."""
    return next(one.message for one in cluster.status.conditions if one.type == kind)
