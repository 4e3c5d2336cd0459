"""Worlds of a Dataset: builders shared by its tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.contract.report import SnapshotOutcome, SnapshotReport, Splits, termination_message
from millrace.decide import dataset as decisions
from millrace.decide.dataset import Observation
from millrace.decide.job import Container, Job, Pod
from millrace_kit.simulation import PLATFORM

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def make_dataset(*, interval: str | None = None, generation: int = 1, **status: object) -> Dataset:
    spec: dict[str, object] = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
    if interval is not None:
        spec["refresh"] = {"interval": interval}
    metadata = {"name": "churn", "namespace": "ml", "uid": "u-1", "generation": generation}
    return Dataset.model_validate({"kind": "Dataset", "metadata": metadata, "spec": spec, "status": status})


def world(dataset: Dataset, *jobs: Job, now: datetime = NOW) -> Observation:
    return Observation(now=now, dataset=dataset, jobs=jobs, platform=PLATFORM)


def after(seen: Observation, *jobs: Job, now: datetime | None = None) -> Observation:
    """The world after the plan was carried out, with these Jobs in it."""
    plan = decisions.decide(seen)
    dataset = seen.dataset.model_dump(by_alias=True) | {"status": plan.status}
    return Observation(now=now or seen.now, dataset=Dataset.model_validate(dataset), jobs=jobs, platform=PLATFORM)


def frozen(digest: str = A, rows: int = 100) -> SnapshotReport:
    return SnapshotReport(
        SnapshotOutcome.FROZEN,
        digest=digest,
        source_digest=B,
        uri=f"s3://millrace/datasets/ml/churn/{digest[7:23]}/",
        rows=rows,
        bytes=1234,
        splits=Splits(80, 10, 10),
    )


def refused(reason: str, message: str = "it is so") -> SnapshotReport:
    return SnapshotReport(SnapshotOutcome.REJECTED, reason=reason, message=message)


def finished(
    name: str, report: SnapshotReport | str | None, *, exit_code: int = 0, at: datetime = NOW, **more: Any
) -> Job:
    text = report if isinstance(report, str) else termination_message(report) if report is not None else ""
    container = Container(name="snapshot", state="Terminated", message=text, exit_code=exit_code)
    phase = "Succeeded" if exit_code == 0 else "Failed"
    pod = Pod(name=f"{name}-x", phase=phase, containers=(container,))
    fields = {"state": phase, "finished": at, "pods": (pod,), **more}
    return Job.model_validate({"name": name, "uid": f"uid-{name}", **fields})


def looked(report: SnapshotReport | str | None, *, interval: str | None = None, **more: Any) -> Observation:
    """A Dataset whose first look has just been answered; the Job is still there."""
    looking = after(world(make_dataset(interval=interval)))
    job = finished(str(looking.dataset.status.job_name), report, **more)
    return after(looking.model_copy(update={"jobs": (job,)}), job)


def truth(seen: Observation, kind: str) -> tuple[str, str]:
    found = conditions.find(seen.dataset.status.conditions, kind)
    assert found is not None, kind
    return found.status, found.reason


def variables(job: dict[str, object]) -> list[dict[str, str]]:
    return job["spec"]["template"]["spec"]["containers"][0]["env"]  # type: ignore[index,no-any-return]


def second_look(report: SnapshotReport | None, **more: Any) -> Observation:
    due = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": NOW + timedelta(minutes=10)})
    looking = after(due)
    job = finished(str(looking.dataset.status.job_name), report, at=NOW + timedelta(minutes=10), **more)
    return after(looking.model_copy(update={"jobs": (job,)}), job)
