"""Dataset: when to look at the source, and what becomes of the answer.

    nobody looked ──▶ looking (status.jobName) ──▶ frozen · unchanged · refused · failed
          ▲                                              │
          └──── the spec changed, or nextCheckTime ◀─────┘

A look is one Job. Its name is a function of UID, generation and scheduled time, so a crash between making it and
writing it down finds it again. Its answer is in the status before it is deleted, one pass later. The conditions
Ingested and Valid are the memory of the last answer; Ready, Reconciling and Stalled follow from them.

Beside it goes what becomes of versions, runs and Models over `spec.retention` (`retention`); a look waits while a Job
erases files.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from millrace.api import conditions, quantities, resources
from millrace.api.base import Frozen, rfc3339
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import MOST_OLDER, DatasetStatus, DatasetVersion, OlderVersion
from millrace.api.reasons.pipeline import DatasetReason as Reason
from millrace.decide import status
from millrace.decide.dataset import erasing, retention, snapshot
from millrace.decide.dataset.erasing import Descendant
from millrace.decide.dataset.retention import Course
from millrace.decide.dataset.snapshot import HELD_UP, INGESTED, RETRIED, VALID, Answer
from millrace.decide.dataset.surplus import Facts
from millrace.decide.job import Job, is_forbidden
from millrace.decide.plan import Delete, Event, Plan
from millrace.decide.status import Kstatus
from millrace.render import names, snapshot_job
from millrace.render.pod import Platform

RETRY_SECONDS = 300.0
"""After a failure that may pass by itself; the Job has tried several times by then."""
ASK_AGAIN_SECONDS = 60.0
"""A look that waits for its turn is woken when a Job ends; this is for when that event is lost."""
NORMAL = frozenset({Reason.VersionFrozen.name, Reason.RulesPassed.name, Reason.Snapshotted.name})


class Observation(Frozen):
    """What a decision about a Dataset depends on. `jobs` are the snapshot Jobs that this Dataset controls."""

    now: datetime
    dataset: Dataset
    jobs: tuple[Job, ...] = ()
    models: tuple[Descendant, ...] = ()
    """Models of the Dataset's versions; only asked for where Ids are to be forgotten."""
    has_turn: bool = True
    """Whether another snapshot Job may be made: only so many go on at a time."""
    steady_since: datetime | None = None
    """Since when the time of day has gone on without a step, as this process saw it."""
    facts: Facts | None = None
    """What was made of it and who refers to what, where there is `spec.retention`."""
    platform: Platform


class _Look(Frozen):
    """A look in progress."""

    name: str
    is_first: bool
    """Of this generation: the spec has not been looked at yet."""


def decide(seen: Observation) -> Plan:
    """One pass. Total: never raises."""
    if seen.dataset.metadata.deletion_timestamp is not None:
        return Plan()
    seen = seen.model_copy(update={"dataset": _repaired(seen.dataset, seen.now)})
    look = _look(seen.dataset, seen.now)
    job = _job(seen, look)
    answer = snapshot.answer(job, seen.dataset, seen.now) if job is not None else None
    case = retention.Case(
        now=seen.now,
        steady_since=seen.steady_since,
        dataset=seen.dataset,
        facts=seen.facts,
        jobs=seen.jobs,
        platform=seen.platform,
    )
    if job is not None and answer is not None:
        return _land(seen, answer, job, retention.rest(case))
    return _wait(seen, look, job, retention.pursue(case))


def looks_at(dataset: Dataset, now: datetime) -> str | None:
    """The Job whose answer counts now."""
    look = _look(_repaired(dataset, now), now)
    return look.name if look is not None else None


def _repaired(dataset: Dataset, now: datetime) -> Dataset:
    """The same, its next look counted from now at the latest; one that waits for no look keeps its times."""
    if _next(dataset) is None:
        return dataset
    known = status.not_after(dataset.status, now.replace(microsecond=0), "last_check_time")
    return dataset.model_copy(update={"status": known})


