"""What earlier versions know of a row: the part it had, also if it left since, or is now told apart by other columns.

`assignment.parquet` holds a key and a part for every unit of the version, then for those that departed. A key is a
hash: where a later version tells rows apart by other columns, the keys are made anew from the rows of the versions in
the store. What is too much to remember is forgotten into a filter (`forgotten`) that knows every unit that was ever
trained on, and takes a few others for one: those are trained on too.

Nothing here holds all keys at once: they are compared range by range (`records`). A part is one byte a row.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import forgotten, hashing, identity, manifest
from millrace_runtime.snapshot.forgotten import Departed
from millrace_runtime.snapshot.hashing import Hashes, Numbers
from millrace_runtime.snapshot.identity import NO_KEY, Keyed
from millrace_runtime.snapshot.manifest import Ancestor, Identity, Manifest, Part
from millrace_runtime.snapshot.partfile import PartFile
from millrace_runtime.snapshot.records import Array, Records, spans
from millrace_runtime.snapshot.split import PARTS, UNKNOWN, Parts

ASSIGNMENT_FILE = "assignment.parquet"
FORGOTTEN_FILE = "forgotten.bin"
ERAS = 8
"""So many ways in which rows were told apart are remembered."""
LINEAGE = 50
"""So many versions are read again when rows are told apart by other columns than before."""
_BATCH_ROWS = 65_536
_KIND = pa.schema({"key": pa.uint64(), "part": pa.int8()})


@dataclass(frozen=True)
class Previous:
    """The version before."""

    folder: str
    manifest: Manifest


@dataclass(frozen=True)
class Known:
    """Keys, sorted, each once, and the part closest to training that each ever had."""

    keys: Numbers
    parts: Parts
    ages: npt.NDArray[np.int64]
    """When each was last seen: the larger, the later."""

    @classmethod
    def of(cls, keys: Numbers, parts: Parts, ages: npt.NDArray[np.int64] | None = None) -> Known:
        """Of keys that may repeat."""
        ages = np.zeros(len(keys), np.int64) if ages is None else ages
        order = np.argsort(keys)
        ordered = keys[order]
        first = np.flatnonzero(np.concatenate([np.ones(min(1, len(keys)), bool), ordered[1:] != ordered[:-1]]))
        if not len(first):
            return cls(keys, parts, ages)
        least, last = np.minimum.reduceat(parts[order], first), np.maximum.reduceat(ages[order], first)
        return cls(ordered[first], least, last)

    @classmethod
    def over(cls, pieces: Iterable[tuple[Array, ...]]) -> Known:
        """Of keys, parts and ages that come some at a time."""
        made = cls(np.empty(0, np.uint64), np.empty(0, np.int8), np.empty(0, np.int64))
        for keys, parts, *ages in pieces:
            more = cls.of(keys, parts, *ages)
            if not len(made.keys):
                made = more
                continue
            made = cls.of(
                np.concatenate([made.keys, more.keys]),
                np.concatenate([made.parts, more.parts]),
                np.concatenate([made.ages, more.ages]),
            )
        return made

    def find(self, keys: Numbers) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return where each of some keys is, and whether it is there."""
        if not len(self.keys):
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return at, self.keys[at] == keys


@dataclass(frozen=True)
class Ways:
    """How rows are told apart, and how they were: what keys a row is looked up by."""

    now: Identity
    bridge: Identity | None = None
    """How rows of earlier versions are read again, where their keys were made otherwise."""
    before: tuple[Identity, ...] = ()


@dataclass(frozen=True)
class Reread:
    """The rows of the version before, one by one: the number of each by its keys, and the part that it had."""

    keys: Keyed
    parts: Parts


@dataclass(frozen=True)
class Recalled:
    """What is known of rows that are about to be frozen."""

    parts: Parts
    """Each row's part of old, or UNKNOWN."""
    departed: Departed
    """Units that none of the rows belongs to."""
    eras: tuple[Identity, ...]
    """How rows are told apart now, then how they were before."""
    lineage: tuple[Ancestor, ...] = ()
    """Versions whose rows would have to be read again, should rows be told apart by other columns."""
    by_features: bool = False
    """Whether a unit is remembered by its features alone."""
    reread: Reread | None = None
    """Where the rows of the version before were read again."""


@dataclass
class Lookups:
    """All rows by each of their keys: of now, of how earlier versions are read again, and of those that they knew."""

    kinds: Keyed
    bridge: Keyed
    before: Keyed
    by_features: bool = False
    rows: int = 0


