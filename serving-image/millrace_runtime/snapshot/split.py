"""Which row is trained on, which is tested on. A row that has a part keeps it; only new rows are drawn for.

Random draws each new row by a seeded hash of its key: independent of every other row, so the shares hold up to chance.
Stratified orders the new rows of a class by that hash and cuts the order at the fractions: a class keeps its shares up
to one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.dataset import Fractions, Method, Split
from millrace_runtime.snapshot.identity import KEY_BYTES, Keys

PARTS = ("train", "validation", "test")
Parts = npt.NDArray[np.int8]
"""Index into PARTS per row."""
_UNDECIDED = -1


def assign(keys: Keys, split: Split, strata: Sequence[Any] | None, known: tuple[Keys, Parts] | None = None) -> Parts:
    """Return a part per row. `strata` (Stratified only) is each row's class; `known` the rows of earlier versions."""
    parts = _remembered(keys, known)
    new = np.flatnonzero(parts == _UNDECIDED)
    draws = _draws(keys[new], split.seed)
    if split.method is Method.STRATIFIED and strata is not None:
        draws = _spread(keys[new], draws, [strata[row] for row in new.tolist()])
    parts[new] = _cut(draws, split.fractions)
    return parts


def _remembered(keys: Keys, known: tuple[Keys, Parts] | None) -> Parts:
    parts = np.full(len(keys), _UNDECIDED, dtype=np.int8)
    if known is None or len(known[0]) == 0:
        return parts
    order = np.argsort(known[0])
    old_keys, old_parts = known[0][order], known[1][order]
    at = np.minimum(np.searchsorted(old_keys, keys), len(old_keys) - 1)
    found = old_keys[at] == keys
    parts[found] = old_parts[at[found]]
    return parts


def _draws(keys: Keys, seed: int) -> npt.NDArray[np.float64]:
    """A uniform number in [0, 1) per key."""
    salt = seed.to_bytes(16, "big", signed=True)
    numbers = (
        int.from_bytes(hashlib.blake2b(key.ljust(KEY_BYTES, b"\0"), digest_size=8, salt=salt).digest(), "big") >> 11
        for key in keys.tolist()
    )
    return np.fromiter(numbers, dtype=np.float64, count=len(keys)) / 2.0**53


def _spread(keys: Keys, draws: npt.NDArray[np.float64], strata: list[Any]) -> npt.NDArray[np.float64]:
    """Systematic sampling: the i-th of a class's n rows is put at (i + u) / n, u being the first row's own draw."""
    rows_of: dict[str, list[int]] = {}
    for row, stratum in enumerate(strata):
        rows_of.setdefault(repr(stratum), []).append(row)
    spread = np.empty_like(draws)
    for rows in rows_of.values():
        members = np.asarray(rows)
        ordered = members[np.lexsort((keys[members], draws[members]))]
        # The smallest draw is not uniform; its fractional part after scaling by another hash is.
        start = _draws(keys[ordered[:1]], -1)[0]
        spread[ordered] = (np.arange(len(ordered)) + start) / len(ordered)
    return spread


def _cut(draws: npt.NDArray[np.float64], fractions: Fractions) -> Parts:
    bounds = np.asarray([fractions.train, fractions.train + fractions.validation])
    # Without rounding, a sum such as 0.7 + 0.2 + 0.1 would leave a sliver for a test part of 0.
    parts = np.searchsorted(bounds, draws, side="right")
    if fractions.test == 0:
        parts = np.minimum(parts, 1)
    return parts.astype(np.int8)