def _look(dataset: Dataset, now: datetime) -> _Look | None:
    """The look in progress, or the one that is due; None while there is nothing to do."""
    known = dataset.status
    first = names.snapshot_job(dataset.metadata.name, dataset.metadata.uid, f"{dataset.metadata.generation}/spec")
    if _spec_is_new(dataset):
        return _Look(name=first, is_first=True)
    if known.job_name is not None:
        return _Look(name=known.job_name, is_first=known.job_name == first)
    if known.last_check_time is None:
        return _Look(name=first, is_first=True)
    due = _next(dataset)
    if due is None or due > now:
        return None
    slot = f"{dataset.metadata.generation}/{rfc3339(due)}"
    return _Look(name=names.snapshot_job(dataset.metadata.name, dataset.metadata.uid, slot), is_first=False)


def _spec_is_new(dataset: Dataset) -> bool:
    """No decision has taken this generation up.

    A condition says so: `status.observedGeneration` is also written when the operator reports an error of its own.
    """
    taken_up = conditions.find(dataset.status.conditions, INGESTED)
    return taken_up is None or taken_up.observed_generation != dataset.metadata.generation


def _next(dataset: Dataset) -> datetime | None:
    """When the source is looked at again."""
    known = dataset.status
    found = conditions.find(known.conditions, INGESTED)
    reason = found.reason if found is not None and found.status == "False" else ""
    return _after(dataset, reason, known.last_check_time) if known.last_check_time is not None else None


def _after(dataset: Dataset, failure: str, looked: datetime) -> datetime | None:
    waits = []
    if dataset.spec.refresh is not None:
        waits.append(quantities.seconds(dataset.spec.refresh.interval))
    if failure in RETRIED:
        waits.append(RETRY_SECONDS)
    return status.later(looked, min(waits)) if waits else None


def _job(seen: Observation, look: _Look | None) -> Job | None:
    return next((job for job in seen.jobs if look is not None and job.name == look.name), None)


def _land(seen: Observation, answer: Answer, job: Job, course: Course) -> Plan:
    """The answer goes into the status; its Job stays until the next pass."""
    dataset, known = seen.dataset, seen.dataset.status
    if answer.frozen is not None and answer.current is not None and retention.is_erased(dataset, answer.current.uri):
        answer = snapshot.lost(job, dataset, seen.now)
    after = known.model_copy(
        update={
            "current": answer.current,
            "versions": answer.versions,
            "older_versions": _older(known, answer),
            "retention": retention.spared(known, answer.current.uri) if answer.current is not None else known.retention,
            "failed_rules": answer.failed_rules,
            "reading": answer.reading or known.reading,
            "erasure": answer.erasure,
            "job_name": None,
            "last_check_time": answer.looked,
            "next_check_time": _after(dataset, answer.failure, answer.looked),
        }
    )
    if answer.ingested.status == answer.valid.status == "True":
        after = after.model_copy(update={"accepted_generation": dataset.metadata.generation})
    after = _held(seen, after)
    fresh = _marks(seen, after, None, None, answer.ingested, answer.valid)
    events = status.transitions(known.conditions, (answer.ingested, answer.valid), NORMAL, INGESTED, VALID)
    events = [event for event in events if event.type == "Warning"] + _erased(seen, fresh)
    if answer.frozen is not None:
        events.insert(0, Event(reason=Reason.VersionFrozen.name, message=answer.frozen))
    return _plan(seen, after, fresh, course, keep=job.name, events=events)


def _older(known: DatasetStatus, answer: Answer) -> tuple[OlderVersion, ...] | None:
    """Versions that `status.versions` has no room for any more; what is known of them is enough to delete them."""
    kept = {one.version for one in answer.versions}
    fallen = (
        OlderVersion(version=one.version, digest=one.digest, uri=one.uri)
        for one in known.versions
        if one.version not in kept
    )
    return (*fallen, *(known.older_versions or ()))[:MOST_OLDER] or None


