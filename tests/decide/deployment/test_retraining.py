"""From drift to a new TrainingRun: once, within the limits, and only with new data."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

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
RETRAINING = {
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


@pytest.fixture
def watched() -> SimulatedCluster:
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


def test_drift_starts_a_clone_of_the_run_once(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(5)
    assert watched.created == [], "drift has not lasted for 60 s"
    watched.settle(60)
    (clone,) = watched.created
    assert clone["spec"]["author"] == "ada", "a clone keeps the author"
    assert clone["metadata"]["labels"]["millrace.dev/deployment-uid"] == "uid-churn"
    assert clone["metadata"]["labels"]["millrace.dev/trigger"] == "drifted"
    assert "ownerReferences" not in clone["metadata"], "deleting a Deployment never deletes history"
    assert len(clone["metadata"]["name"]) <= 52
    assert api.TrainingRunSpec.model_validate(clone["spec"]).output.model_name == "churn"
    assert [event.reason for event in watched.events].count("RetrainingStarted") == 1
    assert watched.status.retraining is not None
    assert (watched.status.retraining.state, watched.status.retraining.last_run) == (
        "Running",
        clone["metadata"]["name"],
    )
    assert watched.pending() == []


def test_a_clock_that_was_set_back_does_not_put_a_drift_trigger_off(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(5)
    assert condition(watched, "DriftDetected")[0] == "True"
    watched.now -= timedelta(hours=1)
    watched.settle(5)
    assert watched.created == [], "60 s from then on"
    watched.settle(60)
    assert len(watched.created) == 1


def test_a_run_that_a_person_deleted_is_not_started_again_for_the_same_cause(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(60)
    watched.runs = []
    watched.settle(600)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")
    watched.dataset = dataset(3)
    watched.settle(2)
    assert len(watched.created) == 2, "new data is another cause"


def test_without_new_data_no_run_starts_until_a_version_is_frozen(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(60)
    assert watched.created == []
    assert condition(watched, "DriftDetected") == ("True", "DriftDetected")
    assert condition(watched, "RetrainingBlocked") == ("True", "NoNewData")
    watched.dataset = dataset(2)
    watched.settle(1)
    assert len(watched.created) == 1


def test_a_start_that_no_status_reports_is_reported_once_and_not_repeated(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(3)
    watched.tick(60)
    before = watched.status
    watched.pass_once()
    assert len(watched.created) == 1
    watched.deployment = watched.deployment.model_copy(update={"status": before})  # the status write was lost
    watched.events.clear()
    watched.settle(10)
    assert len(watched.created) == 1
    assert [event.reason for event in watched.events].count("RetrainingStarted") == 1


def test_no_run_starts_while_a_rollout_is_under_way(watched: SimulatedCluster) -> None:
    watched.change(strategy={"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}]}})
    watched.add(make_model("churn", 2))
    watched.settle(3)
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(60)
    assert watched.created == []
    assert condition(watched, "RetrainingBlocked") == ("True", "RolloutInProgress")


def test_the_cooldown_and_the_day_limit_the_starts(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched)
    watched.dataset = dataset(3)
    watched.settle(5)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "CoolingDown")
    watched.settle(10, seconds=120)
    assert len(watched.created) == 2
    finish(watched)
    watched.dataset = dataset(4)
    watched.settle(10, seconds=120)
    assert len(watched.created) == 2
    assert condition(watched, "RetrainingBlocked") == ("True", "DailyLimit")
    assert watched.status.retraining is not None
    assert watched.status.retraining.runs_last24h == 2
    watched.now += timedelta(hours=24)
    watched.settle(2)
    assert len(watched.created) == 3


def test_runs_under_way_are_enough(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    watched.dataset = dataset(3)
    watched.settle(10, seconds=300)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "ConcurrencyLimit")


def test_a_run_that_failed_is_not_started_again_for_the_same_cause(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched)
    watched.settle(10, seconds=3600)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")


def test_nothing_starts_from_runs_that_were_not_read_live(watched: SimulatedCluster) -> None:
    from millrace.decide import deployment

    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(3)
    watched.tick(60)
    plan = deployment.decide(watched.observe().model_copy(update={"runs_are_live": False}))
    assert plan.creates == ()
    assert plan.wake_after is not None


def test_drift_is_latched_until_another_model_serves(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(2)
    drifts(watched, Verdict("None", 0.01, -1.0, "tenure", 10**6, 0.0))
    watched.settle(20)
    assert condition(watched, "DriftDetected") == ("True", "DriftDetected")
    assert [event.reason for event in watched.events].count("DriftDetected") == 1
    watched.add(make_model("churn", 2))
    watched.settle(10)
    assert condition(watched, "DriftDetected") == ("Unknown", "InsufficientData")


def test_a_verdict_that_hardly_changes_is_not_written(watched: SimulatedCluster) -> None:
    drifts(watched, Verdict("None", 0.021, -0.1, "tenure", 1000, 0.01))
    watched.settle(10)
    written = watched.status
    for rows in range(1001, 1200, 20):
        drifts(watched, Verdict("None", 0.0213, -0.1, "tenure", rows, 0.0101))
        watched.tick(60)
        assert watched.pending() == []
    assert watched.status == written
    drifts(watched, Verdict("None", 0.05, -0.1, "age", 1300, 0.02))
    watched.settle(10)
    assert watched.status.monitoring is not None
    assert watched.status.monitoring.drift is not None
    assert watched.status.monitoring.drift.worst_feature == "age"


def test_a_verdict_waits_for_the_interval_and_is_not_forgotten(watched: SimulatedCluster) -> None:
    drifts(watched, Verdict("None", 0.02, -0.1, "tenure", 1000, 0.01))
    watched.pass_once()
    drifts(watched, Verdict("None", 0.05, -0.1, "age", 1300, 0.02))
    watched.tick(4)
    plan = watched.pass_once()
    assert plan.wake_after == pytest.approx(6, abs=1)
