"""Rows of Ids that are to be forgotten: told by their keyed digests, and left out while the source is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract import erasure
from millrace.contract.dataset import Erasure, Field, Role
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import hashing, identity
from millrace_runtime.snapshot.hashing import Hashes, Numbers
from millrace_runtime.snapshot.manifest import Identity

Table = Any
NOBODY = -1


class Wanted:
    """The Ids that are to be forgotten. `digests` are sorted: a place in them stands for an Id."""

    def __init__(self, asked: Erasure, keys: Iterable[bytes]) -> None:
        """Raises StageError(ErasureKeyMissing) for a digest that none of the keys made: it would match nobody."""
        self.field = asked.field
        self.references = dict(asked.ids)
        self.digests = tuple(sorted(asked.ids))
        self.list_digest = erasure.of_list(asked.field, self.digests)
        named = {erasure.key_id(key): key for key in keys}
        made: dict[str, dict[bytes, int]] = {}
        for place, digest in enumerate(self.digests):
            name, _, code = digest.partition("-")
            made.setdefault(name, {})[bytes.fromhex(code)] = place
        missing = sorted(set(made) - set(named))
        if missing:
            raise StageError(Reason.ERASURE_KEY_MISSING, _missing(missing[0], len(named)))
        self._keys = [(named[name], places) for name, places in sorted(made.items())]

    def find(self, column: Any) -> npt.NDArray[np.int64]:
        """Return for each value the place of its digest, or NOBODY."""
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = whole.dictionary_encode() if not pa.types.is_dictionary(whole.type) else whole
        # One more at the end: what is missing is nobody.
        places = np.full(len(encoded.dictionary) + 1, NOBODY, np.int64)
        for at, value in enumerate(encoded.dictionary.to_pylist()):
            if value is not None:
                places[at] = self._place(str(value) if type(value) is int else erasure.canonical(_written(value)))
        return np.asarray(places[np.asarray(pc.fill_null(encoded.indices, len(places) - 1))])

    def _place(self, plain: str) -> int:
        for key, places in self._keys:
            place = places.get(erasure.code(key, plain))
            if place is not None:
                return place
        return NOBODY


class Erased:
    """What was left out: how many rows, and, of their columns, those that rows are told apart by."""

    def __init__(self, wanted: Wanted | None, fields: Sequence[Field] = (), groups: Sequence[str] = ()) -> None:
        self.wanted = wanted
        self.rows = 0
        self._names = naming(fields, groups)
        self._named: list[Table] = []

    def kept(self, table: Table) -> Table:
        """The rows that stay."""
        if self.wanted is None or self.wanted.field not in table.column_names:
            return table
        found = self.wanted.find(table[self.wanted.field])
        if (found == NOBODY).all():
            return table
        gone = table.filter(pa.array(found != NOBODY))
        self.rows += gone.num_rows
        self._named.append(distinct(gone, self._names))
        return table.filter(pa.array(found == NOBODY))

    def keys(self, eras: Sequence[Identity], more: Iterable[tuple[Table, str]] = ()) -> Numbers:
        """Return every key, of any of these ways, that only rows of such Ids can have.

        `more` are rows of versions, each with its column that tells whose they are.
        """
        own = [(table, self.wanted.field) for table in self._named] if self.wanted is not None else []
        made = [keys_of(table, column, eras) for table, column in (*own, *more)]
        return hashing.distinct(np.concatenate([np.empty(0, np.uint64), *made]))


def wanted(asked: Erasure | None, environ: Mapping[str, str]) -> Wanted | None:
    """Read the keys, which stand in variables that begin with ERASURE_. Raises StageError(ErasureKeyMissing)."""
    if asked is None or not asked.ids:
        return None
    texts = [value for name, value in environ.items() if name.startswith(erasure.KEY_PREFIX)]
    keys = [key for key in map(erasure.key_of, texts) if len(key) >= erasure.LEAST_KEY_BYTES]
    return Wanted(asked, keys)


def naming(fields: Sequence[Field], groups: Sequence[str]) -> list[str]:
    """Columns that may tell whose a row is."""
    return [one.name for one in fields if one.role is Role.ID or one.name in groups]


def distinct(table: Table, names: Sequence[str]) -> Table:
    """Every combination of values of these columns, once."""
    return table.select(list(names)).group_by(list(names), use_threads=False).aggregate([])


def keys_of(table: Table, column: str, eras: Sequence[Identity]) -> Numbers:
    """Return the keys that the column is part of. What is remembered by a group, or by features, may be others' too."""
    rows = Hashes(table, table.column_names)
    made = [keys for era in eras for keys in identity.keys_with(rows, era, column)]
    return np.concatenate([np.empty(0, np.uint64), *made])


def _written(value: Any) -> str:
    """A value as people write it; `erasure.canonical` does the rest."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _missing(name: str, count: int) -> str:
    least = f"The Secret of spec.erasure.keyRef has {count} keys of {erasure.LEAST_KEY_BYTES} bytes or more"
    return f"{least}, and none of them is the one that made the digests {name}-…: nobody would be forgotten."