@dataclass
class _Memory:
    """Everything that is known, as `key`, `part` and `age`; what is added later is younger."""

    records: Records
    departed: Departed
    rows: int = 0
    reread: list[Reread] = field(default_factory=list)

    def add(self, keys: Numbers, parts: Parts, ages: npt.NDArray[np.int64] | None = None) -> None:
        ages = np.arange(self.rows, self.rows + len(keys)) if ages is None else ages
        self.records.add(keys, parts, ages)
        self.rows += len(keys)


def ways(now: Identity, past: Manifest | None) -> Ways:
    """How rows of the next version are looked up in this one and those before."""
    if past is None:
        return Ways(now)
    before = tuple(era for era in past.eras if era != now)
    if past.eras and _tells_alike(now, past):
        return Ways(now, None, before)
    common = _common(now, [one.name for one in past.fields])
    return Ways(now, common if common.columns else None, before)


def recall(previous: Previous | None, how: Ways, rows: Lookups, scratch: pathlib.Path, erased: Numbers) -> Recalled:
    """Look rows up in everything that was frozen before, by their keys of each way. Raises StageError.

    Keys that are `erased` are not remembered any more.
    """
    if previous is None:
        unknown = np.full(rows.rows, UNKNOWN, dtype=np.int8)
        return Recalled(unknown, Departed(), (how.now,), by_features=rows.by_features)
    past = previous.manifest
    memory = _remembered(previous, how, scratch)
    parts = np.full(rows.rows, UNKNOWN, dtype=np.int8)
    lookups = (*rows.kinds, *rows.bridge, *rows.before)
    _look_up(memory, lookups, parts, erased)
    departed = memory.departed
    reread = memory.reread[0] if memory.reread else None
    if not departed:
        return Recalled(parts, departed, (how.now,), by_features=rows.by_features, reread=reread)
    eras = dict.fromkeys((how.now, *([how.bridge] if how.bridge else []), *how.before))
    lineage = (*past.lineage, Ancestor(previous.folder, past.digest))[-LINEAGE:]
    by_features = rows.by_features or past.by_features
    return Recalled(parts, departed, tuple(eras)[:ERAS], lineage, by_features, reread)


def moved(recalled: Recalled, bridge: Keyed, parts: Parts) -> int:
    """Return how many rows have another part than in the version before; `bridge` are the rows' keys of that way."""
    if recalled.reread is None:
        return int(((recalled.parts != UNKNOWN) & (recalled.parts != parts)).sum())
    were, keys = recalled.reread.parts, recalled.reread.keys
    are = np.full(len(were), UNKNOWN, np.int8)
    for held in spans(*keys, *bridge):
        mine = (piece for each in held[len(keys) :] for piece in each)
        now = Known.over((piece["key"], parts[piece["row"]]) for piece in mine)
        for each in held[: len(keys)]:
            for piece in each:
                _take(are, piece, now)
    return int(((are != UNKNOWN) & (are != were)).sum())


def write(recalled: Recalled, kinds: Keyed, parts: Parts, folder: pathlib.Path) -> tuple[dict[str, Part], int]:
    """Write what the next version must know; return the files by name, and how many departed units are in them."""
    file = PartFile(folder / ASSIGNMENT_FILE, _KIND)
    for held in spans(*kinds):
        known = Known.over((piece["key"], parts[piece["row"]]) for each in held for piece in each)
        file.add(pa.table([known.keys, known.parts], schema=_KIND))
    gone = recalled.departed.remembered()
    file.add(pa.table([gone.key, gone.part], schema=_KIND))
    file.close()
    made = {ASSIGNMENT_FILE: file.part()}
    if recalled.departed.filter:
        path = folder / FORGOTTEN_FILE
        path.write_bytes(recalled.departed.filter)
        made[FORGOTTEN_FILE] = Part(manifest.of_bytes(recalled.departed.filter), 0, len(recalled.departed.filter))
    return made, len(gone.key)


def _look_up(memory: _Memory, lookups: Sequence[Records], parts: Parts, erased: Numbers) -> None:
    """Give each row the part closest to training that one of its keys had, and tell which keys no row has."""
    was_forgotten = memory.departed.filter
    for held, *mine in spans(memory.records, *lookups):
        known = Known.over((piece["key"], piece["part"], piece["age"]) for piece in held)
        left = ~hashing.among(known.keys, erased)
        for each in mine:
            for piece in each:
                left[_take(parts, piece, known)] = False
        memory.departed.add(known.keys[left], known.parts[left], known.ages[left])
    if was_forgotten:
        for many in spans(*lookups):
            for piece in (piece for each in many for piece in each):
                strange = piece[parts[piece["row"]] == UNKNOWN]
                forgotten.train(parts, strange["row"], strange["key"], was_forgotten)


def _take(parts: Parts, rows: Array, known: Known) -> npt.NDArray[np.intp]:
    """Give rows, each of them once in `rows`, what is known of their key. Returns what was found in `known`."""
    at, found = known.find(rows["key"])
    at, mine = at[found], rows["row"][found]
    parts[mine] = np.minimum(parts[mine], known.parts[at])
    return at


