"""Crashes and losses that once ended wrongly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from millrace.api import conditions
from millrace.api.training_run import TrainingRun
from millrace.decide import training_run as decisions
from millrace.decide.job import Job
from millrace.decide.training_run import ModelView, Observation
from millrace.render.pod import Platform

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
SPEC = {
    "author": "ada",
    "datasetRef": {"name": "churn"},
    "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
    "evaluation": {
        "metrics": ["roc_auc"],
        "gates": [{"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}}],
    },
    "output": {"modelName": "churn"},
}
STATUS = {
    "resolved": {"dataset": {"name": "churn", "version": 1, "digest": DIGEST}, "datasetUri": "s3://millrace/d/"},
    "jobName": "gb-12345678",
    "stage": "Evaluating",
}
MODEL = ModelView(
    name="churn-5",
    model_name="churn",
    version=5,
    digest=DIGEST,
    storage_uri="s3://millrace/models/ml/churn/run-uid/model.onnx",
    run_uid="run-uid",
)
FORGERIES = [
    MODEL.model_copy(update={"run_uid": "another"}),
    MODEL.model_copy(update={"storage_uri": "s3://millrace/models/ml/churn/another/model.onnx"}),
    MODEL.model_copy(update={"model_name": "another"}),
]


def seen(*models: ModelView, **job: Any) -> Observation:
    """A run whose pod, and with it the report, is gone; without arguments for it the Job is gone too."""
    metadata = {"name": "gb", "namespace": "ml", "uid": "run-uid", "generation": 1}
    run = TrainingRun.model_validate({"metadata": metadata, "spec": SPEC, "status": STATUS})
    platform = Platform(trainer_image="t", server_image="s", router_image="r", store_uri="s3://x", store_secret="y")
    found = Job(name="gb-12345678", uid="job-uid", finished=NOW, **job) if job else None
    return Observation(now=NOW, run=run, job=found, models=models, models_are_live=bool(job), platform=platform)


def truth(found: Observation, kind: str) -> tuple[str, str] | None:
    status = decisions.decide(found).status
    run = TrainingRun.model_validate({"metadata": {"name": "gb"}, "spec": SPEC, "status": status})
    condition = conditions.find(run.status.conditions, kind)
    return (condition.status, condition.reason) if condition is not None else None


def test_a_registered_run_whose_pod_vanished_is_complete_by_its_model() -> None:
    lost = seen(MODEL, state="Succeeded")
    assert truth(lost, "Complete") == ("True", "ModelRegistered")
    assert truth(lost, "GatesPassed") == ("True", "AllPassed")
    plan = decisions.decide(lost)
    assert plan.status is not None
    assert plan.status["modelRef"] == {"name": "churn-5"}
    assert plan.creates == ()


def test_a_registered_run_whose_job_vanished_does_not_train_again() -> None:
    assert truth(seen(MODEL), "Complete") == ("True", "ModelRegistered")
    assert decisions.decide(seen(MODEL)).children == ()


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_model_of_another_run_ends_no_run(forged: ModelView) -> None:
    assert truth(seen(forged, state="Succeeded"), "Failed") == ("True", "PodLost")
    assert decisions.decide(seen(forged)).children


def test_a_failed_job_is_not_made_good_by_a_model() -> None:
    failed = seen(MODEL, state="Failed", reason="BackoffLimitExceeded")
    assert truth(failed, "Failed") == ("True", "PodLost")


def test_a_run_whose_pod_vanished_before_it_registered_has_failed() -> None:
    assert truth(seen(state="Succeeded"), "Failed") == ("True", "PodLost")
