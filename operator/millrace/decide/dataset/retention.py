"""Retention: from what is over a limit to what has gone.

    planned ──▶ gracePeriod ──▶ written down ──▶ Models ──▶ runs ──▶ entries of versions ──▶ Job: files ──▶ told
    (DryRun ends here)          with folders     each looked at live right before it goes

The Dataset is what lives on: its status says what goes before anything does, and keeps the folders until the Job that
erases them has answered. Objects go before files, for only what is there can be approved, served or referred to; the
other way round a crash, or a person in between, would leave a Model that cannot be served. Nothing goes because it is
not known: only what the status named, and only after it was listed live that nobody refers to it.

A look at the source and an erasing Job are never under way together: a look could freeze what is erased.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import Field

from millrace.api import quantities, resources
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetStatus
from millrace.api.retention import MOST_HELD, MOST_PLANNED, Deletion, Retention, RetentionStatus, Surplus, Tally
from millrace.contract import places
from millrace.contract.removal import EraseOutcome
from millrace.decide import job as jobs
from millrace.decide import status
from millrace.decide.dataset import pruned, surplus
from millrace.decide.dataset.surplus import Facts, ModelFact, RunFact, Selection, Thing
from millrace.decide.job import Job
from millrace.decide.plan import Delete, Event, Manifest
from millrace.render import erase_job, names
from millrace.render.pod import Platform

SOON_SECONDS = 1.0
ASK_AGAIN_SECONDS = 60.0
"""What waits for a look to end, or for something to be due, is woken by that; this is for when the event is lost."""
NOTICE_SECONDS = 60.0
"""The least that `gracePeriod` may be."""
RETRY_SECONDS = 300.0
"""After a Job that could not erase everything for a reason that may pass by itself."""
RETRY_SLOWLY_SECONDS = 3600.0
"""After one whose reason a person must take away."""
AT_A_TIME = 50
"""Things that go in one deletion."""
_RESOURCES = {"Model": resources.MODELS, "TrainingRun": resources.TRAINING_RUNS}


class Case(Frozen):
    """What a pass over the retention of a Dataset looks at."""

    now: datetime
    steady_since: datetime | None = None
    """Since when the time of day has gone on without a step, as this process saw it."""
    dataset: Dataset
    facts: Facts | None = None
    jobs: tuple[Job, ...] = ()
    platform: Platform

    @property
    def known(self) -> RetentionStatus:
        return self.dataset.status.retention or RetentionStatus()

    @property
    def may_delete(self) -> bool:
        wish = self.dataset.spec.retention
        return wish is not None and wish.mode == "Delete" and self.facts is not None and self.facts.is_live

    @property
    def job(self) -> Job | None:
        """The Job that erases."""
        name = job_of(self.dataset)
        return next((job for job in self.jobs if job.name == name), None)


class Course(Frozen):
    """What a pass does for it, beside looking at the source."""

    update: dict[str, object] = Field(default_factory=dict)
    """Fields of the status."""
    mark: Mark | None = None
    children: tuple[Manifest, ...] = ()
    deletes: tuple[Delete, ...] = ()
    events: tuple[Event, ...] = ()
    keep: str | None = None
    """The Job that stays."""
    is_erasing: bool = False
    """No look may start meanwhile."""
    erased: tuple[str, ...] = ()
    """Folders in which nothing is any more."""
    wake_after: float | None = None


def job_of(dataset: Dataset) -> str | None:
    """The Job that erases files now."""
    known = dataset.status.retention
    return known.deletion.job_name if known is not None and known.deletion is not None else None


def asks_live(dataset: Dataset, jobs: Iterable[Job], now: datetime, steady_since: datetime | None) -> bool:
    """Whether this pass may delete something: everything it depends on must then be listed live."""
    wish, known = dataset.spec.retention, dataset.status.retention
    if wish is None or wish.mode != "Delete" or known is None:
        return False
    deletion = known.deletion
    if deletion is None:
        return any(_due(one, wish, now, steady_since) <= now for one in known.planned)
    if deletion.job_name is not None:
        return not any(job.name == deletion.job_name for job in jobs)
    return deletion.retry_time is None or deletion.retry_time <= now


def is_under_way(dataset: Dataset, jobs: Iterable[Job]) -> bool:
    """Whether a Job erases, or is about to be made: no look may start meanwhile."""
    name = job_of(dataset)
    return name is not None and not any(job.name == name and job.is_finished for job in jobs)


def is_erased(dataset: Dataset, uri: str) -> bool:
    """Whether a Job erases that folder, so that nothing can be known of what was frozen there meanwhile."""
    known = dataset.status.retention
    deletion = known.deletion if known is not None else None
    return deletion is not None and deletion.job_name is not None and _plain(uri) in map(_plain, deletion.folders)


def spared(dataset_status: DatasetStatus, uri: str) -> RetentionStatus | None:
    """The same without that folder, which is a version's again."""
    known = dataset_status.retention
    if known is None or known.deletion is None:
        return known
    folders = tuple(one for one in known.deletion.folders if _plain(one) != _plain(uri))
    return _with(known, known.deletion.model_copy(update={"folders": folders}))


