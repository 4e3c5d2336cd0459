"""One reading of a source, from the task to the report."""

from __future__ import annotations

import errno
import os
import pathlib
import tempfile
from dataclasses import dataclass, replace

from millrace.contract import quality as recorded
from millrace.contract.dataset import DatasetSpec
from millrace.contract.environment import SnapshotTask
from millrace.contract.erasure import ErasureReport
from millrace.contract.quality import Quality
from millrace.contract.reading import Reading
from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule, SnapshotOutcome, SnapshotReport, Splits
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import division, erasing, holding, intake, manifest, schema, source, tables, version
from millrace_runtime.snapshot.history import Previous
from millrace_runtime.snapshot.holding import Holding
from millrace_runtime.snapshot.intake import Dividing, Intake
from millrace_runtime.snapshot.source import Found

_FAULTS_OF_THE_SOURCE = frozenset(
    {Reason.SOURCE_NOT_FOUND, Reason.SOURCE_EMPTY, Reason.SOURCE_MALFORMED, Reason.SCHEMA_MISMATCH}
)


def snapshot(task: SnapshotTask) -> SnapshotReport:
    """Read, check, divide and write. Raises StageError only where trying again may help; all else is a report."""
    look = _Look(task)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return look.at(pathlib.Path(scratch))
    except StageError as error:
        if error.retry:
            raise
        refused = error.reason in _FAULTS_OF_THE_SOURCE
        outcome = SnapshotOutcome.REJECTED if refused else SnapshotOutcome.FAILED
        digest = look.source_digest
        return SnapshotReport(outcome, error.reason, error.message, source_digest=digest, erasure=look.erasure())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        text = "The disk of the snapshot's container is full: it holds the source, its rows and the frozen files"
        return SnapshotReport(SnapshotOutcome.FAILED, Reason.SNAPSHOT_OUT_OF_DISK, f"{text}. Make room on the nodes.")


@dataclass
class _Look:
    """What is known so far of one reading."""

    task: SnapshotTask
    source_digest: str = ""
    previous: Previous | None = None
    holding: Holding | None = None
    """Which versions hold Ids that are to be forgotten; None where there are no such Ids."""

    def at(self, scratch: pathlib.Path) -> SnapshotReport:
        """Read the source. Raises StageError."""
        task, spec = self.task, self.task.spec
        self.previous = _load_previous(task)
        wanted = erasing.wanted(spec.erasure, os.environ)
        if wanted is not None:
            # First of all: who holds them is told whatever becomes of the source.
            self.holding = holding.look(task, wanted, scratch)
        say(f"reading {spec.source.storage_uri}")
        found = source.fetch(spec.source, spec.format, scratch, self.discretion)
        self.source_digest = source.digest(found.files)
        if self.previous and self._is_same_reading(self.previous.manifest):
            return self.report(SnapshotOutcome.UNCHANGED, self.previous.folder, self.previous.manifest)
        return _freeze(self, found, scratch)

    @property
    def discretion(self) -> Discretion:
        """A column that is no longer declared is what it was in the version before."""
        before = self.previous.manifest.fields if self.previous else ()
        return Discretion((*before, *self.task.spec.schema.fields))

    def erasure(self, rows: int | None = None) -> ErasureReport | None:
        """Who holds Ids that are to be forgotten; `rows` were left out, if it is known."""
        return self.holding.report(rows) if self.holding is not None else None

    def _is_same_reading(self, previous: manifest.Manifest) -> bool:
        if not previous.eras:
            return False  # rows that are equal may be in two parts
        if previous.source_digest == self.source_digest and previous.spec_digest == _spec_digest(self.task.spec):
            return True
        return self.holding is not None and self.holding.gives_nothing_new(self.name(previous))

    def name(self, previous: manifest.Manifest) -> str:
        """Of everything that this reading is made of."""
        return manifest.of([previous.digest, self.source_digest, _spec_digest(self.task.spec)])

    def report(
        self,
        outcome: SnapshotOutcome,
        folder: str,
        made: manifest.Manifest,
        taken: Intake | None = None,
        reading: Reading | None = None,
        found: Quality | None = None,
    ) -> SnapshotReport:
        """What became of it: `made` is the version that there is now."""
        counts = {name: part.rows for name, part in made.files.items()}
        verb = "are frozen" if outcome is SnapshotOutcome.FROZEN else "are what the current version already holds"
        return SnapshotReport(
            outcome,
            message=f"{made.rows} rows {verb}.",
            digest=made.digest,
            source_digest=self.source_digest,
            uri=folder,
            rows=made.rows,
            bytes=made.bytes,
            schema_digest=manifest.schema_digest(made.fields),
            profile_uri=manifest.join(folder, "profile.json"),
            rules_passed=len(self.task.spec.validation.rules),
            splits=Splits(**counts),
            reading=reading.summary() if reading is not None else None,
            quality=found,
            erasure=self.erasure(taken.erased.rows if taken is not None else None),
        )


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


