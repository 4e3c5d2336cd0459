"""Values and rows as 64-bit numbers, a column at a time: the same on every machine, in every version.

Numbers and instants go through the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014, with Stafford's variant 13), texts through SipHash-2-4 (Aumasson and Bernstein, 2012) and the same
finaliser, which is what `pandas.util.hash_array` computes. Neither keeps a secret: who can write the source may make
two rows collide, and gains only that the two stay together.

A row is the sum of its values' numbers, each mixed with its column's name: the order of columns does not matter, a
missing value counts nothing, and one column can be left out by subtraction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Table = Any
Column = Any
Numbers = npt.NDArray[np.uint64]

BLOCK_ROWS = 65_536
MISSING = np.uint64(0)
_WHOLE, _FRACTION, _TEXT, _INSTANT = (np.uint64(n * 0x9E3779B97F4A7C15 & (2**64 - 1)) for n in (1, 2, 3, 4))
_LARGEST_INT64, _SMALLEST_INT64 = "9223372036854775807", "-9223372036854775808"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_WHOLE_NUMBER = r"^[+-]?[0-9]+(\.0*)?$"
_TRUTH = r"^(?i:true|false)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"


def mixed(numbers: Numbers) -> Numbers:
    """Return SplitMix64's finaliser of each number: a bijection that looks random."""
    z = numbers ^ (numbers >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def named(name: str) -> Numbers:
    """Return the number of a name, as an array of one."""
    return np.asarray(pd.util.hash_array(np.asarray([name], dtype=object), categorize=False), dtype=np.uint64)


def distinct(numbers: Numbers) -> Numbers:
    """Return each number once, sorted. `numpy.unique` hashes integers, which is slower."""
    ordered = np.sort(numbers)
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def among(numbers: Numbers, others: Numbers) -> npt.NDArray[np.bool_]:
    """Return whether each number is one of the others; the fewer of the two are sorted."""
    if not len(numbers) or not len(others):
        return np.zeros(len(numbers), dtype=bool)
    if len(others) <= len(numbers):
        held = distinct(others)
        return np.equal(held[np.minimum(np.searchsorted(held, numbers), len(held) - 1)], numbers)
    held = distinct(numbers)
    place = np.minimum(np.searchsorted(held, others), len(held) - 1)
    seen = np.zeros(len(held), dtype=bool)
    seen[place[held[place] == others]] = True
    return seen[np.searchsorted(held, numbers)]


def rows(table: Table, names: Sequence[str], *, exact: bool) -> Numbers:
    """Return one number per row over the named columns; a row in which all of them are missing is 0."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name in names:
        total += cells(table[name], name, exact=exact)
    return total


def cells(column: Column, name: str, *, exact: bool) -> Numbers:
    """Return what each value of the column adds to its row's number; 0 where it is missing."""
    numbers = values(column, exact=exact)
    return np.where(numbers == MISSING, MISSING, mixed(numbers + named(name)))


def values(column: Column, *, exact: bool) -> Numbers:
    """Return one number per value, 0 for a missing one; 1, 1.0 and True are one value, as are 0.0 and -0.0.

    `exact=False` makes it a value's identity whatever its type was: the text `007` and the integer 7, `2024-01-31` and
    that instant are one; so are fractions that agree as 32-bit floats.
    """
    made = np.empty(len(column), dtype=np.uint64)
    at = 0
    for block in _blocks(column):
        made[at : at + len(block)] = _hashed(block, exact=exact)
        at += len(block)
    return made


def _blocks(column: Column) -> Iterator[Any]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk.slice(start, BLOCK_ROWS)


def _hashed(block: Any, *, exact: bool) -> Numbers:
    present = np.asarray(block.is_valid())
    kind = block.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        encoded = block if pa.types.is_dictionary(kind) else block.dictionary_encode()
        texts = _texts(encoded.dictionary.cast(pa.string()), exact=exact)
        if len(texts) == 0:
            return np.zeros(len(block), dtype=np.uint64)
        found = texts[np.asarray(pc.fill_null(encoded.indices, 0))]
    elif pa.types.is_timestamp(kind):
        found = _tagged(_INSTANT, _int64(block.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())))
    elif pa.types.is_floating(kind):
        numbers = np.asarray(pc.fill_null(block, np.nan), dtype=np.float64)
        present &= ~np.isnan(numbers)
        found = _floats(numbers, exact=exact)
    else:
        found = _tagged(_WHOLE, _int64(block.cast(pa.int64())))
    return np.where(present, found, MISSING)


