"""One reading of a source, from the task to the report."""

from __future__ import annotations

import pathlib
import tempfile
from dataclasses import dataclass
from typing import Any

from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule, SnapshotOutcome, SnapshotReport, Splits
from millrace_runtime import store
from millrace_runtime.outcome import StageError, say, store_error
from millrace_runtime.snapshot import freeze, identity, manifest, rules, schema, source, split, tables
from millrace_runtime.snapshot.spec import DatasetSpec, Method, Task

_FAULTS_OF_THE_SOURCE = frozenset(
    {Reason.SOURCE_NOT_FOUND, Reason.SOURCE_EMPTY, Reason.SOURCE_MALFORMED, Reason.SCHEMA_MISMATCH}
)


@dataclass(frozen=True)
class _Previous:
    """The version before: what it holds, and every row's part."""

    folder: str
    manifest: manifest.Manifest


def snapshot(task: Task) -> SnapshotReport:
    """Read, check, divide and write. Raises StageError only where trying again may help; all else is a report."""
    source_digest = ""
    try:
        previous = _load_previous(task)
        with tempfile.TemporaryDirectory() as scratch:
            say(f"reading {task.spec.source.storage_uri}")
            files = source.fetch(task.spec.source, task.spec.format, pathlib.Path(scratch))
            source_digest = source.digest(files)
            if previous and _is_same_reading(previous.manifest, source_digest, task.spec):
                return _report(SnapshotOutcome.UNCHANGED, previous.folder, previous.manifest, task, source_digest)
            held = [(file.name, tables.read(file, task.spec.format)) for file in files]
        return _freeze(task, held, source_digest, previous)
    except StageError as error:
        if error.retry:
            raise
        refused = error.reason in _FAULTS_OF_THE_SOURCE
        outcome = SnapshotOutcome.REJECTED if refused else SnapshotOutcome.FAILED
        return SnapshotReport(outcome, error.reason, error.message, source_digest=source_digest)


def _load_previous(task: Task) -> _Previous | None:
    if task.previous is None:
        return None
    try:
        return _Previous(task.previous.uri, manifest.load(task.previous.uri, task.previous.digest))
    except StageError as error:
        if error.retry or error.reason == Reason.STORE_DENIED:
            raise
        # Dividing all rows anew could put rows that a served model was trained on into its test part.
        advice = "Without it old rows cannot keep their split: restore it, or delete the Dataset and create it again"
        raise StageError(error.reason, f"The version before cannot be read: {error.message} {advice}.") from error


def _freeze(task: Task, held: schema.NamedTables, source_digest: str, previous: _Previous | None) -> SnapshotReport:
    known_fields = previous.manifest.fields if previous else ()
    fields = schema.resolve(task.spec.schema, held, known_fields)
    table = schema.typed(fields, held)
    if table.num_rows == 0:
        raise StageError(Reason.SOURCE_EMPTY, f"{task.spec.source.storage_uri} has columns but no rows. Upload rows.")
    say(f"checked {table.num_rows} rows of {len(fields)} columns")
    failed = rules.failed(task.spec.validation.rules, table)
    if failed:
        return _rejected(task, failed, source_digest, table.num_rows)
    fields = tuple(field for field in fields if field.name in table.column_names)
    return _write(task, table, fields, source_digest, previous)


def _write(task: Task, table: Any, fields: Any, source_digest: str, previous: _Previous | None) -> SnapshotReport:
    names = tuple(field.name for field in fields)
    same = previous.manifest.identity if previous else names
    # A new column must not make every row a new row; without one of the old columns there is no telling.
    same = same if set(same) <= set(names) else names
    full = identity.contents(table, names)
    keys = identity.distinct(full if set(same) == set(names) else identity.contents(table, same), full)
    known = freeze.read_index(_read_index(previous)) if previous else None
    parts = split.assign(keys, task.spec.split, _strata(task.spec, table), known)
    content = freeze.content_digest(fields, full, parts)
    if previous and previous.manifest.content_digest == content:
        return _report(SnapshotOutcome.UNCHANGED, previous.folder, previous.manifest, task, source_digest)
    written = freeze.files(table, keys, parts)
    made = manifest.Manifest(
        files=freeze.describe(written, parts),
        fields=fields,
        split=task.spec.split,
        identity=same,
        content_digest=content,
        source_digest=source_digest,
        spec_digest=_spec_digest(task.spec),
    )
    folder = manifest.location(task.store_uri, task.namespace, task.name, made.digest)
    say(f"writing {folder}")
    objects = {f"{name}.parquet": data for name, data in written.items()}
    objects[manifest.INDEX_FILE] = freeze.index(keys, parts, known)
    objects["profile.json"] = freeze.profile(table, fields).to_json().encode()
    objects[manifest.FILE] = made.to_json().encode()  # last: a version without it was never finished
    _store(folder, objects)
    return _report(SnapshotOutcome.FROZEN, folder, made, task, source_digest)


def _store(folder: str, objects: dict[str, bytes]) -> None:
    try:
        for name, data in objects.items():
            store.write_bytes(manifest.join(folder, name), data)
    except store.StoreMissing as error:
        raise StageError(Reason.STORE_UNAVAILABLE, f"{error}. Create the bucket.", retry=True) from error
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error


def _read_index(previous: _Previous) -> bytes:
    return manifest.read(manifest.join(previous.folder, manifest.INDEX_FILE))


def _strata(spec: DatasetSpec, table: Any) -> list[Any] | None:
    if spec.split.method is not Method.STRATIFIED or spec.split.field is None:
        return None
    if spec.split.field not in table.column_names:
        text = f'Rows are divided by column "{spec.split.field}", which is not frozen. Correct spec.split.field.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
    return list(table[spec.split.field].to_pylist())


def _is_same_reading(previous: manifest.Manifest, source_digest: str, spec: DatasetSpec) -> bool:
    return previous.source_digest == source_digest and previous.spec_digest == _spec_digest(spec)


def _spec_digest(spec: DatasetSpec) -> str:
    decisive = spec.to_dict()
    decisive.pop("source")
    return manifest.of(decisive)


def _rejected(task: Task, failed: tuple[FailedRule, ...], source_digest: str, rows: int) -> SnapshotReport:
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
    outcome: SnapshotOutcome, folder: str, made: manifest.Manifest, task: Task, source_digest: str
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
    )