def rest(case: Case) -> Course:
    """Nothing is decided in this pass: what is under way stays so."""
    return Course(
        mark=pruned.remembered(case.dataset) if case.dataset.spec.retention is not None else None,
        keep=job_of(case.dataset),
        is_erasing=is_under_way(case.dataset, case.jobs),
    )


def pursue(case: Case) -> Course:
    """One pass, while no look at the source has just been answered."""
    if case.job is not None and case.job.is_finished:
        return _told(case, case.job)
    wish, deletion = case.dataset.spec.retention, case.known.deletion
    if deletion is not None and deletion.job_name is not None:
        return _erasing(case, deletion)
    if wish is None or case.facts is None:
        return Course()
    if deletion is not None:
        return _going_on(case, wish, surplus.select(case.dataset, wish, case.facts), deletion)
    return _plan(case, wish, case.facts)


def _plan(case: Case, wish: Retention, facts: Facts) -> Course:
    """What is over a limit is told, and goes when it has been told for long enough."""
    selection = surplus.select(case.dataset, wish, facts)
    planned = _planned(case, selection, frozenset())
    known = _counted(case.known, planned, selection)
    times = [_due(one, wish, case.now, case.steady_since) for one in planned]
    if case.may_delete:
        due = [one for one, time in zip(planned, times, strict=True) if time <= case.now]
        started = _started(case, due[:AT_A_TIME], facts)
        if started.items:
            return _reported(case, wish, _with(known, started), SOON_SECONDS)
    if not planned or wish.mode != "Delete":
        return _reported(case, wish, known, None)
    left = min(((time - case.now).total_seconds() for time in times if time > case.now), default=ASK_AGAIN_SECONDS)
    return _reported(case, wish, known, max(SOON_SECONDS, left))


def _planned(case: Case, selection: Selection, going: frozenset[Thing]) -> tuple[Surplus, ...]:
    """What is over a limit, each since it was first named."""
    since = {_thing(one): min(one.since, case.now) for one in case.known.planned}
    moment = case.now.replace(microsecond=0)
    return tuple(
        Surplus(kind=thing.kind, name=thing.name, uid=thing.uid or None, since=since.get(thing, moment))
        for thing in selection.surplus
        if thing not in going
    )


def _counted(known: RetentionStatus, planned: tuple[Surplus, ...], selection: Selection) -> RetentionStatus:
    return known.model_copy(
        update={
            "planned": planned[:MOST_PLANNED],
            "unplanned": max(0, len(planned) - MOST_PLANNED),
            "kept": selection.kept,
            "held": selection.held[:MOST_HELD],
        }
    )


def _started(case: Case, due: Iterable[Surplus], facts: Facts) -> Deletion:
    """What goes together, written down with its folders before any of it goes."""
    items = _closed(case, due, facts)
    going = set(map(_thing, items))
    stays = {run.folder for run in facts.runs if run.thing not in going}
    made: tuple[RunFact | ModelFact, ...] = (*facts.runs, *facts.models)
    folders = [one.folder for one in made if one.thing in going]
    return Deletion(
        started_time=case.now.replace(microsecond=0),
        items=items,
        folders=tuple(dict.fromkeys(one for one in folders if one and one not in stays)),
    )


def _closed(case: Case, items: Iterable[Surplus], facts: Facts) -> tuple[Surplus, ...]:
    """Those to which nothing else refers: no run goes before its Model, no version before what was made of it."""
    things = {_thing(one): one for one in items}
    models = [one for one in facts.models if one.thing not in things]
    for run in facts.runs:
        if run.thing in things and surplus.refers(models, run):
            del things[run.thing]
    runs = [one for one in facts.runs if one.thing not in things]
    used = {fact for run in runs for fact in (run.digest, run.uri)} | {one.dataset_digest for one in models}
    for version in surplus.known_versions(case.dataset):
        if version.digest in used or version.uri in used:
            things.pop(surplus.thing_of(version), None)
    return tuple(things.values())


