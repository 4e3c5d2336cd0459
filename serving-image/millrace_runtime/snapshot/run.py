"""One reading of a source, from the task to the report."""

from __future__ import annotations

import errno
import pathlib
import tempfile
from collections.abc import Sequence

from millrace.contract import quality as recorded
from millrace.contract.dataset import DatasetSpec
from millrace.contract.environment import SnapshotTask
from millrace.contract.quality import Quality
from millrace.contract.reading import Reading
from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule, SnapshotOutcome, SnapshotReport, Splits
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import division, intake, manifest, schema, source, tables, version
from millrace_runtime.snapshot.history import Previous
from millrace_runtime.snapshot.intake import Dividing, Intake
from millrace_runtime.snapshot.source import File

_FAULTS_OF_THE_SOURCE = frozenset(
    {Reason.SOURCE_NOT_FOUND, Reason.SOURCE_EMPTY, Reason.SOURCE_MALFORMED, Reason.SCHEMA_MISMATCH}
)


def snapshot(task: SnapshotTask) -> SnapshotReport:
    """Read, check, divide and write. Raises StageError only where trying again may help; all else is a report."""
    source_digest = ""
    try:
        previous = _load_previous(task)
        with tempfile.TemporaryDirectory() as scratch:
            say(f"reading {task.spec.source.storage_uri}")
            discretion = _discretion(task, previous)
            files = source.fetch(task.spec.source, task.spec.format, pathlib.Path(scratch), discretion)
            source_digest = source.digest(files)
            if previous and _is_same_reading(previous.manifest, source_digest, task.spec):
                return _report(SnapshotOutcome.UNCHANGED, previous.folder, previous.manifest, task, source_digest)
            return _freeze(task, files, source_digest, previous, pathlib.Path(scratch))
    except StageError as error:
        if error.retry:
            raise
        refused = error.reason in _FAULTS_OF_THE_SOURCE
        outcome = SnapshotOutcome.REJECTED if refused else SnapshotOutcome.FAILED
        return SnapshotReport(outcome, error.reason, error.message, source_digest=source_digest)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        text = "The disk of the snapshot's container is full: it holds the source, its rows and the frozen files"
        return SnapshotReport(SnapshotOutcome.FAILED, Reason.SNAPSHOT_OUT_OF_DISK, f"{text}. Make room on the nodes.")


def _load_previous(task: SnapshotTask) -> Previous | None:
    if task.previous is None:
        return None
    try:
        return Previous(task.previous.uri, manifest.load(task.previous.uri, task.previous.digest))
    except StageError as error:
        if error.retry or error.reason == Reason.STORE_DENIED:
            raise
        # Dividing all rows anew could put rows that a served model was trained on into its test part.
        advice = "Without it old rows cannot keep their split: restore it, or delete the Dataset and create it again"
        raise StageError(error.reason, f"The version before cannot be read: {error.message} {advice}.") from error


def _freeze(
    task: SnapshotTask, files: Sequence[File], source_digest: str, previous: Previous | None, scratch: pathlib.Path
) -> SnapshotReport:
    before = previous.manifest.fields if previous else ()
    spec = task.spec
    discretion = _discretion(task, previous)
    sheets = tables.opened(files, spec.format, spec.csv, (*spec.schema.fields, *before), discretion)
    contract = schema.resolve(spec.schema, sheets, before)
    taken = intake.read(contract, sheets, spec.validation.rules, Dividing(spec.split, previous), scratch)
    if taken.rows.rows == 0:
        raise StageError(Reason.SOURCE_EMPTY, f"{spec.source.storage_uri} has columns but no rows. Upload rows.")
    for file in files:
        file.path.unlink()  # the disk has room for the rows once less
    say(f"checked {taken.rows.rows} rows of {len(taken.fields)} columns")
    failed = tuple(found for one in taken.checks if (found := one.failed(taken.rows.blocks())) is not None)
    if failed:
        return _rejected(task, failed, source_digest, taken.rows.rows)
    reading = taken.account.reading(taken.contract, sheets)
    return _write(task, taken, reading, source_digest, previous, scratch)


