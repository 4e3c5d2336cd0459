"""Divided rows to a version in the store: three Parquet files, what the next version must know, profile and reports."""

from __future__ import annotations

import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from millrace.contract import quality as recorded
from millrace.contract.dataset import Field, Role
from millrace.contract.quality import Quality
from millrace.contract.reading import REPORT_FILE, Reading
from millrace.contract.reasons import Reason
from millrace_runtime import store
from millrace_runtime.outcome import StageError, store_error
from millrace_runtime.snapshot import freeze, history, leakage, manifest, quality, shuffle
from millrace_runtime.snapshot.ahead import ahead
from millrace_runtime.snapshot.division import ROW, Division
from millrace_runtime.snapshot.hashing import Hashes
from millrace_runtime.snapshot.intake import Intake
from millrace_runtime.snapshot.manifest import Manifest, Part
from millrace_runtime.snapshot.partfile import PartFile
from millrace_runtime.snapshot.quality import Alike, NearCopies
from millrace_runtime.snapshot.shuffle import KEY
from millrace_runtime.snapshot.split import PARTS, TRAIN

Table = Any
_CHUNK_BYTES = 8 * 1024 * 1024
_SMALL_BYTES = 32 * 1024 * 1024
"""Up to here a file is sent as one object, which may be tried again; a larger one is sent in pieces."""


@dataclass(frozen=True)
class Written:
    """The files of a version on this disk."""

    folder: pathlib.Path
    parts: Mapping[str, Part]
    memory: Mapping[str, Part]
    """What the next version must know."""
    departed: int
    """Units of the memory that no row belongs to any more."""
    content_digest: str
    profile: str
    quality: Quality


def write(intake: Intake, divided: Division, folder: pathlib.Path) -> Written:
    """Write the rows, in the order of their contents, to the disk; they are gone from the intake afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = intake.numbers.known.kinds
    with ThreadPoolExecutor(1) as beside:
        # What the next version must know follows from the keys alone: it is written while equal rows are looked for.
        remembered = beside.submit(history.write, divided.recalled, kinds, divided.parts, folder)
        alike = quality.alike(intake.numbers.likeness, divided.parts)
        memory, departed = remembered.result()
    features = [one.name for one in intake.fields if one.role is Role.FEATURE]
    pass_ = _Pass(intake.fields, NearCopies(features), folder)
    with ThreadPoolExecutor(1) as writer:
        waiting: Future[None] | None = None
        for table, order in ahead(intake.rows.ordered()):
            ready = pass_.take(table, order, divided, alike)
            if waiting is not None:
                waiting.result()
            # One span is written while the next one is read and sorted.
            waiting = writer.submit(pass_.write, ready)
        if waiting is not None:
            waiting.result()
    for file in pass_.files.values():
        file.close()
    with ThreadPoolExecutor() as beside:
        parts = {name: beside.submit(file.part) for name, file in pass_.files.items()}
        searched = beside.submit(pass_.near.found, _read_back(folder / "train.parquet", features))
        sample = pass_.sample.table()
        suspects = leakage.suspects(sample, intake.fields, Hashes(sample).contents(features))
        profile = freeze.profile(sample, intake.fields).to_json()
        near = searched.result()
    found = Quality(
        duplicate_rows=alike.duplicates,
        conflicting_rows=alike.conflicts,
        shared_rows=quality.shared(kinds) if divided.recalled.eras[0].ids else 0,
        copied_rows=int(alike.copied.sum()),
        near_copied_rows=_scaled(near, pass_.near.held_out, divided, alike),
        moved_rows=divided.moved,
        compared_held_out=pass_.near.held_out,
        compared_train=pass_.near.train,
        leakage_suspects=suspects,
    )
    files = {name: part.result() for name, part in parts.items()}
    return Written(folder, files, memory, departed, pass_.content.digest, profile, found)


class _Pass:
    """One walk over all rows in order."""

    def __init__(self, fields: Sequence[Field], near: NearCopies, folder: pathlib.Path) -> None:
        kind = pa.schema([(one.name, freeze.ARROW[one.type]) for one in fields])
        self.files = {name: PartFile(folder / f"{name}.parquet", kind) for name in PARTS}
        self.content = freeze.Content(fields)
        self.sample = _Sample(fields, kind)
        self.near = near

    def take(self, table: Table, order: Any, divided: Division, alike: Alike) -> list[Table]:
        """Look at rows; return those of each part, in order."""
        rows = np.asarray(table[ROW])[order]
        parts = divided.parts[rows]
        self.content.add(shuffle.keys_of(table)[order], parts)
        table = table.drop_columns([KEY, ROW])
        self.sample.add(table, order)
        by_part = np.argsort(parts, kind="stable")
        ends = np.searchsorted(parts[by_part], np.arange(len(PARTS) + 1))
        table = table.take(pa.array(order[by_part]))
        ready = [table.slice(ends[code], ends[code + 1] - ends[code]) for code in range(len(PARTS))]
        new = ~alike.copied[rows[by_part]]
        for code, part in enumerate(ready):
            if code != TRAIN and part.num_rows:
                self.near.hold_out(part.filter(pa.array(new[ends[code] : ends[code + 1]])))
        return ready

    def write(self, ready: list[Table]) -> None:
        """Write rows of each part."""
        for name, table in zip(PARTS, ready, strict=True):
            self.files[name].add(table)


class _Sample:
    """The first rows in order: what the profile is of."""

    def __init__(self, fields: Sequence[Field], kind: Any) -> None:
        self._names = [one.name for one in fields if one.role in (Role.FEATURE, Role.LABEL)]
        self._empty = kind.empty_table().select(self._names)
        self._held: list[Table] = []
        self._rows, self._bytes = freeze.PROFILE_ROWS, freeze.PROFILE_BYTES

    def add(self, table: Table, order: Any) -> None:
        if not self._rows:
            return
        table = table.select(self._names).take(pa.array(order[: self._rows]))
        fitting = table.num_rows if table.nbytes <= self._bytes else self._bytes * table.num_rows // table.nbytes
        table = table.slice(0, fitting)
        if table.num_rows:
            self._held.append(table.combine_chunks())
        full = fitting == 0
        self._rows, self._bytes = (0, 0) if full else (self._rows - table.num_rows, self._bytes - table.nbytes)

    def table(self) -> Table:
        return pa.concat_tables([self._empty, *self._held]).combine_chunks()


def _scaled(near: int, compared: int, divided: Division, alike: Alike) -> int:
    """Near copies among all held-out rows, as far as those compared tell."""
    held_out = int((divided.parts != TRAIN).sum()) - int(alike.copied.sum())
    return round(near * held_out / max(1, compared))


def _read_back(path: pathlib.Path, names: list[str]) -> Iterator[Table]:
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def send(written: Written, made: Manifest, reading: Reading, folder: str) -> None:
    """Put all files where the version belongs; the manifest last: a version without it was never finished."""
    report = json.dumps({"reading": reading.to_dict()}, ensure_ascii=False, allow_nan=False, indent=1)
    small = {"profile.json": written.profile, recorded.FILE: written.quality.to_json(), REPORT_FILE: report}
    try:
        for name in (*(f"{part}.parquet" for part in PARTS), *made.memory):
            _send(written.folder / name, manifest.join(folder, name))
        for name, text in (*small.items(), (manifest.FILE, made.to_json())):
            store.write_bytes(manifest.join(folder, name), text.encode())
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
