"""What the condition Pruned says, and the events of a retention."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from millrace.api import conditions, quantities
from millrace.api.base import rfc3339
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.reasons.pipeline import DatasetReason as Reason
from millrace.api.retention import Deletion, Retention, RetentionStatus, Surplus, Tally
from millrace.contract.removal import EraseReport
from millrace.decide import job as jobs
from millrace.decide import status
from millrace.decide.job import Job
from millrace.decide.plan import Event

PRUNED = "Pruned"
NORMAL = frozenset(
    {Reason.WithinLimits.name, Reason.WouldDelete.name, Reason.DeletionPlanned.name, Reason.Deleting.name}
)
PASSING = frozenset({Reason.StoreUnavailable.name, Reason.DeadlineExceeded.name, Reason.EraseLost.name})
"""Failures that may pass by themselves."""


def mark(dataset: Dataset, wish: Retention, after: RetentionStatus, now: datetime) -> Mark:
    """Whether anything is over a limit, and what becomes of it."""
    if after.deletion is not None:
        return _of_deletion(dataset, wish, after.deletion, now)
    planned, held = after.planned, len(after.held)
    stays = f" {held if held < 20 else 'Many'} more stay, and status.retention.held says why." if held else ""
    if not planned:
        return _mark(
            dataset, True, Reason.WithinLimits, f"Nothing that may go is over a limit of spec.retention.{stays}"
        )
    many = counted(tally(planned)) + (f" and {after.unplanned} more" if after.unplanned else "")
    if wish.mode == "DryRun":
        return _mark(dataset, False, Reason.WouldDelete, f"{many} are over the limits of spec.retention.{stays}")
    first = min(status.later(one.since, quantities.seconds(wish.grace_period)) for one in planned)
    why = f"{many} are over the limits of spec.retention, and go from {rfc3339(first)} on.{stays}"
    return _mark(dataset, False, Reason.DeletionPlanned, why)


def _of_deletion(dataset: Dataset, wish: Retention, deletion: Deletion, now: datetime) -> Mark:
    if wish.mode == "DryRun":
        many = len(deletion.folders)
        why = f"A deletion that had begun is held up by spec.retention.mode: DryRun; {many} folders are left to erase"
        return _mark(dataset, False, Reason.WouldDelete, why)
    known = remembered(dataset)
    if deletion.retry_time is not None and deletion.retry_time > now and known is not None:
        return known
    return _mark(dataset, False, Reason.Deleting, f"{counted(tally(deletion.items))} are being deleted")


def erasing(dataset: Dataset, deletion: Deletion, job: Job) -> Mark:
    """A Job is under way."""
    why = f"The files of {counted(tally(deletion.items))} are being erased"
    if job.trouble:
        return _mark(dataset, False, Reason.PodNotStarted, f"The pod that erases files cannot start: {job.trouble}")
    if job.refusal:
        step = Reason.PodForbidden if jobs.is_forbidden(job.refusal) else None
        return _mark(dataset, False, Reason.PodRefused, f"The pod that erases files is refused: {job.refusal}", step)
    return _mark(dataset, False, Reason.Deleting, why)


def failure(job: Job, report: EraseReport | None) -> tuple[str, str]:
    """The reason and the words of a Job that did not erase everything."""
    if report is not None:
        return status.wire_reason(report.reason, Reason.EraseFailed), report.message
    if job.reason == jobs.DEADLINE_EXCEEDED:
        return Reason.DeadlineExceeded.name, "The files were not erased within the Job's time"
    return Reason.EraseLost.name, ""


def failed(dataset: Dataset, reason: str, why: str, deletion: Deletion) -> Mark:
    """Files are left; it is tried again by itself."""
    found = status.named(Reason, reason) or Reason.EraseFailed
    said = why.rstrip(".") or found.sentence.rstrip(".")
    when = rfc3339(deletion.retry_time) if deletion.retry_time is not None else "once it may"
    text = f"{said}. Files are left to erase; it is tried again at {when}"
    about = found if found in (Reason.EraseRefused, Reason.EraseLost) else Reason.EraseFailed
    message = status.message(about, text, namespace=dataset.metadata.namespace, name=dataset.metadata.name)
    return status.mark(PRUNED, False, reason, message)


def remembered(dataset: Dataset) -> Mark | None:
    """What the condition says, to be said again."""
    found = conditions.find(dataset.status.conditions, PRUNED)
    if found is None:
        return None
    return Mark(type=PRUNED, status=found.status, reason=found.reason, message=found.message)


def transitions(dataset: Dataset, told: Mark) -> tuple[Event, ...]:
    """An event when it is another reason than before; that nothing is over a limit is none."""
    if told.reason == Reason.WithinLimits.name:
        return ()
    return tuple(status.transitions(dataset.status.conditions, (told,), NORMAL, PRUNED))


def told(gone: Tally, erased: int) -> Event:
    """What has gone."""
    return Event(reason=Reason.Deleted.name, message=f"Deleted {counted(gone)}, and {erased:,} bytes of their files.")


def tally(things: Iterable[Surplus]) -> Tally:
    """How many of each."""
    kinds = [one.kind for one in things]
    return Tally(versions=kinds.count("Version"), models=kinds.count("Model"), runs=kinds.count("TrainingRun"))


def counted(many: Tally) -> str:
    """`2 versions, 1 model and 3 runs`."""
    parts = [(many.versions, "version"), (many.models, "model"), (many.runs, "run")]
    said = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts if count]
    return " and ".join(filter(None, (", ".join(said[:-1]), *said[-1:]))) or "nothing"


def _mark(dataset: Dataset, holds: bool, reason: Reason, why: str, step: Reason | None = None) -> Mark:
    whom = dataset.metadata
    text = status.message(reason, why, step, namespace=whom.namespace, name=whom.name)
    return status.mark(PRUNED, holds, reason, text)
