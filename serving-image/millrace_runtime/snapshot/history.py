"""What earlier versions know of a row: the part it had, also if it left since, or is now told apart by other columns.

`assignment.parquet` holds a key and a part for every unit of the version, then for those that departed. A key is a
hash: where a later version tells rows apart by other columns, the keys are made anew from the rows of the versions in
the store. What is too much to remember is forgotten into a filter that knows every unit that was ever trained on, and
takes a few others for one: those are trained on too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import hashing, identity, manifest
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.identity import NO_KEY, RowKeys
from millrace_runtime.snapshot.manifest import Ancestor, Identity, Manifest
from millrace_runtime.snapshot.split import PARTS, TRAIN, UNKNOWN, Parts

Table = Any
Rows = tuple[Numbers, Parts]
"""A key and a part per row."""
Reread = tuple[tuple[Numbers, ...], Parts]
"""The same, with one key for each kind."""
ASSIGNMENT_FILE = "assignment.parquet"
FORGOTTEN_FILE = "forgotten.bin"
DEPARTED_UNITS = 5_000_000
"""Units that left the source are remembered one by one up to this many, 9 bytes each."""
ERAS = 8
"""So many ways in which rows were told apart are remembered."""
LINEAGE = 50
"""So many versions are read again when rows are told apart by other columns than before."""
_FILTER_BYTES = 32 * 1024 * 1024
_PROBES = 4


@dataclass(frozen=True)
class Previous:
    """The version before."""

    folder: str
    manifest: Manifest


@dataclass(frozen=True)
class Known:
    """Keys, sorted, each once, and the part closest to training that each ever had; the order in which they came."""

    keys: Numbers
    parts: Parts
    age: npt.NDArray[np.int64]

    def part_of(self, keys: Numbers) -> Parts:
        """Return the part of each key, UNKNOWN where there is none."""
        found = np.full(len(keys), UNKNOWN, dtype=np.int8)
        if len(self.keys):
            at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            same = (self.keys[at] == keys) & (keys != NO_KEY)
            found[same] = self.parts[at[same]]
        return found

    def without(self, lookups: Sequence[Numbers]) -> Known:
        """Return what none of the keys means."""
        rest = ~np.logical_or.reduce([hashing.among(self.keys, keys) for keys in lookups])
        return Known(self.keys[rest], self.parts[rest], self.age[rest])


@dataclass(frozen=True)
class Ways:
    """How rows are told apart, and how they were: what keys a row is looked up by."""

    now: Identity
    bridge: Identity | None = None
    """How rows of earlier versions are read again, where their keys were made otherwise."""
    before: tuple[Identity, ...] = ()


@dataclass(frozen=True)
class Recalled:
    """What is known of rows that are about to be frozen."""

    parts: Parts
    """Each row's part of old, or UNKNOWN."""
    departed: Known
    """Units that none of the rows belongs to."""
    eras: tuple[Identity, ...]
    """How rows are told apart now, then how they were before."""
    lineage: tuple[Ancestor, ...] = ()
    """Versions whose rows would have to be read again, should rows be told apart by other columns."""
    by_features: bool = False
    """Whether a unit is remembered by its features alone."""
    forgotten: bytes = b""
    reread: tuple[Reread, ...] = ()
    """The rows of the version before, one by one, where they were read again."""


def ways(now: Identity, past: Manifest | None) -> Ways:
    """How rows of the next version are looked up in this one and those before."""
    if past is None:
        return Ways(now)
    before = tuple(era for era in past.eras if era != now)
    if past.eras and _tells_alike(now, past):
        return Ways(now, None, before)
    common = _common(now, [one.name for one in past.fields])
    return Ways(now, common if common.columns else None, before)


def first(now: Identity, keys: RowKeys) -> Recalled:
    """What is known before the first version."""
    unknown = np.full(len(keys.kinds[0]), UNKNOWN, dtype=np.int8)
    return Recalled(unknown, _known([]), (now,), by_features=keys.by_features)


def recall(
    previous: Previous, how: Ways, keys: RowKeys, bridge: Sequence[Numbers], before: Sequence[Numbers]
) -> Recalled:
    """Look rows up in everything that was frozen before, by their keys of each way. Raises StageError."""
    past, held, reread = previous.manifest, [], []
    if past.eras:
        held.append(_assignment(previous))
    if how.bridge is not None:
        reread = list(_reread(Ancestor(previous.folder, past.digest), how.bridge, past))
        older = [rows for each in past.lineage for rows in _reread(each, how.bridge)]
        held += [(each, parts) for kinds, parts in (*reread, *older) for each in kinds]
        say(f"rows are told apart by other columns: {sum(len(parts) for _, parts in reread)} were read again")
    known = _known(held)
    lookups = (*keys.kinds, *bridge, *before)
    parts = np.minimum.reduce([known.part_of(each) for each in lookups])
    forgotten = _forgotten(previous)
    if forgotten:
        strange = np.flatnonzero(parts == UNKNOWN)
        parts[strange[np.logical_or.reduce([_holds(forgotten, each[strange]) for each in lookups])]] = TRAIN
    departed = known.without(lookups)
    if not len(departed.keys) and not forgotten:
        return Recalled(parts, departed, (how.now,), by_features=keys.by_features, reread=tuple(reread))
    eras = dict.fromkeys((how.now, *([how.bridge] if how.bridge else []), *how.before))
    lineage = (*past.lineage, Ancestor(previous.folder, past.digest))[-LINEAGE:]
    by_features = keys.by_features or past.by_features
    return Recalled(parts, departed, tuple(eras)[:ERAS], lineage, by_features, forgotten, tuple(reread))


