"""What the pods of a training Job report: the stage it is in, and how it ended.

The stage is observed while the pod lives and kept in the status: a Job's deadline deletes the pod and its answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import ValidationError

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.reasons.pipeline import TrainingRunReason as Reason
from millrace.api.training_run import Candidate, Metric, TrainingRun, TrainingRunStatus
from millrace.contract.report import EXIT_INFRASTRUCTURE, Measurement, TrainingOutcome, TrainingReport
from millrace.decide import job as jobs
from millrace.decide import status
from millrace.decide.job import Container, Job, Pod
from millrace.render import training_job

Stage = Literal["Fetching", "Training", "Evaluating"]
FETCHING: Stage = "Fetching"
MOST_ATTEMPTS = 1000
"""What the status has room for; backoffLimit is far below."""
STAGES: dict[str, Stage] = {
    training_job.FETCH: "Fetching",
    training_job.TRAIN: "Training",
    training_job.EVALUATE: "Evaluating",
}
INFRASTRUCTURE = frozenset(
    {
        Reason.PodNotStarted,
        Reason.PodRefused,
        Reason.PodLost,
        Reason.StoreUnavailable,
        Reason.StoreDenied,
        Reason.SourceNotFound,
        Reason.FetchFailed,
        Reason.StageOutOfMemory,
        Reason.MalformedReport,
    }
)
"""Ends of a run that say nothing about the data, the trainer or the model."""
_AWAITED = frozenset({Reason.PodNotStarted.name, Reason.PodRefused.name, Reason.StoreUnavailable.name})
_SILENT = {
    training_job.FETCH: Reason.FetchFailed,
    training_job.TRAIN: Reason.TrainerCrashed,
    training_job.EVALUATE: Reason.EvaluationFailed,
}


class Failure(Frozen):
    """The end of a run. `reason` is what a pod stated, or one of ours; `container` is where to read more."""

    reason: str
    why: str = ""
    container: str = training_job.EVALUATE


class Evaluated(Frozen):
    """What the evaluator left: a candidate and its numbers."""

    candidate: Candidate
    metrics: tuple[Metric, ...] = ()
    champion_metrics: tuple[Metric, ...] = ()


def stage(job: Job) -> Stage | None:
    """Where the live pod is; None when there is none, or all of it is done."""
    current = job.live.current if job.live is not None else None
    return STAGES.get(current.name) if current is not None else None


def held_up(job: Job) -> tuple[Reason, str] | None:
    """What keeps the run from going on, if it is not the run itself: it goes on once this clears."""
    if job.trouble:
        return Reason.PodNotStarted, f"The run's pod cannot start: {job.trouble}"
    if job.refusal:
        return Reason.PodRefused, f"The run's pod is refused: {job.refusal}"
    failed = job.first_failure()
    container = failed[1] if failed is not None else None
    if container is None or container.exit_code != EXIT_INFRASTRUCTURE:
        return None
    current = job.live.current if job.live is not None else None
    if current is not None and current.name != container.name:
        return None  # the next attempt has come further
    said = _stated(container)
    why = said.why.rstrip(".") if said is not None else Reason.StoreUnavailable.sentence
    return Reason.StoreUnavailable, f"{why}. The Job tries again until spec.activeDeadlineSeconds have passed"


def is_no_verdict(run: TrainingRun) -> bool:
    """Whether a run failed for a reason that says nothing about its data, its trainer or its model."""
    failed = conditions.find(run.status.conditions, "Failed")
    return failed is not None and failed.status == "True" and failed.reason in {one.name for one in INFRASTRUCTURE}


def count(job: Job) -> int:
    """Pods that failed, and the one that lives or succeeded."""
    is_one_more = job.state == "Succeeded" or (job.state == "Active" and job.live is not None)
    return min(MOST_ATTEMPTS, max(1, job.failed + is_one_more))


def last_stage(ending: Evaluated | Failure, known: TrainingRunStatus) -> Stage:
    """Where a run ended, also if nobody saw it get there."""
    if isinstance(ending, Evaluated):
        return "Evaluating"
    seen = known.stage or FETCHING
    return seen if ending.reason == Reason.PodLost.name else STAGES.get(ending.container, seen)


def ending(job: Job, known: TrainingRunStatus, deadline_seconds: int) -> Evaluated | Failure:
    """How a finished Job ended. Total."""
    if job.reason == jobs.DEADLINE_EXCEEDED:
        return _out_of_time(job, known, deadline_seconds)
    if job.state == "Failed":
        return _failed(job)
    for _, container in job.termination_messages():
        report = jobs.training_report(container)
        if report is not None:
            return _evaluated(report)
    if next(job.termination_messages(), None) is not None:
        return Failure(reason=Reason.MalformedReport.name)
    return Failure(reason=Reason.PodLost.name)


def _out_of_time(job: Job, known: TrainingRunStatus, deadline_seconds: int) -> Failure:
    where = known.stage or FETCHING
    why = f"The run did not end within {deadline_seconds} s; it hung in stage {where}"
    if known.stage_start_time is not None and job.finished is not None:
        spent = max(0.0, (job.finished - known.stage_start_time).total_seconds())
        why += f" for {spent:.0f} s"
    container = next(name for name, at in STAGES.items() if at == where)
    before = conditions.find(known.conditions, conditions.RECONCILING)
    if before is None or before.reason not in _AWAITED:
        return Failure(reason=Reason.DeadlineExceeded.name, why=why, container=container)
    cause = before.message.split(status.NEXT)[0].split(". The Job tries again")[0]
    return Failure(reason=before.reason, why=f"{why}. {cause}", container=container)


def _failed(job: Job) -> Failure:
    failed = job.first_failure()
    if failed is None:
        return Failure(
            reason=Reason.PodLost.name, why=f"The run's pods are gone, its Job says: {job.message or job.reason}"
        )
    pod, container = failed
    if container is None:
        return Failure(reason=Reason.PodLost.name, why=_pod_says(pod))
    if container.reason == jobs.OUT_OF_MEMORY:
        return _out_of_memory(container)
    said = _stated(container)
    if said is not None:
        return said
    lost = pod.loss_of(container)
    if lost:
        return Failure(reason=Reason.PodLost.name, why=f"Pod {pod.name} failed without an answer ({lost})")
    line = jobs.last_line(container.message)
    why = f"Container {container.name} ended with exit code {container.exit_code}{f': {line}' if line else ''}"
    reason = _SILENT.get(container.name, Reason.TrainerCrashed)
    return Failure(reason=reason.name, why=f"{why}{_tries(job)}", container=container.name)


def _pod_says(pod: Pod) -> str:
    said = ": ".join(part for part in (pod.reason, pod.message) if part)
    return f"Pod {pod.name} failed without an answer{f' ({said})' if said else ''}"


def _out_of_memory(container: Container) -> Failure:
    if container.name == training_job.TRAIN:
        return Failure(reason=Reason.TrainerOutOfMemory.name, container=container.name)
    why = f"Container {container.name} used more memory than there is"
    return Failure(reason=Reason.StageOutOfMemory.name, why=why, container=container.name)


def _stated(container: Container) -> Failure | None:
    """The reason that the stage itself gave."""
    report, failure = jobs.training_report(container), jobs.stage_failure(container)
    if report is not None and report.outcome is TrainingOutcome.FAILED:
        reason, why = report.reason, report.message
    elif failure is not None:
        reason, why = failure.reason, failure.message
    else:
        return None
    otherwise = _SILENT.get(container.name, Reason.TrainerCrashed)
    return Failure(reason=status.wire_reason(reason, otherwise), why=why, container=container.name)


def _tries(job: Job) -> str:
    return f", {job.failed} times" if job.failed > 1 else ""


def _evaluated(report: TrainingReport) -> Evaluated | Failure:
    if report.outcome is TrainingOutcome.FAILED:
        return Failure(reason=status.wire_reason(report.reason, Reason.EvaluationFailed), why=report.message)
    try:
        candidate = Candidate.model_validate(
            {
                "artifact": report.artifact.to_dict() if report.artifact is not None else None,
                "signature": report.signature.to_dict() if report.signature is not None else None,
                "goldenSetUri": report.golden_set_uri,
                "referenceProfileUri": report.reference_profile_uri,
                "cardUri": report.card_uri or None,
            }
        )
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        return Failure(reason=Reason.MalformedReport.name, why=f"The evaluator answered with a {where} that cannot be")
    return Evaluated(
        candidate=candidate, metrics=_metrics(report.metrics), champion_metrics=_metrics(report.champion_metrics)
    )


def _metrics(measurements: Iterable[Measurement]) -> tuple[Metric, ...]:
    """Those that are metrics of ours and numbers; the rest counts as not measured."""
    found = []
    for measurement in measurements:
        try:
            found.append(
                Metric.model_validate(
                    {"name": measurement.name, "value": measurement.value, "split": measurement.split}
                )
            )
        except ValidationError:
            continue
    return tuple(found[:20])