def _freeze(look: _Look, found: Found, scratch: pathlib.Path) -> SnapshotReport:
    spec, previous = look.task.spec, look.previous
    before = previous.manifest.fields if previous else ()
    sheets = tables.opened(found.files, spec.format, spec.csv, (*spec.schema.fields, *before), look.discretion)
    contract = schema.resolve(spec.schema, sheets, before)
    wanted = look.holding.wanted if look.holding is not None else None
    taken = intake.read(contract, sheets, spec.validation.rules, Dividing(spec.split, previous, wanted), scratch)
    if taken.erased.rows:
        say(f"left out {taken.erased.rows} rows of Ids that are to be forgotten")
    if taken.rows.rows == 0:
        none = "no rows but of Ids that are to be forgotten" if taken.erased.rows else "columns but no rows"
        raise StageError(Reason.SOURCE_EMPTY, f"{spec.source.storage_uri} has {none}. Upload rows.")
    for file in found.files:
        file.path.unlink()  # the disk has room for the rows once less
    say(f"checked {taken.rows.rows} rows of {len(taken.fields)} columns")
    failed = tuple(broken for one in taken.checks if (broken := one.failed(taken.rows.blocks())) is not None)
    if failed:
        return replace(_rejected(look, failed, taken.rows.rows), erasure=look.erasure(taken.erased.rows))
    return _write(look, taken, taken.account.reading(taken.contract, sheets, found.left_out), scratch)


def _write(look: _Look, taken: Intake, reading: Reading, scratch: pathlib.Path) -> SnapshotReport:
    task, previous = look.task, look.previous
    how = task.spec.split
    told = division.ways(taken.fields, how, previous)
    past = previous.manifest if previous else None
    telling = look.holding.rows(past) if look.holding is not None else []
    ways = (told.now, *((told.bridge,) if told.bridge else ()), *told.before)
    divided = division.divide(taken.numbers, how, told, previous, taken.erased.keys(ways, telling))
    written = version.write(taken, divided, scratch / "version")
    if previous and _is_same_version(previous.manifest, written.content_digest, task.spec):
        if look.holding is not None:
            look.holding.gave_nothing_new(look.name(previous.manifest))
        return look.report(SnapshotOutcome.UNCHANGED, previous.folder, previous.manifest, taken, reading)
    eras, wanted = divided.recalled.eras, taken.erased.wanted
    made = manifest.Manifest(
        files=written.parts,
        fields=taken.fields,
        split=how,
        identity=eras[0].columns,
        content_digest=written.content_digest,
        source_digest=look.source_digest,
        spec_digest=_spec_digest(task.spec),
        eras=eras,
        memory={name: part.digest for name, part in written.memory.items()},
        departed=written.departed,
        by_features=divided.recalled.by_features,
        erased=wanted.digests if wanted is not None else (),
        erased_by=wanted.field if wanted is not None else "",
        lineage=divided.recalled.lineage,
    )
    folder = manifest.location(task.store_uri, task.namespace, task.name, made.digest)
    say(f"writing {folder}")
    version.send(written, made, reading, folder)
    return look.report(SnapshotOutcome.FROZEN, folder, made, taken, reading, recorded.told(written.quality))


def _is_same_version(previous: manifest.Manifest, content: str, spec: DatasetSpec) -> bool:
    return bool(previous.eras) and previous.content_digest == content and previous.split == spec.split


def _spec_digest(spec: DatasetSpec) -> str:
    """Of all that decides what is frozen. Why an Id is to be forgotten does not."""
    decisive = spec.to_dict()
    decisive.pop("source")
    if spec.erasure is not None:
        decisive["erasure"] = {"field": spec.erasure.field, "ids": sorted(spec.erasure.ids)}
    return manifest.of(decisive)


def _rejected(look: _Look, failed: tuple[FailedRule, ...], rows: int) -> SnapshotReport:
    count = len(look.task.spec.validation.rules)
    said = "; ".join(f"{rule.name}: {rule.message}" for rule in failed[:3])
    return SnapshotReport(
        SnapshotOutcome.REJECTED,
        str(Reason.RULE_VIOLATED),
        f"{len(failed)} of {count} rules do not hold: {said}. Correct the source, or spec.validation.rules.",
        source_digest=look.source_digest,
        rows=rows,
        rules_passed=count - len(failed),
        rules_failed=len(failed),
        failed_rules=failed,
    )
