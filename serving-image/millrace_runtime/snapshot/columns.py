"""One column to its type: a conversion that loses nothing, or the first row at fault.

Takes the plain forms of `types`. String and Category take text, whole numbers and Bools as text; Int64 takes floats
without a fraction, Float takes whole numbers that it can hold; NaN and the empty text are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import Field, FieldType
from millrace_runtime.snapshot import texts
from millrace_runtime.snapshot.texts import ARROW, FLOATS, TEXT, MisfitError, Words, article

__all__ = ["ARROW", "MisfitError", "check", "coerce", "limits"]

Array = Any
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def coerce(column: Array, to: FieldType, words: Words = texts.PLAIN) -> Array:
    """Return a plain pyarrow.Array as one of `ARROW[to]`. Raises MisfitError."""
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(ARROW[to])
    if pa.types.is_string(kind):
        return texts.parse(column, to, words)
    for test, targets, convert in _CONVERSIONS:
        if test(kind) and to in targets:
            return convert(column, to)
    raise MisfitError(None, str(kind), f"cannot be read as {to}")


def _same(column: Array, _: FieldType) -> Array:
    return column


def _text(column: Array, _: FieldType) -> Array:
    return column.cast(pa.string())


def _truths(column: Array, to: FieldType) -> Array:
    refuse(column, pc.invert(pc.is_in(column, pa.array([0, 1, None], column.type))), f"is not {article(to)}")
    return column.cast(pa.bool_())


def _whole(column: Array, to: FieldType) -> Array:
    column = _known(column)
    broken = pc.or_(pc.not_equal(column, pc.floor(column)), pc.invert(pc.less(pc.abs(column), 2.0**63)))
    refuse(column, broken, f"is not {article(to)}")
    return column.cast(ARROW[to])


def _rounded(column: Array, to: FieldType) -> Array:
    """Whole numbers to floats: only those that the float holds."""
    found = column.cast(ARROW[to], safe=False)
    # 2**63 as a float is one more than the largest Int64, so that its way back would overflow.
    exact = pc.if_else(pc.less(pc.abs(found), 2.0**63), found, pa.scalar(0.0, found.type)).cast(pa.int64(), safe=False)
    advice = "Use Int64 or String" if to is FieldType.FLOAT64 else "Use Float64, Int64 or String"
    problem = f"cannot be read as {to} without loss. {advice}"
    refuse(column, pc.not_equal(exact, column), problem)
    return found


def _floats(column: Array, to: FieldType) -> Array:
    wide = _known(column.cast(pa.float64()))
    limit = texts.FLOAT32_MAX if to is FieldType.FLOAT32 else math.nan
    refuse(column, pc.or_(pc.is_inf(wide), pc.greater(pc.abs(wide), limit)), f"is not a finite {to}")
    found = wide.cast(ARROW[to])
    if to is FieldType.FLOAT32 and not pa.types.is_float32(column.type):
        _refuse_changed(wide, found.cast(pa.float64()))
    return found


def _refuse_changed(wide: Array, narrow: Array) -> None:
    """What a Float32 leaves of a Float64 may be less exact, but no other whole number, and not 0."""
    other = pc.not_equal(wide, narrow)
    if pc.any(other).as_py():
        large = pc.and_(other, pc.greater_equal(pc.abs(wide), texts.EXACT[FieldType.FLOAT32]))
        refuse(wide, large, f"is a number that Float32 {texts.ROUNDS}. Use Float64")
        refuse(wide, pc.and_(other, pc.equal(narrow, 0.0)), f"is a number that Float32 {texts.VANISHES}. Use Float64")


def _known(column: Array) -> Array:
    unknown = pc.is_nan(column)
    return pc.if_else(unknown, pa.scalar(None, column.type), column) if pc.any(unknown).as_py() else column


_CONVERSIONS: tuple[tuple[Callable[[Any], bool], tuple[FieldType, ...], Callable[[Array, FieldType], Array]], ...] = (
    (pa.types.is_int64, (FieldType.INT64,), _same),
    (pa.types.is_int64, FLOATS, _rounded),
    (pa.types.is_int64, TEXT, _text),
    (pa.types.is_int64, (FieldType.BOOL,), _truths),
    (pa.types.is_floating, (FieldType.INT64,), _whole),
    (pa.types.is_floating, FLOATS, _floats),
    (pa.types.is_boolean, (FieldType.BOOL,), _same),
    (pa.types.is_boolean, TEXT, _text),
    (pa.types.is_timestamp, (FieldType.TIMESTAMP,), _same),
)
"""(what the plain form is, what it may become, how): everything else is refused."""


def check(column: Array, field: Field) -> None:
    """Raises MisfitError for the first value outside nullable, minimum, maximum or allowedValues."""
    if not field.nullable and column.null_count:
        refuse(column, pc.is_null(column), "is missing, and the field is not nullable", value="")
    low, high = limits(field)
    if low is not None:
        refuse(column, pc.less(column, low), f"is below the minimum {field.minimum:.17g}")
    if high is not None:
        refuse(column, pc.greater(column, high), f"is above the maximum {field.maximum:.17g}")
    if field.allowed_values is not None:
        shown = ", ".join(field.allowed_values[:8])
        allowed = pc.or_kleene(pc.is_in(column, _allowed(field)), pc.is_null(column))
        refuse(column, pc.invert(allowed), "is not one of the allowed values", against=shown)


def limits(field: Field) -> tuple[Any, Any]:
    """Minimum and maximum as values of the field's own type; None where nothing is compared.

    An Int64 is compared with the whole number next to the limit: no float stands between two of them.
    """
    if field.type is FieldType.INT64:
        low = None if field.minimum is None else math.ceil(field.minimum)
        high = None if field.maximum is None else math.floor(field.maximum)
        beyond = (low is not None and low > _LARGEST) or (high is not None and high < _SMALLEST)
        if beyond:  # nothing is left: no Int64 is its own opposite's limit
            return pa.scalar(_LARGEST, pa.int64()), pa.scalar(_SMALLEST, pa.int64())
        return _clipped(low), _clipped(high)
    if field.type in FLOATS:
        return tuple(None if limit is None else _float(limit, field) for limit in (field.minimum, field.maximum))  # type: ignore[return-value]
    return None, None


def _float(limit: float, field: Field) -> Any:
    if field.type is FieldType.FLOAT32 and abs(limit) <= texts.FLOAT32_MAX:
        return pa.scalar(limit, pa.float32())
    return pa.scalar(limit, pa.float64())


def _clipped(limit: int | None) -> Any:
    return None if limit is None else pa.scalar(min(max(limit, _SMALLEST), _LARGEST), pa.int64())


def _allowed(field: Field) -> Array:
    """AllowedValues as values of the field's own type: `1.0` is 1, `True` is true. Raises MisfitError."""
    listed = pa.array(field.allowed_values, pa.string())
    try:
        return listed if field.type in TEXT else texts.parse(listed, field.type)
    except MisfitError as fault:
        raise MisfitError(None, "one of its allowedValues", fault.problem, f'"{fault.value[:30]}"') from fault


def refuse(column: Array, bad: Array, problem: str, value: str | None = None, against: str = "") -> None:
    """Raises MisfitError for the first row where `bad` is true."""
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise MisfitError(row, str(column[row].as_py()) if value is None else value, problem, against)
