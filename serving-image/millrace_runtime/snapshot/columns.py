"""One column to its type: a conversion that loses nothing, or the first row at fault.

Int64 takes whole numbers (`3`, `3.0`), Float takes finite numbers, Bool takes true/false/1/0, Timestamp takes ISO 8601
(UTC when it names no zone), String and Category take text, whole numbers and Bools as text.
An empty CSV field and NaN are missing.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import Field, FieldType

Column = Any
ARROW = {
    FieldType.INT64: pa.int64(),
    FieldType.FLOAT32: pa.float32(),
    FieldType.FLOAT64: pa.float64(),
    FieldType.STRING: pa.string(),
    FieldType.BOOL: pa.bool_(),
    FieldType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    FieldType.CATEGORY: pa.string(),
}
_TEXT = (FieldType.STRING, FieldType.CATEGORY)
_FLOATS = (FieldType.FLOAT32, FieldType.FLOAT64)
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_FLOAT32_MAX = 3.4028234663852886e38


class MisfitError(Exception):
    """The first value that does not fit. `row` counts from 0; None when the type of the whole column is wrong."""

    def __init__(self, row: int | None, value: str, problem: str) -> None:
        super().__init__(problem)
        self.row = row
        self.value = value
        self.problem = problem


def coerce(column: Column, to: FieldType) -> Column:
    """Return the column as a pyarrow.ChunkedArray of `ARROW[to]`. Raises MisfitError."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return column.cast(ARROW[to])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _parsed(column, to)
    return _converted(column, to)


def check(column: Column, field: Field) -> None:
    """Raises MisfitError for the first value outside nullable, minimum, maximum or allowedValues."""
    if not field.nullable and column.null_count:
        _refuse(column, pc.is_null(column), "is missing, and the field is not nullable", value="")
    numeric = field.type in (*_FLOATS, FieldType.INT64)
    if field.minimum is not None and numeric:
        _refuse(column, pc.less(column, field.minimum), f"is below the minimum {field.minimum:g}")
    if field.maximum is not None and numeric:
        _refuse(column, pc.greater(column, field.maximum), f"is above the maximum {field.maximum:g}")
    if field.allowed_values is not None:
        text = column if field.type in _TEXT else column.cast(pa.string())
        allowed = pc.or_kleene(pc.is_in(text, pa.array(field.allowed_values, pa.string())), pc.is_null(text))
        shown = ", ".join(field.allowed_values[:8])
        _refuse(column, pc.invert(allowed), f"is not one of the allowed values ({shown})")


