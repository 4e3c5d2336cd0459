"""What a finished snapshot Job says about a Dataset's source: its report, or the reason why there is none."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DataQuality, DatasetStatus, DatasetVersion, FailedRule, Parts, SourceReading
from millrace.api.erasure import ErasureStatus
from millrace.api.reasons.pipeline import DatasetReason as Reason
from millrace.contract.quality import MAX_SUSPECTS, Quality
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import job as jobs
from millrace.decide import status
from millrace.decide.dataset import erasing
from millrace.decide.job import Job

INGESTED, VALID = "Ingested", "Valid"
KEPT_VERSIONS = 20
_UNEVEN = 0.01
_FAR = 0.05
"""A share that differs by less is not worth a word: rows are divided in units."""
_USUAL = "as is usual where features take few values"
RETRIED = frozenset({Reason.StoreUnavailable.name, Reason.DeadlineExceeded.name, Reason.SnapshotLost.name})
"""What says nothing about the source: it is looked at again by itself."""
HELD_UP = frozenset({Reason.PodNotStarted.name, Reason.PodRefused.name})
"""What keeps a look from going on, and is told also where a version is there."""
ASKS_TO_LOOK = frozenset(
    {Reason.SourceNotFound, Reason.SourceEmpty, Reason.StoreDenied, Reason.DigestMismatch, Reason.ErasureKeyMissing}
)
"""Reasons whose command has the source looked at again."""
_SOURCE_WAS_READ = frozenset({Reason.RuleViolated.name, Reason.SchemaMismatch.name, Reason.SourceEmpty.name})


class Answer(Frozen):
    """What the status says once the answer has landed."""

    current: DatasetVersion | None
    versions: tuple[DatasetVersion, ...]
    failed_rules: tuple[FailedRule, ...] = ()
    ingested: Mark
    valid: Mark
    failure: str = ""
    """Reason why the source could not be read: the look may be repeated."""
    frozen: str | None = None
    """The sentence that reports a new version; None without one."""
    reading: SourceReading | None = None
    """What was found in the source; None: what was known before holds."""
    erasure: ErasureStatus | None = None
    """Who holds Ids that are to be forgotten, but for Models."""
    looked: datetime


class _Case(Frozen):
    """One finished Job of one Dataset."""

    job: Job
    dataset: Dataset
    looked: datetime

    @property
    def known(self) -> DatasetStatus:
        return self.dataset.status

    def text(self, reason: str, why: str) -> str:
        """What, why, and the next command."""
        found = status.named(Reason, reason)
        why = why or (found.sentence if found is not None else "The snapshot failed without a word.")
        if reason in RETRIED and "again by itself" not in why:
            why = f"{why.rstrip('.')}. The source is looked at again by itself"
        whom = self.dataset.metadata
        # Where the source is looked at regularly there is nothing to ask for: one may watch.
        step = Reason.LookingAtSource if self.dataset.spec.refresh is not None and found in ASKS_TO_LOOK else None
        return status.message(found, why, step, namespace=whom.namespace, name=whom.name, job=self.job.name)


def answer(job: Job, dataset: Dataset, now: datetime) -> Answer | None:
    """None while the Job runs. Total."""
    if not job.is_finished:
        return None
    case = _Case(job=job, dataset=dataset, looked=min(job.finished or now, now).replace(microsecond=0))
    report = jobs.snapshot_report(job)
    found = _of(report, case)
    is_without = not found.failure and found.valid.status == "True"
    told = erasing.told(report.erasure if report is not None else None, dataset, is_without=is_without)
    return found.model_copy(update={"erasure": told})


def _of(report: SnapshotReport | None, case: _Case) -> Answer:
    if report is None:
        return _silent(case)
    if report.outcome is SnapshotOutcome.FROZEN:
        return _frozen(report, case)
    if report.outcome is SnapshotOutcome.UNCHANGED:
        return _unchanged(report, case)
    return _refused(report, case)


def lost(job: Job, dataset: Dataset, now: datetime) -> Answer:
    """What is known when what a look froze may have been erased while it was written: nothing, so it looks again."""
    case = _Case(job=job, dataset=dataset, looked=min(job.finished or now, now).replace(microsecond=0))
    found = _failed(Reason.SnapshotLost.name, "What the look froze is where files were being erased", case)
    return found.model_copy(update={"erasure": dataset.status.erasure})


def _frozen(report: SnapshotReport, case: _Case) -> Answer:
    known = case.known
    if known.current is not None and known.current.digest == report.digest:
        return _unchanged(report, case)
    number = 1 + max((one.version for one in (*known.versions, *_one(known.current))), default=0)
    parts = report.splits
    try:
        version = DatasetVersion(
            version=number,
            digest=report.digest,
            uri=report.uri,
            rows=report.rows,
            bytes=report.bytes,
            created_time=case.looked,
            source_digest=report.source_digest or None,
            schema_digest=report.schema_digest or None,
            profile_uri=report.profile_uri or None,
            rules_passed=report.rules_passed,
            parts=Parts(train=parts.train, validation=parts.validation, test=parts.test),
            quality=_quality(report.quality),
        )
        reading = _found(report)
    except ValidationError as error:
        return _failed(Reason.MalformedReport.name, f"The snapshot answered with {_first(error)}", case)
    return Answer(
        current=version,
        versions=(version, *known.versions)[:KEPT_VERSIONS],
        ingested=_read(report),
        valid=_holds(report, version),
        frozen=f"Version {number} is frozen: {report.rows:,} rows "
        f"({parts.train:,} train, {parts.validation:,} validation, {parts.test:,} test).{_about_parts(report, case)}",
        reading=reading,
        looked=case.looked,
    )


def _found(report: SnapshotReport) -> SourceReading | None:
    if report.reading is None:
        return None
    told = report.reading.to_dict()
    return SourceReading.model_validate({name: value for name, value in told.items() if value != ""})


def _unchanged(report: SnapshotReport, case: _Case) -> Answer:
    known = case.known
    if known.current is None:
        text = "The snapshot answered that nothing changed, but there is no version yet"
        return _failed(Reason.MalformedReport.name, text, case)
    return Answer(
        current=known.current,
        versions=known.versions,
        ingested=_read(report),
        # Of rows that are as they were the report says nothing more: what was striking about them still is.
        valid=_holds(report, known.current),
        looked=case.looked,
    )


def _refused(report: SnapshotReport, case: _Case) -> Answer:
    """Rejected or Failed: whatever the reason, the version before stays."""
    reason = status.wire_reason(report.reason, Reason.SnapshotCrashed)
    if reason not in _SOURCE_WAS_READ:
        return _failed(reason, report.message, case)
    rules = tuple(
        FailedRule(name=rule.name[:128], observed=rule.observed[:128], message=rule.message[:1024])
        for rule in report.failed_rules[:64]
    )
    return Answer(
        current=case.known.current,
        versions=case.known.versions,
        failed_rules=rules,
        ingested=_read(report),
        valid=status.mark(VALID, False, reason, case.text(reason, report.message)),
        looked=case.looked,
    )


def _silent(case: _Case) -> Answer:
    """The Job ended without a report."""
    if case.job.reason == jobs.DEADLINE_EXCEEDED:
        return _failed(Reason.DeadlineExceeded.name, _held_until_the_end(case), case)
    failed = case.job.first_failure()
    pod, container = failed if failed is not None else (None, None)
    if container is not None and container.reason == jobs.OUT_OF_MEMORY:
        return _failed(Reason.SnapshotOutOfMemory.name, "", case)
    lost = pod.loss_of(container) if pod is not None and container is not None else ""
    if lost:
        return _failed(Reason.SnapshotLost.name, f"The snapshot's pod went: {lost}", case)
    if container is not None:
        said = jobs.last_line(container.message)
        why = f"The snapshot ended with exit code {container.exit_code}" + (f": {said}" if said else "")
        return _failed(Reason.SnapshotCrashed.name, why, case)
    if case.job.state == "Succeeded" and next(case.job.termination_messages(), None) is not None:
        return _failed(Reason.MalformedReport.name, "", case)
    why = f"The snapshot's pod went: {pod.reason}: {pod.message}" if pod is not None and pod.reason else ""
    return _failed(Reason.SnapshotLost.name, why, case)


def _held_until_the_end(case: _Case) -> str:
    """What kept the pod from starting when the deadline came: its own words went with the pod."""
    before = conditions.find(case.known.conditions, conditions.RECONCILING)
    if before is None or before.status != "True" or before.reason not in HELD_UP:
        return ""
    return f"The snapshot did not end within an hour. {before.message.partition(' Next: ')[0]}"


def _failed(reason: str, why: str, case: _Case) -> Answer:
    known = case.known
    return Answer(
        current=known.current,
        versions=known.versions,
        failed_rules=known.failed_rules,
        ingested=status.mark(INGESTED, False, reason, case.text(reason, why)),
        valid=status.remembered(
            known.conditions, VALID, status.mark(VALID, None, Reason.NotLookedYet, "No source was read yet.")
        ),
        failure=reason,
        looked=case.looked,
    )


def _read(report: SnapshotReport) -> Mark:
    # A source whose columns do not fit is refused before its rows are counted.
    text = f"{report.rows:,} rows were read." if report.rows > 0 else Reason.Snapshotted.sentence
    return status.mark(INGESTED, True, Reason.Snapshotted, text)


def _holds(report: SnapshotReport, version: DatasetVersion) -> Mark:
    count, quality = max(0, report.rules_passed), version.quality
    text = f"{count} of {count} rules hold." if count else "The Dataset has no rules; its schema holds."
    suspects = quality.leakage_suspects[:MAX_SUSPECTS] if quality is not None else ()
    if suspects:
        named = ", ".join(f'"{one.field}" ({one.measure} {one.value})' for one in suspects)
        text += f" Label leakage is suspected: {named} alone predicts the label. Is it known before the label is?"
    striking = _striking(quality, version.parts) if quality is not None else []
    if striking:
        text += f" For information, as nothing is refused for it: {'; '.join(striking)}."
    return status.mark(VALID, True, Reason.RulesPassed, text)


def _striking(quality: DataQuality, parts: Parts | None) -> list[str]:
    """What is striking about the rows, one clause for each kind there is, with its field of status.current.quality."""
    of = f" of {parts.validation + parts.test:,}" if parts is not None else ""
    clauses = (
        (quality.duplicate_rows, "rows that repeat another one, label included (duplicateRows)", ""),
        (
            quality.conflicting_rows,
            "rows that agree with another one in all features and have another label (conflictingRows)",
            "",
        ),
        (quality.shared_rows, "rows with an Id that another one has too (sharedRows)", ""),
        (quality.copied_rows, "held-out rows that agree with a train row in all features (copiedRows)", of),
        (
            quality.near_copied_rows,
            f"held-out rows that differ from a train row in one feature, or by rounding, {_USUAL} (nearCopiedRows)",
            of,
        ),
        (quality.moved_rows, "rows that have another part than in the version before (movedRows)", ""),
    )
    return [f"{what}: {count:,}{among}" for count, what, among in clauses if count]


def _quality(found: Quality | None) -> DataQuality | None:
    return None if found is None else DataQuality.model_validate(found.to_dict())


def _about_parts(report: SnapshotReport, case: _Case) -> str:
    """What became of rows that the version before had, and what keeps the parts from their shares."""
    moved = report.quality.moved_rows if report.quality is not None else 0
    said = f" {moved:,} rows have another part than before." if moved else ""
    wanted, rows, parts = case.dataset.spec.split.fractions, report.rows, report.splits
    if parts.test == 0:
        return (
            f"{said} None is left to test on: all were trained on, or share an Id, a group or their features. Add rows."
        )
    if rows and case.known.current is not None and parts.train / rows > wanted.train + _FAR:
        has = 100 * parts.train / rows
        said += f" Rows that were trained on stay so: train has {has:.0f} %, not {100 * wanted.train:.0f} %."
    elif rows and _is_uneven(report, case):
        is_now = _shares(*(count / rows for count in (parts.train, parts.validation, parts.test)))
        asked = _shares(wanted.train, wanted.validation, wanted.test)
        said += f" {_together(case.dataset)} stay in one part, so the parts have {is_now} of the rows and not {asked}."
    return said


def _shares(train: float, validation: float, test: float) -> str:
    return f"{100 * train:.3g} %, {100 * validation:.3g} % and {100 * test:.3g} %"


def _is_uneven(report: SnapshotReport, case: _Case) -> bool:
    wanted, parts = case.dataset.spec.split.fractions, report.splits
    pairs = ((parts.train, wanted.train), (parts.validation, wanted.validation), (parts.test, wanted.test))
    return any(abs(count / report.rows - share) > _UNEVEN for count, share in pairs)


def _together(dataset: Dataset) -> str:
    """What is never divided."""
    if dataset.spec.split.group_by:
        return "Rows of one group"
    has_id = any(one.role == "Id" for one in dataset.spec.schema_.fields or ())
    return "Rows with one Id" if has_id else "Rows with the same features"


def _one(version: DatasetVersion | None) -> tuple[DatasetVersion, ...]:
    return (version,) if version is not None else ()


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return f"a {'.'.join(str(part) for part in found['loc'])} that cannot be: {found['msg']}"