def _tells_alike(now: Identity, past: Manifest) -> bool:
    """Whether the keys of old that are remembered are made as they are now."""
    last = past.eras[0]
    if (now.salts, now.groups) != (last.salts, last.groups):
        return False
    return now.features == last.features or not past.by_features


def _common(now: Identity, old: Sequence[str]) -> Identity:
    """How rows of both versions can be told apart: as now where the old one has the columns, else by features."""
    has_ids, has_groups = (bool(names) and set(names) <= set(old) for names in (now.ids, now.groups))
    return Identity(
        ids=now.ids if has_ids else (),
        groups=now.groups if has_groups else (),
        features=tuple(name for name in now.features if name in old),
        salts=now.salts if has_ids else (),
    )


def _remembered(previous: Previous, how: Ways, scratch: pathlib.Path) -> _Memory:
    past = previous.manifest
    memory = _Memory(Records(scratch / "known", part="i1", age="i8"), Departed(_forgotten(previous)))
    if past.eras:
        _read_assignment(previous, memory, scratch)
    if how.bridge is not None:
        for each in past.lineage:
            for kinds, parts in _reread(each, how.bridge, scratch):
                _add(memory, kinds, parts)
        memory.reread.append(_reread_previous(previous, how.bridge, memory, scratch))
        say(f"rows are told apart by other columns: {len(memory.reread[0].parts)} were read again")
    return memory


def _add(memory: _Memory, kinds: Sequence[Numbers], parts: Parts) -> None:
    for keys in kinds:
        memory.add(keys[keys != NO_KEY], parts[keys != NO_KEY])


def _read_assignment(previous: Previous, memory: _Memory, scratch: pathlib.Path) -> None:
    """Keys and parts of the version before; those that departed from it come last and are older."""
    path = scratch / ASSIGNMENT_FILE
    _bring(previous, ASSIGNMENT_FILE, path)
    departed = previous.manifest.departed
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        present, at = file.metadata.num_rows - departed, 0
        for batch in file.iter_batches(_BATCH_ROWS):
            place = np.arange(at, at + batch.num_rows)
            ages = np.where(place < present, place + departed, place - present)
            memory.add(np.asarray(batch["key"], np.uint64), np.asarray(batch["part"], np.int8), ages)
            at += batch.num_rows
    path.unlink()


def _reread_previous(previous: Previous, how: Identity, memory: _Memory, scratch: pathlib.Path) -> Reread:
    keys, were, rows = Keyed(scratch / "reread"), [np.empty(0, np.int8)], 0
    for kinds, parts in _reread(Ancestor(previous.folder, ""), how, scratch, previous.manifest):
        _add(memory, kinds, parts)
        keys.add(kinds, np.arange(rows, rows + len(parts)))
        were.append(parts)
        rows += len(parts)
    return Reread(keys, np.concatenate(were))


def _reread(
    version: Ancestor, how: Identity, scratch: pathlib.Path, held: Manifest | None = None
) -> Iterator[tuple[tuple[Numbers, ...], Parts]]:
    """Keys and parts of the rows of a version in the store; of one that is no longer there, none."""
    try:
        past = held or manifest.load(version.uri, version.digest, Reason.SOURCE_NOT_FOUND)
        if not set(how.columns) <= {one.name for one in past.fields}:
            return
        for code, name in enumerate(PARTS):
            path = scratch / f"{name}.old.parquet"
            manifest.download_part(version.uri, name, past.files[name], path)
            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=list(how.columns)):
                    rows = Hashes(pa.Table.from_batches([batch]), how.columns)
                    yield identity.keys(rows, how).kinds, np.full(batch.num_rows, code, dtype=np.int8)
            path.unlink()
    except StageError as error:
        if error.retry or held is not None:
            raise
        say(f"{error.message} Rows that left the source before then may not be recognised.")


def _forgotten(previous: Previous) -> bytes:
    if FORGOTTEN_FILE not in previous.manifest.memory:
        return b""
    uri = manifest.join(previous.folder, FORGOTTEN_FILE)
    data = manifest.read(uri)
    _check(uri, manifest.of_bytes(data), previous.manifest.memory[FORGOTTEN_FILE])
    return data


def _bring(previous: Previous, name: str, path: pathlib.Path) -> None:
    uri = manifest.join(previous.folder, name)
    _check(uri, manifest.download(uri, path), previous.manifest.memory.get(name, ""))


def _check(uri: str, digest: str, wanted: str) -> None:
    if digest != wanted:
        raise StageError(Reason.DIGEST_MISMATCH, f"{uri} was changed after it was written. Restore it from a backup.")