def _going_on(case: Case, wish: Retention, selection: Selection, deletion: Deletion) -> Course:
    """Objects first: the Models, then the runs, then the entries of the versions; each while nothing holds it."""
    known = _counted(case.known, _planned(case, selection, frozenset(map(_thing, deletion.items))), selection)
    facts = case.facts or Facts()
    if not case.may_delete:
        due = deletion.retry_time if wish.mode == "Delete" else None
        wake = max(SOON_SECONDS, (due - case.now).total_seconds()) if due is not None else None
        return _reported(case, wish, known, wake)
    stays = _there(case.dataset, facts) - set(selection.surplus)
    items = _closed(case, (one for one in deletion.items if _thing(one) not in stays), facts)
    after = deletion.model_copy(update={"items": items})
    made: tuple[ModelFact | RunFact, ...] = (*facts.models, *facts.runs)
    objects = [one for one in made if one.thing in set(map(_thing, items))]
    if not objects:
        return _files(case, wish, known, after)
    kind = objects[0].thing.kind
    deletes = tuple(_delete(case.dataset, one) for one in objects if one.thing.kind == kind)
    return _reported(case, wish, _with(known, after), SOON_SECONDS).model_copy(update={"deletes": deletes})


def _files(case: Case, wish: Retention, known: RetentionStatus, deletion: Deletion) -> Course:
    """No object is there any more: the versions' entries go, and the Job is written down that erases the files."""
    status_, going = case.dataset.status, {one.name for one in deletion.items if one.kind == "Version"}
    versions = surplus.known_versions(case.dataset)
    stays = {_plain(one.uri) for one in versions if str(one.version) not in going}
    folders = (*deletion.folders, *(one.uri for one in versions if str(one.version) in going))
    free = tuple(one for one in dict.fromkeys(folders) if _is_ours(case, one) and _is_free(case, one, stays))
    after = deletion.model_copy(update={"folders": free, "retry_time": None})
    entries: dict[str, object] = {
        "versions": tuple(one for one in status_.versions if str(one.version) not in going),
        "older_versions": tuple(one for one in status_.older_versions or () if str(one.version) not in going) or None,
    }
    if not free:
        course = _done(case, wish, known, after, 0)
    elif case.facts is None or case.facts.is_looking:
        course = _reported(case, wish, _with(known, after), ASK_AGAIN_SECONDS)
    else:
        whom = case.dataset.metadata
        job = names.erase_job(whom.name, whom.uid, after.started_time, after.attempts)
        after = after.model_copy(update={"job_name": job})
        course = _reported(case, wish, _with(known, after), SOON_SECONDS).model_copy(update={"is_erasing": True})
    return course.model_copy(update={"update": {**entries, **course.update}})


def _erasing(case: Case, deletion: Deletion) -> Course:
    """The Job should exist; a look that has begun before it was written down ends first."""
    wish, job = case.dataset.spec.retention, case.job
    if job is not None and not job.is_going:
        mark = pruned.erasing(case.dataset, deletion, job) if wish is not None else None
        return rest(case).model_copy(update={"mark": mark, "wake_after": job.look_again(case.now)})
    if wish is None or wish.mode != "Delete":
        # It was never made, or is gone: it must not keep the source from being looked at.
        after = _with(case.known, deletion.model_copy(update={"job_name": None}))
        return _concluded(case, after, rest(case).mark, None)
    if not case.may_delete or case.facts is None or case.facts.is_looking:
        return rest(case).model_copy(update={"wake_after": ASK_AGAIN_SECONDS})
    child = erase_job.render(case.dataset, deletion, case.platform)
    return rest(case).model_copy(update={"children": (child,)})


