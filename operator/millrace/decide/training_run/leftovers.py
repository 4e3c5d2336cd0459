"""What a run that ended leaves behind: its Job, with pods and logs, which goes once its answer has stood for a while.

    ended, the answer in the status ──▶ spec.ttlSecondsAfterFinished ──▶ Job deleted, status.jobName gone

The run that is looked at is as the API server has it, so what its status says is written: a Job whose answer nobody has
read stays, however long the operator was away. Job first, status second: a crash between finds no Job, and writes the
status.
"""

from __future__ import annotations

from datetime import datetime

from millrace.api import resources
from millrace.api.conditions import Condition
from millrace.api.reasons.pipeline import TrainingRunReason as Reason
from millrace.api.training_run import TrainingRun
from millrace.decide import status
from millrace.decide.job import Job
from millrace.decide.plan import Claim, Delete, Plan

ENDS = ("Complete", "Failed")
_CLAIMED = ("jobName", "message", "conditions")


def clear(run: TrainingRun, job: Job | None, now: datetime) -> Plan:
    """One pass over a run that is over."""
    known = run.status
    if job is None and known.job_name is None:
        return Plan()
    due = status.later(min(_ended(run) or now, now), run.spec.ttl_seconds_after_finished)
    if now < due:
        return Plan(wake_after=(due - now).total_seconds())
    if job is not None and not job.is_finished:
        return Plan()  # its end is an event, and it has a deadline
    deletes = (
        (Delete(resource=resources.JOBS, namespace=run.metadata.namespace, name=job.name, uid=job.uid),)
        if job is not None and not job.is_going
        else ()
    )
    after = known.model_copy(
        update={
            "job_name": None,
            "message": _without(known.message or "", run),
            "conditions": tuple(_told(one, run) for one in known.conditions),
        }
    )
    return Plan(
        status=after.wire(),
        deletes=deletes,
        claims=tuple(Claim(field=field, kinds=frozenset({resources.JOBS})) for field in _CLAIMED),
    )


def _ended(run: TrainingRun) -> datetime | None:
    told = (one.last_transition_time for one in run.status.conditions if one.type in ENDS and one.status == "True")
    return run.status.completion_time or max(told, default=None)


def _told(condition: Condition, run: TrainingRun) -> Condition:
    return condition.model_copy(update={"message": _without(condition.message, run)})


def _without(text: str, run: TrainingRun) -> str:
    """The message, its command another one if it was about the Job."""
    what, _, command = text.rpartition(status.NEXT)
    if not what or not run.status.job_name or run.status.job_name not in command:
        return text
    return status.message(Reason.JobGone, what, namespace=run.metadata.namespace, name=run.metadata.name)
