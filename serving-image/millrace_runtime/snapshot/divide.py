"""Rows in key order with their parts: numbering equal rows, remembering old ones, drawing for new ones.

Random draws for each row by itself, so ranges of keys are divided one after another. The other methods look at all rows
together: their keys and one column are held at once, some 60 bytes a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace_runtime.snapshot import freeze, identity, shuffle, split
from millrace_runtime.snapshot.identity import Keys
from millrace_runtime.snapshot.shuffle import KEY, Shuffle
from millrace_runtime.snapshot.spec import Method, Split
from millrace_runtime.snapshot.split import Parts

Table = Any
FULL = "\x00full"
"""Name of the column with a hash of a row's whole content, where KEY is one of a part of it."""


@dataclass(frozen=True)
class Divided:
    """A range of rows in key order; `known` are keys and parts of the version before in that range."""

    table: Table
    keys: Keys
    full: Keys
    parts: Parts
    known: tuple[Keys, Parts]


def divided(rows: Shuffle, old: Shuffle, asked: Split) -> Iterator[Divided]:
    """Yield every row once. `rows` have KEY and perhaps FULL beside their own columns, `old` KEY and `part`."""
    spans = tuple(rows.spans())
    tuple(old.spans())
    parts = _together(rows, old, spans, asked) if asked.method is not Method.RANDOM else None
    done = 0
    for span in spans:
        held, known = rows.read(span), freeze.known(old.read(span))
        if held is None:
            continue
        keys, full, order = _ordered(held)
        if parts is None:
            own = split.assign(keys, asked, None, known)
        else:
            own = parts[done : done + len(keys)]
            done += len(keys)
        table = _data(held).take(order)
        del held
        yield Divided(table, keys, full, own, known)


def blocks(rows: Shuffle) -> Iterator[Table]:
    """Yield every row once without taking it, in key order of its range."""
    for span in rows.spans():
        held = rows.read(span, keep=True)
        if held is not None:
            yield _data(held)


def _together(rows: Shuffle, old: Shuffle, spans: tuple[range, ...], asked: Split) -> Parts:
    keys: list[Keys] = []
    strata: list[Any] = []
    known: list[tuple[Keys, Parts]] = []
    for span in spans:
        held = rows.read(span, keep=True)
        known.append(freeze.known(old.read(span, keep=True)))
        if held is not None:
            own, _, order = _ordered(held)
            keys.append(own)
            strata += held[asked.field].take(order).to_pylist()
    before = (np.concatenate([one for one, _ in known]), np.concatenate([one for _, one in known]))
    return split.assign(np.concatenate(keys), asked, strata, before)


def _ordered(held: Table) -> tuple[Keys, Keys, npt.NDArray[np.int64]]:
    """Distinct keys in order, the hashes of the rows' contents in that order, and the order."""
    same = shuffle.as_bytes(held[KEY])
    full = shuffle.as_bytes(held[FULL]) if FULL in held.column_names else same
    keys = identity.distinct(same, full)
    if len(keys):
        # The n-th of equal rows stays in the range of the first.
        keys = np.ascontiguousarray(keys)
        keys.view(np.uint8).reshape(-1, 16)[:, 0] = np.ascontiguousarray(same).view(np.uint8).reshape(-1, 16)[:, 0]
    order = np.argsort(keys)
    return keys[order], full[order], order


def _data(held: Table) -> Table:
    return held.select([name for name in held.column_names if name not in (KEY, FULL)])