def _told(case: Case, job: Job) -> Course:
    """The answer goes into the status; its Job stays until the next pass."""
    known, wish = case.known, case.dataset.spec.retention
    if known.deletion is None:
        return rest(case)
    reports = jobs.erase_reports(job)
    erased = sum(max(0, one.bytes) for one in reports)
    last = reports[0] if reports else None
    if last is not None and last.outcome is EraseOutcome.ERASED:
        return _done(case, wish, known, known.deletion, erased).model_copy(update={"keep": job.name})
    reason, why = pruned.failure(job, last)
    seconds = RETRY_SECONDS if reason in pruned.PASSING else RETRY_SLOWLY_SECONDS
    again = known.deletion.model_copy(
        update={
            "job_name": None,
            "attempts": known.deletion.attempts + 1,
            "retry_time": status.later(case.now.replace(microsecond=0), seconds),
        }
    )
    after = _with(known, again).model_copy(update={"bytes_freed": _freed(known, erased)})
    mark = pruned.failed(case.dataset, reason, why, again) if wish is not None else None
    return _concluded(case, after, mark, seconds).model_copy(update={"keep": job.name})


def _done(case: Case, wish: Retention | None, known: RetentionStatus, deletion: Deletion, erased: int) -> Course:
    """Everything is gone: it is counted once, in the status that forgets the deletion."""
    gone, so_far = pruned.tally(deletion.items), known.deleted
    after = known.model_copy(
        update={
            "deletion": None,
            "deleted": Tally(
                versions=so_far.versions + gone.versions,
                models=so_far.models + gone.models,
                runs=so_far.runs + gone.runs,
            ),
            "bytes_freed": _freed(known, erased),
            "last_time": case.now.replace(microsecond=0),
        }
    )
    mark = pruned.mark(case.dataset, wish, after, case.now) if wish is not None else None
    course = _concluded(case, after, mark, SOON_SECONDS)
    events = (pruned.told(gone, erased), *course.events) if deletion.items else course.events
    return course.model_copy(update={"events": events, "erased": deletion.folders})


def _freed(known: RetentionStatus, erased: int) -> int:
    return min(quantities.LARGEST_EXACT, known.bytes_freed + erased)


def _reported(case: Case, wish: Retention, after: RetentionStatus, wake_after: float | None) -> Course:
    return _concluded(case, after, pruned.mark(case.dataset, wish, after, case.now), wake_after)


def _concluded(case: Case, after: RetentionStatus, mark: Mark | None, wake_after: float | None) -> Course:
    events = pruned.transitions(case.dataset, mark) if mark is not None else ()
    keep = after.deletion.job_name if after.deletion is not None else None
    return Course(update={"retention": after}, mark=mark, events=events, keep=keep, wake_after=wake_after)


def _there(dataset: Dataset, facts: Facts) -> set[Thing]:
    """What of all this is still there."""
    versions = map(surplus.thing_of, surplus.known_versions(dataset))
    return {*versions, *(one.thing for one in facts.models), *(one.thing for one in facts.runs)}


def _is_ours(case: Case, folder: str) -> bool:
    """Whether it is where this installation writes: what was left under another `store.uri` its keys need not reach."""
    whom, store = case.dataset.metadata, case.platform.store_uri
    return places.is_version(folder, store, whom.namespace, whom.name) or places.is_run(folder, store, whom.namespace)


def _is_free(case: Case, folder: str, versions: set[str]) -> bool:
    """Whether no version, run or Model is left whose files are there."""
    facts = case.facts or Facts()
    uris = (*facts.elsewhere, *(uri for one in facts.models for uri in one.uris))
    is_used = any(folder == run.folder or _plain(run.uri) == _plain(folder) for run in facts.runs)
    return not is_used and _plain(folder) not in versions and not any(places.is_in(uri, folder) for uri in uris)


def _delete(dataset: Dataset, one: ModelFact | RunFact) -> Delete:
    """Of the very version of the object that was judged."""
    return Delete(
        resource=_RESOURCES[one.thing.kind],
        namespace=dataset.metadata.namespace,
        name=one.name,
        uid=one.uid,
        resource_version=one.resource_version,
    )


def _due(one: Surplus, wish: Retention, now: datetime, steady_since: datetime | None) -> datetime:
    """When it may go: a clock that was set forward leaves the shortest notice there is, of time that really passed."""
    told = status.later(min(one.since, now), quantities.seconds(wish.grace_period))
    return max(told, status.later(steady_since, NOTICE_SECONDS)) if steady_since is not None else told


def _thing(one: Surplus) -> Thing:
    return Thing(kind=one.kind, name=one.name, uid=one.uid or "")


def _with(known: RetentionStatus, deletion: Deletion) -> RetentionStatus:
    return known.model_copy(update={"deletion": deletion})


def _plain(folder: str) -> str:
    return folder.rstrip("/")