def _wait(seen: Observation, look: _Look | None, job: Job | None, course: Course) -> Plan:
    """Nothing new is known: a look goes on, starts, or is not due."""
    dataset, known = seen.dataset, seen.dataset.status
    after = known.model_copy(
        update={
            "job_name": look.name if look is not None else None,
            # While the source is read no next look is known: a time in the past would read as one that was missed.
            "next_check_time": _next(dataset) if look is None else None,
            **course.update,
        }
    )
    after = _held(seen, after, course.erased)
    unknown = status.mark(INGESTED, None, Reason.NotLookedYet, Reason.NotLookedYet.sentence)
    ingested = status.remembered(known.conditions, INGESTED, unknown)
    valid = status.remembered(known.conditions, VALID, unknown.model_copy(update={"type": VALID}))
    fresh = _marks(seen, after, look, job, ingested, valid, is_erasing=course.is_erasing)
    erased = _erased(seen, fresh)
    if look is None:
        return _plan(seen, after, fresh, course, keep=None, events=erased)
    events = status.transitions(known.conditions, fresh, NORMAL, conditions.RECONCILING)
    events = [one for one in events if one.reason in HELD_UP]
    plan = _plan(seen, after, fresh, course, keep=look.name, events=[*events, *erased])
    wake_after = job.look_again(seen.now) if job is not None else None
    if job is not None and not job.is_going:
        return _waking(plan, wake_after)
    if course.is_erasing:
        return plan
    if not seen.has_turn:
        return _waking(plan, ASK_AGAIN_SECONDS)
    child = snapshot_job.render(dataset, look.name, known.current, seen.platform)
    return _waking(plan.model_copy(update={"children": (*plan.children, child)}), wake_after)


def _waking(plan: Plan, seconds: float | None) -> Plan:
    """The same, looked at again after so many seconds at the latest."""
    waits = [wait for wait in (plan.wake_after, seconds) if wait is not None]
    return plan.model_copy(update={"wake_after": min(waits, default=None)})


def _marks(
    seen: Observation,
    after: DatasetStatus,
    look: _Look | None,
    job: Job | None,
    ingested: Mark,
    valid: Mark,
    *,
    is_erasing: bool = False,
) -> tuple[Mark, ...]:
    looking = _looking(seen, job, is_erasing=is_erasing)
    ready, reconciling, stalled = _kstatus(seen, after, look, looking, ingested, valid).marks()
    if look is not None and after.current is not None and reconciling.status == "False":
        text = f"Version {after.current.version} stays as it is while the source is read again."
        reconciling = reconciling.model_copy(update={"message": text})
    erased = erasing.mark(seen.dataset, after.erasure)
    return (ready, reconciling, stalled, ingested, valid, *([erased] if erased is not None else []))


def _held(seen: Observation, after: DatasetStatus, erased: tuple[str, ...] = ()) -> DatasetStatus:
    """With who holds Ids that are to be forgotten, as far as that is known; nothing, where nobody is."""
    known = erasing.without(after.erasure, erased) if seen.dataset.spec.erasure is not None else None
    return after.model_copy(update={"erasure": erasing.with_models(known, after, seen.models)})


def _erased(seen: Observation, marks: tuple[Mark, ...]) -> list[Event]:
    """What is said once a list was carried out, and once nobody holds any of its Ids."""
    events = status.transitions(seen.dataset.status.conditions, marks, erasing.NORMAL, erasing.ERASED)
    return [one for one in events if one.reason != Reason.ErasurePending.name]


def _kstatus(
    seen: Observation,
    after: DatasetStatus,
    look: _Look | None,
    looking: tuple[Reason, str],
    ingested: Mark,
    valid: Mark,
) -> Kstatus:
    refused = next((one for one in (ingested, valid) if one.status == "False"), None)
    usable = after.current is not None
    reason, text = looking
    if look is not None and (look.is_first or not usable or reason.name in HELD_UP):
        return Kstatus(ready=usable, progress="Reconciling", reason=reason.name, message=text)
    if refused is not None:
        return _refused(seen, after, refused)
    if after.current is not None:
        text = _has(after.current) + _since(after, after.current, look)
        return Kstatus(ready=True, progress="Settled", reason=Reason.VersionAvailable.name, message=text)
    text = status.message(Reason.NotLookedYet, **_whom(seen))
    return Kstatus(ready=False, progress="Reconciling", reason=Reason.NotLookedYet.name, message=text)