def infer(column: Column) -> FieldType:
    """The narrowest type that holds every value: Int64, Float64, Bool, Timestamp, then String. Raises MisfitError."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _inferred_from_text(column)
    tests: tuple[tuple[Callable[[Any], bool], FieldType], ...] = (
        (pa.types.is_boolean, FieldType.BOOL),
        (pa.types.is_integer, FieldType.INT64),
        (pa.types.is_float32, FieldType.FLOAT32),
        (pa.types.is_floating, FieldType.FLOAT64),
        (pa.types.is_decimal, FieldType.FLOAT64),
        (pa.types.is_temporal, FieldType.TIMESTAMP),
        (pa.types.is_null, FieldType.STRING),
    )
    for test, found in tests:
        if test(kind):
            return found
    raise MisfitError(None, str(kind), "is of a type that no field can have")


def _inferred_from_text(column: Column) -> FieldType:
    if column.null_count == len(column):
        return FieldType.STRING
    # `1.0` is written by something that has fractions elsewhere: a later file would not be whole.
    decimal = pc.any(pc.match_substring(column, ".")).as_py()
    for candidate in (FieldType.INT64, FieldType.FLOAT64, FieldType.BOOL, FieldType.TIMESTAMP):
        if decimal and candidate is FieldType.INT64:
            continue
        try:
            coerce(column, candidate)
        except MisfitError:
            continue
        return candidate
    return FieldType.STRING


def _parsed(column: Column, to: FieldType) -> Column:
    if to in _TEXT:
        text = column.cast(pa.string())
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
    text = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    if to in (*_FLOATS, FieldType.INT64):
        fast = _parsed_by_arrow(text, to)
        if fast is not None:
            return fast
    return _parsed_by_value(text, to)


def _parsed_by_arrow(text: Column, to: FieldType) -> Column | None:
    # Arrow reads 0x1F as a number and "inf" as a float; such columns take the careful path.
    if pc.any(pc.match_substring_regex(text, "[xXiInN]")).as_py():
        return None
    try:
        parsed = text.cast(ARROW[to])
    except pa.ArrowInvalid:
        return None
    if to in _FLOATS and pc.any(pc.invert(pc.is_finite(parsed))).as_py():
        return None
    return parsed


def _parsed_by_value(text: Column, to: FieldType) -> Column:
    encoded = text.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    values, bad = [], []
    for value in encoded.dictionary.to_pylist():
        try:
            values.append(_PARSERS[to](value))
        except ValueError:
            values.append(None)
            bad.append(value)
    if bad:
        _refuse(text, pc.is_in(text, pa.array(bad, pa.string())), f"is not {_article(to)}")
    return pa.chunked_array([pa.array(values, ARROW[to]).take(encoded.indices)])


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    number = int(text.split(".", maxsplit=1)[0])
    if not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number


def _float64(text: str) -> float | None:
    if text.lower() == "nan":
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def _float32(text: str) -> float | None:
    number = _float64(text)
    if number is not None and abs(number) > _FLOAT32_MAX:
        raise ValueError(text)
    return number


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def _instant(text: str) -> dt.datetime:
    if _WHOLE.fullmatch(text):
        raise ValueError(text)
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


_PARSERS: dict[FieldType, Callable[[str], Any]] = {
    FieldType.INT64: _whole,
    FieldType.FLOAT32: _float32,
    FieldType.FLOAT64: _float64,
    FieldType.BOOL: _truth,
    FieldType.TIMESTAMP: _instant,
}


def _converted(column: Column, to: FieldType) -> Column:
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if to is FieldType.INT64 and number:
        return _whole_numbers(column)
    if to in _FLOATS and number:
        return _floats(column, to)
    if to in _TEXT and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return column.cast(pa.string())
    if to is FieldType.BOOL and pa.types.is_boolean(kind):
        return column
    if to is FieldType.BOOL and pa.types.is_integer(kind):
        _refuse(column, pc.invert(pc.is_in(column, pa.array([0, 1, None], kind))), "is not a Bool")
        return column.cast(pa.bool_())
    if to is FieldType.TIMESTAMP and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return _cast(column if pa.types.is_timestamp(kind) else column.cast(pa.timestamp("us")), to)
    raise MisfitError(None, str(kind), f"cannot be read as {to}")


def _whole_numbers(column: Column) -> Column:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        broken = pc.or_(pc.not_equal(column, pc.floor(column)), pc.greater_equal(pc.abs(column), 2.0**63))
        _refuse(column, broken, "is not an Int64")
    return _cast(column, FieldType.INT64)


def _floats(column: Column, to: FieldType) -> Column:
    wide = _cast(column, FieldType.FLOAT64)
    wide = pc.if_else(pc.is_nan(wide), pa.scalar(None, pa.float64()), wide)
    limit = _FLOAT32_MAX if to is FieldType.FLOAT32 else math.nan
    _refuse(wide, pc.or_(pc.is_inf(wide), pc.greater(pc.abs(wide), limit)), f"is not a finite {to}")
    return wide.cast(ARROW[to])


def _cast(column: Column, to: FieldType) -> Column:
    try:
        return column.cast(ARROW[to])
    except pa.ArrowInvalid as error:
        raise MisfitError(None, str(column.type), f"cannot be read as {to} without loss: {str(error)[:120]}") from error


def _refuse(column: Column, bad: Column, problem: str, value: str | None = None) -> None:
    row = pc.index(bad, True).as_py()
    if row >= 0:
        seen = str(column[row].as_py()) if value is None else value
        raise MisfitError(row, seen if len(seen) <= 60 else seen[:59] + "…", problem)


def _article(to: FieldType) -> str:
    return f"an {to}" if to is FieldType.INT64 else f"a {to}"
