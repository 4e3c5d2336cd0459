"""Values and rows as 64-bit numbers, a column at a time: the same on every machine, in every version.

Numbers and instants go through the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014, with Stafford's variant 13), texts through `texthash` and the same finaliser. Neither keeps a secret:
who can write the source may make two rows collide, and gains only that the two stay together.

A row is the sum of its values' numbers, each mixed with its column's name: the order of columns does not matter, a
missing value counts nothing, and one column can be left out by subtraction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import FieldType
from millrace_runtime.snapshot import texthash
from millrace_runtime.snapshot.texthash import Numbers, mixed
from millrace_runtime.snapshot.texts import MISSING as MISSING_WORDS
from millrace_runtime.snapshot.texts import parser_of

__all__ = ["BLOCK_ROWS", "MISSING", "Hashes", "Numbers", "among", "cells", "distinct", "mixed", "named", "values"]

Table = Any
Column = Any
_EPOCH, _MICROSECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)

BLOCK_ROWS = 16_384
"""Hashed at a time: what stays in a core's own cache is twice as quick."""
MISSING = np.uint64(0)
_WHOLE, _FRACTION, _TEXT, _INSTANT, _ABSENT = (np.uint64(n * 0x9E3779B97F4A7C15 & (2**64 - 1)) for n in range(1, 6))
_LARGEST_INT64, _SMALLEST_INT64 = "9223372036854775807", "-9223372036854775808"
_NUMBER = r"^[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]{1,3})?$"
"""A decimal comma too: spec.csv.decimal may make a number of what was text."""
_WHOLE_NUMBER = r"^[+-]?[0-9]+(\.0*)?$"
_TRUTH = r"^(?i:true|false)$"
_MAY_SAY_MORE = np.zeros(256, bool)
"""The first bytes of a number, a truth, an instant or a word for missing, or of white space before one."""
_MAY_SAY_MORE[[*range(33), *b"+-.,0123456789tTfF", *{word.encode()[0] for word in MISSING_WORDS}]] = True
_MAY_SAY_MORE[[0xC2, 0xE1, 0xE2, 0xE3]] = True
_RARE_DATE = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ]|[0-9]{8}[T ][0-9]|[0-9]{4}-?W[0-9]{2})"
"""How an instant may begin that is written in a rarer way: `2026-01-02 03:04:05+00`, `20260102T030405`."""
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"


@functools.lru_cache(4096)
def named(name: str) -> np.uint64:
    """Return the number of a name."""
    return np.uint64(texthash.texts(pa.array([name]))[0])


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


class Hashes:
    """The numbers of a table's values and rows; each column is hashed once, however often it is asked for."""

    def __init__(self, table: Table, loose: Collection[str] = ()) -> None:
        """`loose` names columns of texts that will be asked for with `exact=False`, as far as it is known."""
        self._table = table
        self._loose = frozenset(loose)
        self._values: dict[tuple[str, bool], Numbers] = {}
        self._cells: dict[tuple[str, str, bool], Numbers] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def names(self) -> list[str]:
        """The table's columns."""
        return list(self._table.column_names)

    def values(self, name: str, *, exact: bool) -> Numbers:
        """As `values` of the column."""
        exact = exact or _is_read_alike(self._table[name].type)
        if (name, exact) not in self._values:
            is_text = _is_text(self._table[name].type)
            both = is_text and (not exact or name in self._loose)
            strict, loose = _numbered(self._table[name], exact=exact or is_text, loose=both or not exact)
            made = {(name, True): strict, (name, False): loose}
            self._values |= {key: numbers for key, numbers in made.items() if numbers is not None}
        return self._values[name, exact]

    def known(self, name: str) -> npt.NDArray[np.bool_]:
        """Whether there is a value; the text `NA` is one, though it may have said that there is none."""
        return np.asarray(self.values(name, exact=_is_text(self._table[name].type)) != MISSING)

    def cells(self, name: str, salt: str, *, exact: bool) -> Numbers:
        """What each value of the column adds to its row's number, under the name `salt`; 0 where it is missing."""
        exact = exact or _is_read_alike(self._table[name].type)
        if (name, salt, exact) not in self._cells:
            self._cells[name, salt, exact] = _cells(self.values(name, exact=exact), salt)
        return self._cells[name, salt, exact]

    def rows(self, names: Sequence[str], *, exact: bool) -> Numbers:
        """Return one number per row over the named columns; a row in which all of them are missing is 0."""
        total = np.zeros(len(self), dtype=np.uint64)
        for name in names:
            total += self.cells(name, name, exact=exact)
        return total

    def contents(self, names: Sequence[str], after: Numbers | None = None) -> Numbers:
        """Return one number per row over what is stored in the named columns, one after another, to the last bit.

        `after` are the numbers of other columns, which these are added to. Quicker than `rows`, and for one table: the
        order of the columns and their types matter.
        """
        made = np.zeros(len(self), dtype=np.uint64) if after is None else after
        for name in names:
            bits = self.values(name, exact=True) if _is_text(self._table[name].type) else _bits(self._table[name])
            made = mixed((made ^ bits) + named(name))
        return made


