"""Which row is trained on, which is tested on.

Units are divided, not rows: all rows of one Id, of one group, or with the same features (`identity`). A unit that has a
part keeps it; only new ones are divided. A part never goes back: from test to validation or train, from validation to
train, never the other way, so that no row of a test part was ever in a train part.

Random      a seeded hash of the unit's key, cut at the fractions: a function of the row's identity alone
Stratified  the new units of a class in the order of that hash, cut at the fractions: a class keeps its shares
Time        the newest rows are tested on; as time goes on, those that are no longer the newest are trained on

Other fractions move as few units as bring the shares there, the lowest hashes first; the share of train never shrinks
but by new rows. The seed only counts for new units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.dataset import Fractions, Method, Split
from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.hashing import Numbers

PARTS = ("train", "validation", "test")
Parts = npt.NDArray[np.int8]
"""Index into PARTS per row or unit, or UNKNOWN: the smaller, the closer to training."""
TRAIN, VALIDATION, TEST, UNKNOWN = range(4)
Order = npt.NDArray[np.intp]
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Units:
    """What is divided, in the order of the keys; `known` is each one's part of old, or UNKNOWN."""

    keys: Numbers
    known: Parts
    rows: npt.NDArray[np.int64]
    """How many rows each has."""
    strata: Numbers | None = None
    """Each one's class, for Stratified."""
    times: npt.NDArray[np.float64] | npt.NDArray[np.int64] | None = None
    """When the newest row of each happened, for Time."""


def gather(
    keys: Numbers,
    known: Parts,
    strata: Numbers | None = None,
    times: npt.NDArray[Any] | None = None,
    rows: npt.NDArray[np.int64] | None = None,
) -> Units:
    """Return the units of rows with these unit keys: the part closest to training, the least class, the newest time.

    `rows` where each of them stands for several.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(keys)), bool), ordered[1:] != ordered[:-1]]))
    if not len(first):
        return Units(keys, known, np.empty(0, np.int64), strata, times)
    return Units(
        ordered[first],
        np.minimum.reduceat(known[order], first),
        np.diff(np.append(first, len(keys))) if rows is None else np.add.reduceat(rows[order], first),
        None if strata is None else np.minimum.reduceat(strata[order], first),
        None if times is None else np.maximum.reduceat(times[order], first),
    )


def merged(many: Sequence[Units]) -> Units:
    """Units of pieces of one range of keys: a unit may be in several."""
    if len(many) == 1:
        return many[0]
    every = joined(many)
    return gather(every.keys, every.known, every.strata, every.times, every.rows)


def joined(many: Sequence[Units]) -> Units:
    """Units of one range of keys after another."""
    first = many[0]
    return Units(
        np.concatenate([each.keys for each in many]),
        np.concatenate([each.known for each in many]),
        np.concatenate([each.rows for each in many]),
        None if first.strata is None else np.concatenate([each.strata for each in many if each.strata is not None]),
        None if first.times is None else np.concatenate([each.times for each in many if each.times is not None]),
    )


def assign(units: Units, split: Split, before: Fractions | None = None) -> Parts:
    """Return a part per unit. `before` are the fractions of the last version."""
    known = units.known
    if split.method is Method.TIME and units.times is not None:
        own = _by_time(units.times, units.rows, split.fractions)
        order: npt.NDArray[np.float64] = np.argsort(np.lexsort((units.keys, units.times))).astype(np.float64)
        parts = np.minimum(known, own)
    else:
        order = draws(units.keys, split.seed)
        strata = np.zeros(len(known), dtype=np.uint64) if units.strata is None else units.strata
        parts = known.copy()
        if before is not None and before != split.fractions:
            parts = _moved(parts, strata, order, split.fractions)
        new = np.flatnonzero(known == UNKNOWN)
        places = _spread(units.keys[new], strata[new], order[new]) if units.strata is not None else order[new]
        parts[new] = _cut(places, split.fractions)
    return _with_none_empty(parts, known, order, split.fractions)


def is_drawn(split: Split, before: Fractions | None) -> bool:
    """Whether each unit is divided by itself: for most of them, `drawn` says what `assign` says."""
    return split.method is Method.RANDOM and before in (None, split.fractions)


def drawn(keys: Numbers, known: Parts, split: Split) -> Parts:
    """Return a part per unit, as `assign` does, but for a part that chance left empty."""
    parts = known.copy()
    new = known == UNKNOWN
    parts[new] = _cut(draws(keys[new], split.seed), split.fractions)
    return parts


def has_all(counts: Sequence[int], fractions: Fractions) -> bool:
    """Whether no part that `assign` would fill is empty; `counts` are units or rows of each."""
    return not (fractions.train > 0 and not counts[TRAIN]) and not (fractions.test > 0 and not counts[TEST])


def draws(keys: Numbers, seed: int) -> npt.NDArray[np.float64]:
    """Return a uniform number in [0, 1) per key."""
    salt = np.asarray([(seed + 1) * _GOLDEN % 2**64], dtype=np.uint64)
    return (hashing.mixed(keys ^ salt) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _cut(places: npt.NDArray[np.float64], fractions: Fractions) -> Parts:
    bounds = np.asarray([fractions.train, fractions.train + fractions.validation])
    # Without rounding, a sum such as 0.7 + 0.2 + 0.1 would leave a sliver for a test part of 0.
    parts = np.searchsorted(bounds, places, side="right")
    if fractions.test == 0:
        parts = np.minimum(parts, VALIDATION)
    return parts.astype(np.int8)


def _spread(keys: Numbers, strata: Numbers, order: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Systematic sampling: the i-th of a class's n units is put at (i + u) / n, u being the class's own draw."""
    if not len(keys):
        return order
    sorting, first, rank, size = _ranks(strata, (keys, order))
    # The smallest draw is not uniform; another hash of the same key is.
    start = np.repeat(draws(keys[sorting][first], -2), np.diff(np.append(first, len(keys))))
    places = np.empty(len(keys), dtype=np.float64)
    places[sorting] = (rank + start) / size
    return places