def _discretion(task: SnapshotTask, previous: Previous | None) -> Discretion:
    """A column that is no longer declared is what it was in the version before."""
    return Discretion((*(previous.manifest.fields if previous else ()), *task.spec.schema.fields))


def _write(
    task: SnapshotTask,
    taken: Intake,
    reading: Reading,
    source_digest: str,
    previous: Previous | None,
    scratch: pathlib.Path,
) -> SnapshotReport:
    how = task.spec.split
    told = division.ways(taken.fields, how, previous)
    divided = division.divide(taken.numbers, how, told, previous)
    written = version.write(taken, divided, scratch / "version")
    if previous and _is_same_version(previous.manifest, written.content_digest, task.spec):
        return _report(SnapshotOutcome.UNCHANGED, previous.folder, previous.manifest, task, source_digest, reading)
    eras = divided.recalled.eras
    made = manifest.Manifest(
        files=written.parts,
        fields=taken.fields,
        split=how,
        identity=eras[0].columns,
        content_digest=written.content_digest,
        source_digest=source_digest,
        spec_digest=_spec_digest(task.spec),
        eras=eras,
        memory={name: part.digest for name, part in written.memory.items()},
        departed=written.departed,
        by_features=divided.recalled.by_features,
        lineage=divided.recalled.lineage,
    )
    folder = manifest.location(task.store_uri, task.namespace, task.name, made.digest)
    say(f"writing {folder}")
    version.send(written, made, reading, folder)
    return _report(SnapshotOutcome.FROZEN, folder, made, task, source_digest, reading, recorded.told(written.quality))


def _is_same_version(previous: manifest.Manifest, content: str, spec: DatasetSpec) -> bool:
    return bool(previous.eras) and previous.content_digest == content and previous.split == spec.split


def _is_same_reading(previous: manifest.Manifest, source_digest: str, spec: DatasetSpec) -> bool:
    is_ours = bool(previous.eras)  # else rows that are equal may be in two parts
    return is_ours and previous.source_digest == source_digest and previous.spec_digest == _spec_digest(spec)


def _spec_digest(spec: DatasetSpec) -> str:
    decisive = spec.to_dict()
    decisive.pop("source")
    return manifest.of(decisive)


def _rejected(task: SnapshotTask, failed: tuple[FailedRule, ...], source_digest: str, rows: int) -> SnapshotReport:
    count = len(task.spec.validation.rules)
    said = "; ".join(f"{rule.name}: {rule.message}" for rule in failed[:3])
    return SnapshotReport(
        SnapshotOutcome.REJECTED,
        str(Reason.RULE_VIOLATED),
        f"{len(failed)} of {count} rules do not hold: {said}. Correct the source, or spec.validation.rules.",
        source_digest=source_digest,
        rows=rows,
        rules_passed=count - len(failed),
        rules_failed=len(failed),
        failed_rules=failed,
    )


def _report(
    outcome: SnapshotOutcome,
    folder: str,
    made: manifest.Manifest,
    task: SnapshotTask,
    source_digest: str,
    reading: Reading | None = None,
    found: Quality | None = None,
) -> SnapshotReport:
    counts = {name: part.rows for name, part in made.files.items()}
    verb = "are frozen" if outcome is SnapshotOutcome.FROZEN else "are what the current version already holds"
    return SnapshotReport(
        outcome,
        message=f"{made.rows} rows {verb}.",
        digest=made.digest,
        source_digest=source_digest,
        uri=folder,
        rows=made.rows,
        bytes=made.bytes,
        schema_digest=manifest.schema_digest(made.fields),
        profile_uri=manifest.join(folder, "profile.json"),
        rules_passed=len(task.spec.validation.rules),
        splits=Splits(**counts),
        reading=reading.summary() if reading is not None else None,
        quality=found,
    )