def cells(column: Column, name: str, *, exact: bool) -> Numbers:
    """Return what each value of the column adds to its row's number; 0 where it is missing."""
    return _cells(values(column, exact=exact), name)


def _cells(numbers: Numbers, name: str) -> Numbers:
    made = mixed(numbers + named(name))
    made[numbers == MISSING] = MISSING
    return made


def values(column: Column, *, exact: bool) -> Numbers:
    """Return one number per value, 0 for a missing one; 1, 1.0 and True are one value, as are 0.0 and -0.0.

    `exact=False` makes it a value's identity whatever its type was: the text `007` and the integer 7, `2024-01-31` and
    that instant are one; so are fractions that agree as 32-bit floats.
    """
    exact = exact or _is_read_alike(column.type)
    strict, loose = _numbered(column, exact=exact, loose=not exact)
    found = strict if exact else loose
    assert found is not None
    return found


def _is_read_alike(kind: Any) -> bool:
    """Whether a value of this type is itself, exactly or not."""
    return not (pa.types.is_floating(kind) or _is_text(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _numbered(column: Column, *, exact: bool, loose: bool) -> tuple[Numbers | None, Numbers | None]:
    """Exact numbers, and others that differ from them, as far as wanted."""
    strict = np.empty(len(column), dtype=np.uint64) if exact else None
    wide = np.empty(len(column), dtype=np.uint64) if loose else None
    at = 0
    for block in _blocks(column):
        end = at + len(block)
        if _is_text(block.type):
            found, other = _hashed_texts(block, loose=loose)
        else:
            found = other = _hashed(block, exact=exact)
        if strict is not None:
            strict[at:end] = found
        if wide is not None:
            wide[at:end] = other if strict is None or _is_text(block.type) else _hashed(block, exact=False)
        at = end
    return strict, wide


def _bits(column: Column) -> Numbers:
    """What is stored of each value; 0.0 and -0.0 are one, and so are NaN and nothing."""
    made = np.empty(len(column), dtype=np.uint64)
    at = 0
    for block in _blocks(column):
        end = at + len(block)
        if pa.types.is_floating(block.type):
            numbers = np.asarray(block.fill_null(np.nan) if block.null_count else block, dtype=np.float64)
            made[at:end] = (numbers + 0.0).view(np.uint64)
            missing = np.isnan(numbers)
            if missing.any():
                made[at:end][missing] = _ABSENT
        else:
            made[at:end] = _int64(block.cast(pa.int64())).view(np.uint64)
            if block.null_count:
                made[at:end][np.asarray(block.is_null())] = _ABSENT
        at = end
    return made


def _blocks(column: Column) -> Iterator[Any]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk.slice(start, BLOCK_ROWS)


def _hashed(block: Any, *, exact: bool) -> Numbers:
    kind = block.type
    if pa.types.is_floating(kind):
        numbers = np.asarray(pc.fill_null(block, np.nan) if block.null_count else block, dtype=np.float64)
        found = _floats(numbers, exact=exact)
        found[np.isnan(numbers)] = MISSING
        return found
    if pa.types.is_timestamp(kind):
        found = _tagged(_INSTANT, _int64(block.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())))
    else:
        found = _tagged(_WHOLE, _int64(block.cast(pa.int64())))
    if block.null_count:
        found[np.asarray(block.is_null())] = MISSING
    return found


def _hashed_texts(block: Any, *, loose: bool) -> tuple[Numbers, Numbers]:
    """Numbers of texts, "" being missing: as they are, and as what they say."""
    if not pa.types.is_string(block.type):
        block = block.cast(pa.string())
    data, starts, lengths = texthash.parts_of(block)
    strict = _tagged(_TEXT, texthash.laid_out(data, starts, lengths))
    strict[lengths == 0] = MISSING
    if not loose:
        return strict, strict
    plain = _plain_numbers(block)
    if plain.all():
        return strict, _tagged(_WHOLE, np.asarray(block.cast(pa.int64())))
    wide = strict.copy()
    if plain.any():
        wide[plain] = _tagged(_WHOLE, np.asarray(block.filter(pa.array(plain)).cast(pa.int64())))
    # Most texts begin like no number, truth or instant, and need no second look.
    first = data[np.minimum(starts, max(0, len(data) - 1))] if len(data) else np.zeros(len(block), np.uint8)
    rest = np.flatnonzero(_MAY_SAY_MORE[first] & ~plain & (lengths > 0))
    if len(rest):
        encoded = block.take(pa.array(rest)).dictionary_encode()
        told, meant = _said(encoded.dictionary)
        at = np.asarray(encoded.indices)
        wide[rest[told[at]]] = meant[at[told[at]]]
    return strict, wide


def _int64(block: Any) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(block, 0) if block.null_count else block, dtype=np.int64)


