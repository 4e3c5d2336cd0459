"""What becomes of every column type that Parquet knows: one table, from the Arrow type to its reading.

A column is first brought to one of seven plain forms without loss, or refused with the first row that cannot be:

| in the file | plain form | inferred as |
| --- | --- | --- |
| bool, arrow.bool8 | bool | Bool |
| integers of 8 to 64 bits, with and without sign | int64; text above it | Int64; String above it |
| float16, float32 | float32 | Float32 |
| float64 | float64 | Float64 |
| decimals | text | Int64 where whole and small enough, Float64 with decimals, else String |
| date32, date64, timestamps of every unit and zone | timestamp[us, UTC] | Timestamp |
| time32, time64 | text, `10:00:00` | String |
| string, large_string, string_view, arrow.json | text | String |
| binary, large_binary, binary_view, fixed_size_binary | text, if UTF-8 | String |
| arrow.uuid | text, `xxxxxxxx-xxxx-...` | String |
| null | null | that of the other files, else String |
| dictionary, run_end_encoded | those of its values | that of its values |
| list, map, struct, union, duration, interval, other extension types | none: role Ignore leaves them out | |
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import FieldType
from millrace_runtime.snapshot.texts import ARROW, MisfitError

Array = Any
UTC = ARROW[FieldType.TIMESTAMP]
_EXTENSION = b"ARROW:extension:name"
_FIRST_YEAR, _LAST_YEAR = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of 0001-01-01 and of the end of 9999: what ISO 8601 and every reader here can say."""


@dataclass(frozen=True)
class Reading:
    """`kind` is what Infer makes of it; None where the values decide. `plain` raises MisfitError."""

    kind: FieldType | None
    plain: Callable[[Array], Array]


class UnreadableError(Exception):
    """No field can hold the type; `str` of it is the type's name."""


def reading(field: pa.Field) -> Reading:
    """The reading of a column of a file's schema. Raises UnreadableError."""
    stated = (field.metadata or {}).get(_EXTENSION, b"").decode("utf-8", "replace")
    return _of(field.type, stated)


def _of(kind: Any, extension: str = "") -> Reading:
    if isinstance(kind, pa.BaseExtensionType):
        extension = kind.extension_name
        inner = _of(kind.storage_type, extension)
        return Reading(inner.kind, lambda array: inner.plain(array.storage))
    if extension:
        return _extension(kind, extension)
    for test, found in _TABLE:
        if test(kind):
            return found(kind)
    raise UnreadableError(str(kind))


def _extension(kind: Any, name: str) -> Reading:
    if name == "arrow.bool8":
        return Reading(FieldType.BOOL, lambda array: pc.not_equal(array, 0))
    if name == "arrow.uuid":
        return Reading(FieldType.STRING, _uuids)
    if name == "arrow.json":
        return _of(kind)
    raise UnreadableError(f"extension type {name}")


def _fixed(kind: FieldType, plain: Callable[[Array], Array]) -> Callable[[Any], Reading]:
    return lambda _: Reading(kind, plain)


def _cast(to: Any) -> Callable[[Array], Array]:
    return lambda array: array.cast(to)


def _unsigned(array: Array) -> Array:
    largest = pc.max(array).as_py()
    return array.cast(pa.int64() if largest is None or largest < 2**63 else pa.string())


def _instants(array: Array) -> Array:
    try:
        found = array.cast(pa.timestamp("us", array.type.tz)).cast(UTC)
    except pa.ArrowInvalid as error:
        raise _finer(array) from error
    whole = found.cast(pa.int64())
    bounds = pc.min_max(whole).as_py()
    if bounds["min"] is not None and not _FIRST_YEAR <= bounds["min"] <= bounds["max"] <= _LAST_YEAR:
        outside = pc.or_(pc.less(whole, _FIRST_YEAR), pc.greater(whole, _LAST_YEAR))
        row = pc.index(outside, True).as_py()
        raise MisfitError(row, f"{whole[row]} us", "is not within the years 1 to 9999")
    return found