def _ranks(
    groups: npt.NDArray[np.generic], within: tuple[npt.NDArray[np.generic], ...]
) -> tuple[Order, Order, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sort by group, then by `within`, its last first.

    Return the order; where groups begin in it; and in it each one's rank and the size of its group.
    """
    sorting = np.lexsort((*within, groups))
    ordered = groups[sorting]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(first, len(ordered)))
    rank = np.arange(len(ordered)) - np.repeat(first, sizes)
    return sorting, first, rank, np.repeat(sizes, sizes)


def _moved(parts: Parts, strata: Numbers, order: npt.NDArray[np.float64], fractions: Fractions) -> Parts:
    """Move units of parts that are too large towards training, as far as the parts there are too small."""
    counts = np.bincount(parts[parts != UNKNOWN], minlength=3)
    wanted = counts.sum() * np.asarray([fractions.train, fractions.validation, fractions.test])
    excess = np.maximum(counts - wanted, 0)
    room = np.maximum(wanted - counts, 0)
    to_train = min(excess[VALIDATION], room[TRAIN])
    to_validation = min(excess[TEST], room[VALIDATION])
    made = parts.copy()
    _move(made, parts == VALIDATION, to_train, TRAIN, strata, order)
    _move(made, parts == TEST, to_validation, VALIDATION, strata, order)
    _move(made, made == TEST, min(excess[TEST] - to_validation, room[TRAIN] - to_train), TRAIN, strata, order)
    return made


def _move(
    parts: Parts, source: npt.NDArray[np.bool_], count: float, to: int, strata: Numbers, order: npt.NDArray[np.float64]
) -> None:
    """The `count` lowest draws of a part get another one, from each class its share."""
    held = np.flatnonzero(source)
    if count <= 0 or not len(held):
        return
    sorting, _, rank, size = _ranks(strata[held], (order[held],))
    parts[held[sorting[(rank + 0.5) / size < count / len(held)]]] = to


def _by_time(newest: npt.NDArray[np.generic], rows: npt.NDArray[np.int64], fractions: Fractions) -> Parts:
    """Cut the units at moments, so that each part has about its share of the rows; one moment is never divided.

    The newest moment is tested on and the oldest trained on, whatever their shares.
    """
    moments, at = np.unique(newest, return_inverse=True)
    weight = np.bincount(at, weights=rows, minlength=len(moments))
    middle = (np.cumsum(weight) - weight / 2) / max(1.0, weight.sum())
    parts = _cut(middle, fractions)
    if len(moments) > 1 and fractions.test > 0:
        parts[-1] = TEST
    if len(moments) > 1 and fractions.train > 0:
        parts[0] = TRAIN
    return parts[at]


def _with_none_empty(parts: Parts, known: Parts, order: npt.NDArray[np.float64], fractions: Fractions) -> Parts:
    """A part that chance, or a few large groups, left empty gets one unit, where there are two and it may have one."""
    made = parts.copy()
    if len(made) < 2:
        return made
    if fractions.train > 0 and not (made == TRAIN).any():
        made[np.lexsort((order, made == TEST))[0]] = TRAIN
    if fractions.test > 0 and not (made == TEST).any():
        # Not the only one that is trained on.
        is_free = ((known == UNKNOWN) | (known == TEST)) & ((made != TRAIN) | ((made == TRAIN).sum() > 1))
        free = np.flatnonzero(is_free)
        if len(free):
            made[free[np.argmax(order[free])]] = TEST
    return made