def _tagged(tag: np.uint64, bits: npt.NDArray[Any]) -> Numbers:
    numbers = mixed(bits.view(np.uint64) ^ tag)
    numbers[numbers == MISSING] = np.uint64(1)
    return numbers


def _floats(numbers: npt.NDArray[np.float64], *, exact: bool) -> Numbers:
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**63)
    fractions = numbers
    if not exact:
        with np.errstate(over="ignore"):
            fractions = numbers.astype(np.float32).astype(np.float64)
        # Beyond a 32-bit float's range there is nothing to round to.
        beyond = np.isinf(fractions)
        if beyond.any():
            fractions[beyond] = numbers[beyond]
    found = _tagged(_FRACTION, fractions)
    if whole.any():
        found[whole] = _tagged(_WHOLE, numbers[whole].astype(np.int64))
    return found


_Read = tuple[npt.NDArray[np.bool_], Numbers]
"""Which of the texts were understood, and the number of each."""


def _said(texts: Any) -> _Read:
    """What texts say that are a number, a truth, an instant or a word for missing."""
    trimmed = pc.utf8_trim_whitespace(texts)
    told = np.asarray(pc.is_in(trimmed, pa.array(["", *MISSING_WORDS])))
    meant = np.full(len(texts), MISSING, np.uint64)
    for pattern, read in ((_NUMBER, _numbers), (_TRUTH, _truths), (_DATE, _instants), (_RARE_DATE, _rare_instants)):
        matching = np.asarray(pc.match_substring_regex(trimmed, pattern))
        at = np.flatnonzero(matching & ~told)
        if len(at):
            understood, numbers = read(trimmed.take(pa.array(at)))
            told[at[understood]], meant[at[understood]] = True, numbers[understood]
    return told, meant


def _plain_numbers(texts: Any) -> npt.NDArray[np.bool_]:
    """Which of the texts are a few digits, as most that are numbers."""
    few = pc.less(pc.binary_length(texts), len(_LARGEST_INT64))
    return np.asarray(pc.fill_null(pc.and_(pc.ascii_is_decimal(texts), few), False))


def _numbers(texts: Any) -> _Read:
    texts = pc.replace_substring(texts, ",", ".")
    floats = np.asarray(texts.cast(pa.float64()), dtype=np.float64)
    meant = _floats(np.where(np.isfinite(floats), floats, 0.5), exact=False)
    told = np.isfinite(floats)
    whole = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, _WHOLE_NUMBER)))
    digits = pc.replace_substring_regex(texts.take(pa.array(whole)), r"^\+|\.0*$", "")
    digits = pc.replace_substring_regex(digits, r"^(-?)0+([0-9])", r"\1\2")
    fits = _fits(digits)
    small = pa.array(np.flatnonzero(fits))
    meant[whole[fits]] = _tagged(_WHOLE, np.asarray(digits.take(small).cast(pa.int64())))
    # A number of 20 digits is a name: as a float it would be a thousand others too.
    long = np.flatnonzero(~fits)
    meant[whole[long]] = _tagged(_TEXT, texthash.texts(digits.take(pa.array(long))))
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
    import pandas as pd  # half a second of processor time, for instants that are text alone

    spelled = texts.to_numpy(zero_copy_only=False).astype(object)
    moments = pd.to_datetime(spelled, format="ISO8601", utc=True, errors="coerce").as_unit("us")
    told = np.asarray(moments.notna())
    return told, _tagged(_INSTANT, np.asarray(moments.asi8, dtype=np.int64).copy())


def _rare_instants(texts: Any) -> _Read:
    """One by one, as a column that is declared a Timestamp is read."""
    parse = parser_of(FieldType.TIMESTAMP)
    told, meant = np.zeros(len(texts), bool), np.zeros(len(texts), np.int64)
    for at, text in enumerate(texts.to_pylist()):
        with contextlib.suppress(ValueError):
            meant[at] = (parse(text) - _EPOCH) // _MICROSECOND
            told[at] = True
    return told, _tagged(_INSTANT, meant)