def _finer(array: Array) -> MisfitError:
    """Nanoseconds between two microseconds, or a second so far away that it has no microseconds of 64 bits."""
    whole = array.cast(pa.int64())
    if array.type.unit == "ns":
        broken = pc.not_equal(pc.multiply(pc.divide(whole, 1000), 1000), whole)
        problem = "is finer than the microseconds of a Timestamp: cannot be read as Timestamp without loss"
    else:
        scale = {"s": 1_000_000, "ms": 1_000}[array.type.unit]
        broken = pc.or_(pc.less(whole, _FIRST_YEAR // scale), pc.greater(whole, _LAST_YEAR // scale))
        problem = "is not within the years 1 to 9999"
    row = pc.index(broken, True).as_py()
    return MisfitError(row, f"{whole[row]} {array.type.unit}", problem)


def _days(array: Array) -> Array:
    if pa.types.is_date64(array.type):
        return _instants(array.cast(pa.int64()).cast(pa.timestamp("ms")))
    return _instants(array.cast(pa.timestamp("s")))


_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _times(array: Array) -> Array:
    """`10:00:00`, with six digits behind it where there is a fraction, as Python writes a time; nine where needed."""
    unit = array.type.unit
    whole = array.cast(pa.int32() if pa.types.is_time32(array.type) else pa.int64()).cast(pa.int64())
    outside = pc.or_(pc.less(whole, 0), pc.greater_equal(whole, 86_400 * _PER_SECOND[unit]))
    row = pc.index(outside, True).as_py()
    if row >= 0:
        raise MisfitError(row, f"{whole[row]} {unit}", "is not within a day")
    written = array.cast(pa.time64("ns" if unit == "ns" else "us")).cast(pa.string())
    return pc.replace_substring_regex(pc.replace_substring_regex(written, r"(\.\d{6})000$", r"\1"), r"\.0+$", "")


def _strings(array: Array) -> Array:
    """A file may say that bytes are text without having looked."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _bytes(array.cast(pa.binary()))
    return array


def _bytes(array: Array) -> Array:
    if pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(array.to_pylist()):
            try:
                (value or b"").decode("utf-8")
            except UnicodeDecodeError:
                raise MisfitError(row, value[:16].hex(), "(hexadecimal) is not text in UTF-8") from None
        raise


def _uuids(array: Array) -> Array:
    values = [None if value is None else _uuid(value) for value in array.to_pylist()]
    return pa.array(values, pa.string())


def _uuid(value: Any) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value))


def _dictionary(kind: Any) -> Reading:
    """A file's rows come with the values themselves."""
    inner = _of(kind.value_type)
    return Reading(inner.kind, inner.plain)


def _runs(kind: Any) -> Reading:
    inner = _of(kind.value_type)
    return Reading(inner.kind, lambda array: inner.plain(pc.run_end_decode(array)))


_TABLE: tuple[tuple[Callable[[Any], bool], Callable[[Any], Reading]], ...] = (
    (pa.types.is_null, lambda _: Reading(None, lambda array: array)),
    (pa.types.is_boolean, _fixed(FieldType.BOOL, lambda array: array)),
    (pa.types.is_uint64, lambda _: Reading(None, _unsigned)),
    (pa.types.is_integer, _fixed(FieldType.INT64, _cast(pa.int64()))),
    (pa.types.is_float64, _fixed(FieldType.FLOAT64, lambda array: array)),
    (pa.types.is_floating, _fixed(FieldType.FLOAT32, _cast(pa.float32()))),
    (pa.types.is_decimal, lambda _: Reading(None, _cast(pa.string()))),
    (pa.types.is_timestamp, _fixed(FieldType.TIMESTAMP, _instants)),
    (pa.types.is_date, _fixed(FieldType.TIMESTAMP, _days)),
    (pa.types.is_time, _fixed(FieldType.STRING, _times)),
    (pa.types.is_string, _fixed(FieldType.STRING, _strings)),
    (pa.types.is_large_string, _fixed(FieldType.STRING, lambda array: _strings(array.cast(pa.string())))),
    (pa.types.is_string_view, _fixed(FieldType.STRING, lambda array: _strings(array.cast(pa.string())))),
    (pa.types.is_fixed_size_binary, _fixed(FieldType.STRING, _bytes)),
    (pa.types.is_binary, _fixed(FieldType.STRING, _bytes)),
    (pa.types.is_large_binary, _fixed(FieldType.STRING, _bytes)),
    (pa.types.is_binary_view, _fixed(FieldType.STRING, _bytes)),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_run_end_encoded, _runs),
)
