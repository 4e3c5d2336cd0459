"""Divided rows to a version in the store: three Parquet files, index, profile, report, and last the manifest."""

from __future__ import annotations

import json
import pathlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millrace.contract.reading import REPORT_FILE, Reading
from millrace.contract.reasons import Reason
from millrace_runtime import store
from millrace_runtime.outcome import StageError, store_error
from millrace_runtime.snapshot import divide, freeze, manifest
from millrace_runtime.snapshot.intake import Intake
from millrace_runtime.snapshot.shuffle import Shuffle
from millrace_runtime.snapshot.spec import Field, Role, Split
from millrace_runtime.snapshot.split import PARTS

Table = Any
_CHUNK_BYTES = 8 * 1024 * 1024
_SMALL_BYTES = 32 * 1024 * 1024
"""Up to here a file is sent as one object, which may be tried again; a larger one is sent in pieces."""


@dataclass(frozen=True)
class Written:
    """The files of a version on this disk."""

    folder: pathlib.Path
    parts: Mapping[str, manifest.Part]
    content_digest: str
    profile: str

    @property
    def index(self) -> pathlib.Path:
        """Key and part of every row."""
        return self.folder / manifest.INDEX_FILE


def write(intake: Intake, old: Shuffle, asked: Split, folder: pathlib.Path) -> Written:
    """Write the rows, in key order, to the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = pa.schema([(one.name, freeze.ARROW[one.type]) for one in intake.fields])
    files = {name: freeze.PartFile(folder / f"{name}.parquet", kind) for name in PARTS}
    content, index = freeze.Content(intake.fields), freeze.Index(folder / manifest.INDEX_FILE)
    sample = _Sample(intake.fields)
    for rows in divide.divided(intake.rows, old, asked):
        content.add(rows.full, rows.parts)
        index.add(rows.keys, rows.parts, rows.known)
        sample.add(rows.table)
        for code, name in enumerate(PARTS):
            files[name].add(rows.table.filter(pa.array(rows.parts == code)))
    index.close()
    parts = {name: file.close() for name, file in files.items()}
    profile = freeze.profile(sample.table(kind), intake.fields)
    return Written(folder, parts, content.digest, profile.to_json())


class _Sample:
    """The first rows in key order: what the profile is of."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._names = [one.name for one in fields if one.role in (Role.FEATURE, Role.LABEL)]
        self._held: list[Table] = []
        self._rows, self._bytes = freeze.PROFILE_ROWS, freeze.PROFILE_BYTES

    def add(self, table: Table) -> None:
        table = table.select(self._names).slice(0, self._rows)
        fitting = table.num_rows if table.nbytes <= self._bytes else self._bytes * table.num_rows // table.nbytes
        table = table.slice(0, fitting)
        if table.num_rows:
            self._held.append(table.combine_chunks())
        full = fitting == 0
        self._rows, self._bytes = (0, 0) if full else (self._rows - table.num_rows, self._bytes - table.nbytes)

    def table(self, kind: Any) -> Table:
        empty = kind.empty_table().select(self._names)
        return pa.concat_tables([empty, *self._held]).combine_chunks()


def previous_index(folder: str, scratch: pathlib.Path) -> Shuffle:
    """Keys and parts of the version before. Raises StageError."""
    held = Shuffle(scratch / "index")
    path = scratch / "index.parquet"
    manifest.download(manifest.join(folder, manifest.INDEX_FILE), path)
    freeze.read_index(path, held)
    path.unlink()
    return held


def send(written: Written, made: manifest.Manifest, reading: Reading, folder: str) -> None:
    """Put all files where the version belongs; the manifest last: a version without it was never finished."""
    report = json.dumps({"reading": reading.to_dict()}, ensure_ascii=False, allow_nan=False, indent=1)
    try:
        for name in PARTS:
            _send(written.folder / f"{name}.parquet", manifest.join(folder, f"{name}.parquet"))
        _send(written.index, manifest.join(folder, manifest.INDEX_FILE))
        store.write_bytes(manifest.join(folder, "profile.json"), written.profile.encode())
        store.write_bytes(manifest.join(folder, REPORT_FILE), report.encode())
        store.write_bytes(manifest.join(folder, manifest.FILE), made.to_json().encode())
    except store.StoreMissing as error:
        raise StageError(Reason.STORE_UNAVAILABLE, f"{error}. Create the bucket.", retry=True) from error
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error


def _send(path: pathlib.Path, uri: str) -> None:
    if path.stat().st_size <= _SMALL_BYTES:
        store.write_bytes(uri, path.read_bytes())
        return
    for pause in (*store.PAUSES_SECONDS, None):
        try:
            with path.open("rb") as local, store.open(uri, "wb") as remote:
                shutil.copyfileobj(local, remote, _CHUNK_BYTES)
            return
        except store.StoreUnavailable:
            if pause is None:
                raise
            time.sleep(pause)
