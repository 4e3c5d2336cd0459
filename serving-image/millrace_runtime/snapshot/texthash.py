"""Texts as 64-bit numbers, a block of them at a time: the same on every machine, in every version.

A text of at most 128 bytes of UTF-8 is read as little-endian words of 64 bits, at least one, the last one filled up
with zeros. They go one after another through SplitMix64's finaliser: `h = mixed(length)`, then `h = mixed(h ^ word)`.
A longer one is the first 8 bytes of its BLAKE2b, which costs a call for each text and is quicker there.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
LONG = 128
_WORD = 8
_MASKS = np.asarray([(1 << 8 * length) - 1 for length in range(_WORD)] + [2**64 - 1], dtype=np.uint64)


def mixed(numbers: Numbers) -> Numbers:
    """Return SplitMix64's finaliser of each number: a bijection that looks random."""
    z = numbers >> np.uint64(30)
    z ^= numbers
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


_OF_LENGTH = mixed(np.arange(LONG + 1, dtype=np.uint64))


def texts(block: Any) -> Numbers:
    """Return one number for each text of a pyarrow array of strings; for a missing one that of the empty text."""
    return laid_out(*parts_of(block))


def laid_out(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Numbers:
    """As `texts`, of what `parts_of` returned."""
    made = _OF_LENGTH[lengths] if lengths.max(initial=0) <= LONG else mixed(lengths.astype(np.uint64))
    words = _words(data)
    at, begin, left = None, starts, np.minimum(lengths, LONG)
    for _ in range(LONG // _WORD):
        found = words[begin]
        if left.min(initial=_WORD) < _WORD:
            found &= _MASKS[np.minimum(left, _WORD)]
        if at is None:
            made = mixed(made ^ found)
        else:
            made[at] = mixed(made[at] ^ found)
        more = np.flatnonzero(left > _WORD)
        if not len(more):
            break
        if len(more) == len(left):
            begin, left = begin + _WORD, left - _WORD
        else:
            at, begin, left = more if at is None else at[more], begin[more] + _WORD, left[more] - _WORD
    for row in np.flatnonzero(lengths > LONG):
        text = data[starts[row] : starts[row] + lengths[row]].tobytes()
        made[row] = int.from_bytes(hashlib.blake2b(text, digest_size=_WORD).digest(), "little")
    return made


def parts_of(block: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the bytes of a block of texts, and where each of them begins and how long it is; 0 where it is missing."""
    _, offsets, data = block.buffers()
    if not len(block) or data is None:
        return np.empty(0, np.uint8), np.zeros(len(block), np.int64), np.zeros(len(block), np.int64)
    stored = np.frombuffer(offsets, np.int32, count=len(block) + 1, offset=4 * block.offset)
    first, last = int(stored[0]), int(stored[-1])
    ends = stored.astype(np.int64) - first
    lengths = np.diff(ends)
    if block.null_count:
        lengths[np.asarray(block.is_null())] = 0
    return np.frombuffer(data, np.uint8, count=last - first, offset=first), ends[:-1], lengths


def _words(data: npt.NDArray[np.uint8]) -> Numbers:
    """The 8 bytes from each byte on; those beyond the end are 0."""
    padded = np.concatenate([data, np.zeros(_WORD, np.uint8)])
    return np.lib.stride_tricks.as_strided(padded, (len(data) + 1, _WORD), (1, 1)).view("<u8")[:, 0]