def moved(recalled: Recalled, bridge: Sequence[Numbers], parts: Parts) -> int:
    """Return how many rows have another part than in the version before; `bridge` are the rows' keys of that way."""
    if not recalled.reread:
        return int(((recalled.parts != UNKNOWN) & (recalled.parts != parts)).sum())
    now = _known([(keys, parts) for keys in bridge])
    found = [(np.minimum.reduce([now.part_of(keys) for keys in kinds]), were) for kinds, were in recalled.reread]
    return sum(int(((are != UNKNOWN) & (are != were)).sum()) for are, were in found)


def files(recalled: Recalled, row_keys: RowKeys, parts: Parts) -> tuple[dict[str, bytes], int]:
    """Return what the next version must know, by file name, and how many departed units are in it."""
    present, gone = _known([(keys, parts) for keys in row_keys.kinds]), recalled.departed
    order = np.argsort(gone.age, kind="stable")
    over, order = order[: max(0, len(order) - DEPARTED_UNITS)], order[max(0, len(order) - DEPARTED_UNITS) :]
    forgotten = recalled.forgotten
    trained = gone.keys[over[gone.parts[over] == TRAIN]]
    if len(trained):
        forgotten = _forget(forgotten, trained)
    columns = {
        "key": pa.array(np.concatenate([present.keys, gone.keys[order]]), pa.uint64()),
        "part": pa.array(np.concatenate([present.parts, gone.parts[order]]), pa.int8()),
    }
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(
        pa.table(columns), buffer, compression="zstd", use_dictionary=["part"], store_schema=False
    )
    made = {ASSIGNMENT_FILE: buffer.getvalue()}
    if forgotten:
        made[FORGOTTEN_FILE] = forgotten
    return made, len(order)


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


def _reread(version: Ancestor, how: Identity, held: Manifest | None = None) -> Iterator[Reread]:
    """Keys and parts of the rows of a version in the store; of one that is no longer there, none."""
    try:
        past = held or manifest.load(version.uri, version.digest, Reason.SOURCE_NOT_FOUND)
        if not set(how.columns) <= {one.name for one in past.fields}:
            return
        for code, name in enumerate(PARTS):
            data = manifest.read_part(version.uri, name, past.files[name])
            rows = pyarrow.parquet.read_table(io.BytesIO(data), columns=list(how.columns))
            yield identity.keys(rows, how).kinds, np.full(rows.num_rows, code, dtype=np.int8)
    except StageError as error:
        if error.retry or held is not None:
            raise
        say(f"{error.message} Rows that left the source before then may not be recognised.")


def _known(rows: Sequence[Rows]) -> Known:
    keys = np.concatenate([np.empty(0, np.uint64), *(each for each, _ in rows)])
    parts = np.concatenate([np.empty(0, np.int8), *(each for _, each in rows)])
    order = np.lexsort((parts, keys))
    ordered = keys[order]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    fresh &= ordered != NO_KEY
    return Known(ordered[fresh], parts[order][fresh], order[fresh])


def _assignment(previous: Previous) -> Rows:
    """Keys and parts of the version before, the oldest first."""
    data = _read(previous, ASSIGNMENT_FILE)
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    keys, parts = np.asarray(table["key"], dtype=np.uint64), np.asarray(table["part"], dtype=np.int8)
    present = len(keys) - previous.manifest.departed
    return np.roll(keys, -present), np.roll(parts, -present)


def _forgotten(previous: Previous) -> bytes:
    return _read(previous, FORGOTTEN_FILE) if FORGOTTEN_FILE in previous.manifest.memory else b""


def _read(previous: Previous, name: str) -> bytes:
    uri = manifest.join(previous.folder, name)
    data = manifest.read(uri)
    if manifest.of_bytes(data) != previous.manifest.memory.get(name):
        raise StageError(Reason.DIGEST_MISMATCH, f"{uri} was changed after it was written. Restore it from a backup.")
    return data


def _forget(forgotten: bytes, keys: Numbers) -> bytes:
    """A Bloom filter of 2^28 bits and 4 probes: 1 in 3,000 strange units is taken for one of 10 million forgotten."""
    bits = np.frombuffer(forgotten or bytes(_FILTER_BYTES), dtype=np.uint8).copy()
    for place in _places(keys):
        np.bitwise_or.at(bits, place >> 3, np.left_shift(1, place & 7).astype(np.uint8))
    return bits.tobytes()


def _holds(forgotten: bytes, keys: Numbers) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(forgotten, dtype=np.uint8)
    held: npt.NDArray[np.bool_] = keys != NO_KEY
    for place in _places(keys):
        held &= (bits[place >> 3] >> (place & 7).astype(np.uint8)) & 1 == 1
    return held


def _places(keys: Numbers) -> Iterator[npt.NDArray[np.int64]]:
    for probe in range(1, _PROBES + 1):
        salted = hashing.mixed(keys + hashing.named(f"probe {probe}"))
        yield (salted % np.uint64(_FILTER_BYTES * 8)).astype(np.int64)