def _refused(seen: Observation, after: DatasetStatus, refused: Mark) -> Kstatus:
    """The newest look added no version. A spec that none was ever good under is not what the older version is of."""
    spec_holds = after.accepted_generation == seen.dataset.metadata.generation
    waits: Literal["Reconciling", "Stalled"] = "Reconciling" if refused.reason in RETRIED else "Stalled"
    if after.current is None:
        return Kstatus(ready=False, progress=waits, reason=refused.reason, message=refused.message)
    what = "The newest look at the source" if spec_holds else "The changed spec"
    text = status.after(f"{_has(after.current)} {what} added none:", refused.message)
    if spec_holds:
        return Kstatus(ready=True, progress="Settled", reason=Reason.VersionAvailable.name, message=text)
    return Kstatus(ready=True, progress=waits, reason=refused.reason, message=text)


def _has(version: DatasetVersion) -> str:
    return f"Version {version.version} has {version.rows:,} rows."


def _since(after: DatasetStatus, version: DatasetVersion, look: _Look | None) -> str:
    """What became of the source since that version was frozen."""
    if look is not None:
        return " The source is being read again, to see whether its rows have changed."
    is_newer = after.last_check_time is not None and after.last_check_time > version.created_time
    return " The source was read again since: its rows are still the same." if is_newer else ""


def _looking(seen: Observation, job: Job | None, *, is_erasing: bool) -> tuple[Reason, str]:
    reason, why = Reason.LookingAtSource, f"The source {seen.dataset.spec.source.storage_uri} is being read"
    if job is not None and job.trouble:
        reason, why = Reason.PodNotStarted, f"The pod that reads the source cannot start: {job.trouble}"
    elif job is not None and job.refusal:
        reason, why = Reason.PodRefused, f"The pod that reads the source is refused: {job.refusal}"
    elif job is None and is_erasing:
        reason, why = Reason.LookAfterErasing, Reason.LookAfterErasing.sentence
    elif job is None and not seen.has_turn:
        reason, why = Reason.LookQueued, Reason.LookQueued.sentence
    step = Reason.PodForbidden if reason is Reason.PodRefused and is_forbidden(why) else None
    return reason, status.message(reason, why, step, **_whom(seen))


def _whom(seen: Observation) -> dict[str, str]:
    return {"namespace": seen.dataset.metadata.namespace, "name": seen.dataset.metadata.name}


def _plan(
    seen: Observation,
    after: DatasetStatus,
    marks: tuple[Mark, ...],
    course: Course,
    keep: str | None,
    events: list[Event] | None = None,
) -> Plan:
    """The status, and no finished or overtaken Job but those whose answer is still needed."""
    dataset = seen.dataset
    generation = dataset.metadata.generation
    every = (*marks, *((course.mark,) if course.mark is not None else ()))
    found = conditions.merge(dataset.status.conditions, every, seen.now, generation)
    ready = next(mark for mark in marks if mark.type == conditions.READY)
    after = after.model_copy(
        update={
            "observed_generation": generation,
            "phase": _phase(after, marks),
            "message": ready.message,
            "conditions": found,
        }
    )
    deletes = tuple(
        Delete(resource=resources.JOBS, namespace=dataset.metadata.namespace, name=job.name, uid=job.uid)
        for job in seen.jobs
        if job.name not in (keep, after.job_name, course.keep) and not job.is_going
    )
    plan = Plan(
        status=after.wire(),
        children=course.children,
        deletes=(*deletes, *course.deletes),
        events=(*(events or ()), *course.events),
        wake_after=_wake(seen, after),
    )
    return _waking(plan, course.wake_after)


def _phase(after: DatasetStatus, marks: tuple[Mark, ...]) -> str:
    """For people: never read back."""
    holds = {mark.type for mark in marks if mark.status == "True"}
    # A routine look changes nothing about a version that is there: every few minutes another word would say it did.
    if after.job_name is not None and conditions.RECONCILING in holds:
        return "Checking"
    if conditions.STALLED in holds:
        return "Refused" if conditions.READY in holds else "Failed"
    return "Ready" if conditions.READY in holds else "Waiting"


def _wake(seen: Observation, after: DatasetStatus) -> float | None:
    if after.job_name is not None or after.next_check_time is None:
        return None
    return max(0.0, (after.next_check_time - seen.now).total_seconds())
