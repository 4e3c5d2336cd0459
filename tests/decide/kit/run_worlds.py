"""Worlds of a TrainingRun: builders shared by its tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.api.training_run import TrainingRun
from millrace.contract import report as reports
from millrace.contract.report import Measurement, TrainingOutcome, TrainingReport
from millrace.decide import training_run as decisions
from millrace.decide.job import Container, Job, Pod
from millrace.decide.training_run import ModelView, Observation
from millrace_kit.simulation import PLATFORM

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
NOT_WORSE = {"name": "not-worse", "metric": "roc_auc", "baseline": {"maxRegression": 0.005}}
FLOOR = {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}}
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
VERSION = {
    "version": 3,
    "digest": A,
    "uri": "s3://millrace/d/",
    "rows": 9,
    "bytes": 9,
    "createdTime": "2026-11-21T07:00:00Z",
}
CHAMPION = ModelView(
    name="churn-4", model_name="churn", version=4, digest=B, storage_uri="s3://millrace/4.onnx", aliases=("champion",)
)


def make_run(*, gates: list[dict[str, Any]] | None = None, name: str = "churn-gb", **status: object) -> TrainingRun:
    spec = {
        "author": "ada",
        "datasetRef": {"name": "churn"},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {"metrics": ["roc_auc"], "gates": gates or []},
        "output": {"modelName": "churn", "approvalPolicy": {"required": 0}},
        "activeDeadlineSeconds": 600,
    }
    metadata = {"name": name, "namespace": "ml", "uid": "run-uid", "generation": 1}
    return TrainingRun.model_validate({"kind": "TrainingRun", "metadata": metadata, "spec": spec, "status": status})


def make_dataset(current: dict[str, Any] | None = VERSION, message: str = "") -> Dataset:
    spec = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
    status = {"current": current, "message": message}
    return Dataset.model_validate({"metadata": {"name": "churn", "namespace": "ml"}, "spec": spec, "status": status})


def world(run: TrainingRun, **more: Any) -> Observation:
    return Observation.model_validate({"now": NOW, "run": run, "platform": PLATFORM, **more})


def after(seen: Observation, **more: Any) -> Observation:
    """The world after the plan was carried out, changed as said."""
    plan = decisions.decide(seen)
    run = seen.run
    if plan.status is not None:
        run = TrainingRun.model_validate(run.model_dump(by_alias=True) | {"status": plan.status})
    return seen.model_copy(update={"run": run, **more})


def resolved(**more: Any) -> Observation:
    gates = more.pop("gates", None)
    return after(world(make_run(gates=gates), dataset=make_dataset(), models=more.pop("models", (CHAMPION,))), **more)


def pod(
    *,
    fetch: Any = 0,
    train: Any = None,
    evaluate: Any = None,
    message: str = "",
    reason: str = "",
    phase: str = "Running",
) -> Pod:
    """Exit codes of ended containers; None waits, `...` runs. The message belongs to the last that ended."""
    codes = {"fetch": fetch, "train": train, "evaluate": evaluate}
    ended = [name for name, code in codes.items() if isinstance(code, int)]
    containers = [
        Container(
            name=name,
            state="Terminated" if isinstance(code, int) else "Running" if code is ... else "Waiting",
            exit_code=code if isinstance(code, int) else None,
            message=message if ended and name == ended[-1] else "",
            reason=reason if ended and name == ended[-1] else "",
        )
        for name, code in codes.items()
    ]
    return Pod(name="p", phase=phase, containers=tuple(containers))


def make_job(seen: Observation, *pods: Pod, **more: Any) -> Job:
    return Job.model_validate({"name": seen.run.status.job_name, "uid": "job-uid", "pods": pods, **more})


def succeeded(seen: Observation, message: str) -> Job:
    return make_job(
        seen, pod(fetch=0, train=0, evaluate=0, message=message, phase="Succeeded"), state="Succeeded", finished=NOW
    )


def failed(seen: Observation, *pods: Pod, **more: Any) -> Job:
    return make_job(
        seen, *pods, **{"state": "Failed", "reason": "BackoffLimitExceeded", "failed": 3, "finished": NOW, **more}
    )


def measured(auc: str = "0.7", champion: str | None = "0.68", digest: str = C) -> str:
    report = TrainingReport(
        TrainingOutcome.SUCCEEDED,
        artifact=reports.Artifact("s3://millrace/models/ml/churn/run-uid/model.onnx", digest, 1234),
        signature=reports.Signature(
            inputs=(reports.Tensor("numeric", "FP32", (-1, 4)),), outputs=(reports.Tensor("label", "INT64", (-1,)),)
        ),
        golden_set_uri="s3://millrace/golden.json",
        reference_profile_uri="s3://millrace/profile.json",
        metrics=(Measurement("roc_auc", auc), Measurement("no_such_metric", "1"), Measurement("accuracy", "nan")),
        champion_metrics=(Measurement("roc_auc", champion),) if champion else (),
    )
    return report.to_json()


def truth(seen: Observation, kind: str) -> tuple[str, str]:
    found = conditions.find(seen.run.status.conditions, kind)
    assert found is not None, kind
    return found.status, found.reason


def message(seen: Observation) -> str:
    return str(seen.run.status.message)


def registered(version: int, **more: Any) -> ModelView:
    fields = {
        "name": f"churn-{version}",
        "model_name": "churn",
        "version": version,
        "digest": C,
        "run_uid": "run-uid",
        **more,
    }
    return ModelView.model_validate(fields)


def ready_to_register(*models: ModelView, live: bool = True, message: str | None = None, **more: Any) -> Observation:
    seen = resolved(**more)
    return seen.model_copy(
        update={"job": succeeded(seen, message or measured()), "models": models, "models_are_live": live}
    )
