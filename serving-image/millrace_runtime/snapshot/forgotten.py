"""Units that left the source: the newest one by one, the others in a filter of those that were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.hashing import Numbers
from millrace_runtime.snapshot.split import TRAIN, Parts

DEPARTED_UNITS = 5_000_000
"""Units that left the source are remembered one by one up to this many, 9 bytes each."""
_FILTER_BYTES = 32 * 1024 * 1024
_PROBES = 4


@dataclass(frozen=True)
class Remembered:
    """Keys and parts, the oldest first."""

    key: Numbers
    part: Parts


class Departed:
    """Takes units in any order; `filter` are the bytes of a Bloom filter, empty while nothing was forgotten."""

    def __init__(self, filter: bytes = b"") -> None:  # noqa: A002 - what it is
        self.filter = filter
        self._keys: list[Numbers] = []
        self._parts: list[Parts] = []
        self._ages: list[npt.NDArray[np.int64]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._count or self.filter)

    def add(self, keys: Numbers, parts: Parts, ages: npt.NDArray[np.int64]) -> None:
        """Take in units; `ages` say when each was last there: the larger, the later."""
        self._keys.append(keys)
        self._parts.append(parts)
        self._ages.append(ages)
        self._count += len(keys)
        if self._count > 2 * DEPARTED_UNITS:
            self._shrink()

    def remembered(self) -> Remembered:
        """Return the newest ones; all others that were trained on are in the filter from now on."""
        self._shrink()
        return Remembered(self._keys[0], self._parts[0])

    def _shrink(self) -> None:
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        parts = np.concatenate([np.empty(0, np.int8), *self._parts])
        ages = np.concatenate([np.empty(0, np.int64), *self._ages])
        order = np.argsort(ages, kind="stable")
        over, order = np.split(order, [max(0, len(order) - DEPARTED_UNITS)])
        trained = keys[over[parts[over] == TRAIN]]
        if len(trained):
            self.filter = _forget(self.filter, trained)
        self._keys, self._parts, self._ages = [keys[order]], [parts[order]], [ages[order]]
        self._count = len(order)


def train(parts: Parts, rows: npt.NDArray[np.int64], keys: Numbers, filter: bytes) -> None:  # noqa: A002
    """Put rows into train whose key may be one that was forgotten."""
    bits = np.frombuffer(filter, dtype=np.uint8)
    held = np.ones(len(keys), bool)
    for place in _places(keys):
        held &= (bits[place >> 3] >> (place & 7).astype(np.uint8)) & 1 == 1
    parts[rows[held]] = TRAIN


def _forget(filter: bytes, keys: Numbers) -> bytes:  # noqa: A002
    """A Bloom filter of 2^28 bits and 4 probes: 1 in 3,000 strange units is taken for one of 10 million forgotten."""
    bits = np.frombuffer(filter or bytes(_FILTER_BYTES), dtype=np.uint8).copy()
    for place in _places(keys):
        np.bitwise_or.at(bits, place >> 3, np.left_shift(1, place & 7).astype(np.uint8))
    return bits.tobytes()


def _places(keys: Numbers) -> Iterator[npt.NDArray[np.int64]]:
    for probe in range(1, _PROBES + 1):
        salted = hashing.mixed(keys + hashing.named(f"probe {probe}"))
        yield (salted % np.uint64(_FILTER_BYTES * 8)).astype(np.int64)