def _int64(block: Any) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(block, 0), dtype=np.int64)


def _tagged(tag: np.uint64, bits: npt.NDArray[Any]) -> Numbers:
    numbers = mixed(bits.view(np.uint64) ^ tag)
    numbers[numbers == MISSING] = np.uint64(1)
    return numbers


def _floats(numbers: npt.NDArray[np.float64], *, exact: bool) -> Numbers:
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**63)
    integers = np.where(whole, numbers, 0).astype(np.int64)
    fractions = numbers
    if not exact:
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32).astype(np.float64)
        # Beyond a 32-bit float's range there is nothing to round to.
        fractions = np.where(np.isfinite(narrow), narrow, numbers)
    return np.where(whole, _tagged(_WHOLE, integers), _tagged(_FRACTION, fractions.copy()))


def _texts(texts: Any, *, exact: bool) -> Numbers:
    """Numbers of distinct texts, "" being missing."""
    raw = texts.to_numpy(zero_copy_only=False).astype(object)
    hashed = np.asarray(pd.util.hash_array(raw, categorize=False), dtype=np.uint64).copy()
    found = _tagged(_TEXT, hashed)
    found[np.asarray(pc.equal(texts, ""))] = MISSING
    if exact or not len(texts):
        return found
    trimmed = pc.utf8_trim_whitespace(texts)
    for pattern, read in ((_NUMBER, _numbers), (_TRUTH, _truths), (_DATE, _instants)):
        alike = np.asarray(pc.match_substring_regex(trimmed, pattern))
        if alike.any():
            at = np.flatnonzero(alike)
            told, meant = read(trimmed.take(pa.array(at)))
            found[at[told]] = meant[told]
    return found


_Read = tuple[npt.NDArray[np.bool_], Numbers]
"""Which of the texts were understood, and the number of each."""


def _numbers(texts: Any) -> _Read:
    floats = np.asarray(texts.cast(pa.float64()), dtype=np.float64)
    meant = _floats(np.where(np.isfinite(floats), floats, 0.5), exact=False)
    told = np.isfinite(floats)
    whole = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, _WHOLE_NUMBER)))
    digits = pc.replace_substring_regex(texts.take(pa.array(whole)), r"^\+|\.0*$", "")
    digits = pc.replace_substring_regex(digits, r"^(-?)0+([0-9])", r"\1\2")
    fits = _fits(digits)
    small = pa.array(np.flatnonzero(fits))
    meant[whole[fits]] = _tagged(_WHOLE, np.asarray(digits.take(small).cast(pa.int64())).copy())
    # A number of 20 digits is a name: as a float it would be a thousand others too.
    long = np.flatnonzero(~fits)
    spelled = digits.take(pa.array(long)).to_numpy(zero_copy_only=False).astype(object)
    names = np.asarray(pd.util.hash_array(spelled, categorize=False), dtype=np.uint64)
    meant[whole[long]] = _tagged(_TEXT, names.copy())
    told[whole] = True
    return told, meant


def _fits(digits: Any) -> npt.NDArray[np.bool_]:
    """Whether each is in the range of an Int64; whole numbers of one length compare like their texts."""
    bare = pc.replace_substring_regex(digits, "^-", "")
    length = np.asarray(pc.binary_length(bare))
    edge = np.asarray(pc.or_(pc.less_equal(bare, _LARGEST_INT64), pc.equal(digits, _SMALLEST_INT64)))
    fits: npt.NDArray[np.bool_] = (length < len(_LARGEST_INT64)) | ((length == len(_LARGEST_INT64)) & edge)
    return fits


def _truths(texts: Any) -> _Read:
    truths = np.asarray(pc.equal(pc.utf8_lower(texts), "true")).astype(np.int64)
    return np.ones(len(texts), dtype=bool), _tagged(_WHOLE, truths)


def _instants(texts: Any) -> _Read:
    spelled = texts.to_numpy(zero_copy_only=False).astype(object)
    moments = pd.to_datetime(spelled, format="ISO8601", utc=True, errors="coerce").as_unit("us")
    told = np.asarray(moments.notna())
    return told, _tagged(_INSTANT, np.asarray(moments.asi8, dtype=np.int64).copy())
