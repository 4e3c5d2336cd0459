"""Text to typed values: all of a column at once where it is plain, value by value where it is not.

Int64 takes whole numbers (`3`, `3.0`), Float takes finite numbers, Bool takes true/false/1/0, Timestamp takes ISO 8601
dates and times (UTC when they name no zone). A number may lose digits behind its mark, never those before it, nor does
it become 0: one that the type cannot hold like that is refused.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import FieldType

Array = Any
MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NAN",
    "NONE", "NULL", "NaN", "NaT", "Nan", "None", "Null", "\\N", "n/a", "nan", "none", "null",
)  # fmt: skip
"""Words for a missing value, beside the empty text, in columns that are not text: pandas' own, and that of Hive, MySQL
and PostgreSQL. In text, NA may be Namibia."""
ARROW = {
    FieldType.INT64: pa.int64(),
    FieldType.FLOAT32: pa.float32(),
    FieldType.FLOAT64: pa.float64(),
    FieldType.STRING: pa.string(),
    FieldType.BOOL: pa.bool_(),
    FieldType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    FieldType.CATEGORY: pa.string(),
}
TEXT = (FieldType.STRING, FieldType.CATEGORY)
FLOATS = (FieldType.FLOAT32, FieldType.FLOAT64)
FLOAT32_MAX = 3.4028234663852886e38
EXACT = {FieldType.FLOAT32: 2.0**24, FieldType.FLOAT64: 2.0**53}
"""Up to here every whole number is one of the type's."""
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_NOT_ZERO = "^[^eE]*[1-9]"
_NEVER_SMALL = {FieldType.FLOAT32: 40, FieldType.FLOAT64: 300}
"""So many characters without an exponent are 0, or large enough for the type."""
WIDER = {FieldType.FLOAT32: "Float64, Int64 or String", FieldType.FLOAT64: "Int64 or String"}
ROUNDS, VANISHES = "would round", "would make 0"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_INSTANT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ](?P<time>[0-9]{2}(:[0-9]{2}(:[0-9]{2})?)?)(\.(?P<part>[0-9]{1,9}))?"
    r" ?(?P<zone>Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_BLOCK = 1024


class MisfitError(Exception):
    """The first value that does not fit. `row` counts from 0; None when the type of the whole column is wrong.

    `problem` quotes no value of the data, nor what one was compared with: that is `against`. Who says it asks
    `millrace_runtime.discretion`.
    """

    def __init__(self, row: int | None, value: str, problem: str, against: str = "") -> None:
        super().__init__(problem)
        self.row = row
        self.value = value if len(value) <= 60 else value[:59] + "…"
        self.problem = problem
        self.against = against


@dataclass(frozen=True)
class Words:
    """How values are written in text. `everywhere`: the words for missing hold in columns of text too."""

    missing: frozenset[str] = frozenset(MISSING)
    everywhere: bool = False
    decimal: str = "."


PLAIN = Words()


def parse(text: Array, to: FieldType, words: Words = PLAIN) -> Array:
    """Return a pyarrow.Array of `ARROW[to]`; the empty text is missing. Raises MisfitError."""
    if to in TEXT:
        text = without(text, words.missing) if words.everywhere else text
        return text if pc.min(pc.binary_length(text)).as_py() else without(text, ("",))
    text = trimmed(text)
    try:
        return _at_once(text, to, words)
    except (pa.ArrowInvalid, ValueError):
        text = without(text, ("", *words.missing))
    try:
        return _at_once(text, to, words)
    except (pa.ArrowInvalid, ValueError):
        return _one_by_one(text, to, words)


def without(text: Array, words: Iterable[str]) -> Array:
    """Return the text, missing where it is one of the words."""
    found = pc.is_in(text, pa.array(sorted(words), pa.string()))
    if not pc.any(found).as_py():
        return text
    return pc.if_else(found, pa.scalar(None, pa.string()), text)


def trimmed(text: Array) -> Array:
    """Return the text without blanks around it."""
    data = bytes(_flat(text))
    return pc.utf8_trim_whitespace(text) if b" " in data or b"\t" in data else text


def leftover(text: Array, allowed: bytes) -> int:
    """How many bytes of all values are not among the allowed ones."""
    return len(bytes(_flat(text)).translate(None, allowed))


def _is_bare(text: Array, mark: str) -> bool:
    """Whether all values have digits, "-" and the mark alone: told ten times as quickly as `leftover` does."""
    allowed = frozenset(b"-0123456789" + mark.encode())
    data = bytes(_flat(text))
    flat = np.frombuffer(data, np.uint8)
    first, last = min(allowed), max(allowed)
    if not (flat - np.uint8(first) <= last - first).all():  # bytes below the first come out above the last
        return False
    return not any(other in data for other in range(first, last) if other not in allowed)


def layout(text: Array) -> tuple[Any, Any, Any]:
    """The bytes of all values together, and each value's first byte in them and its length, as numpy arrays."""
    if not len(text):
        return (np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
    bounds = np.frombuffer(text.buffers()[1], np.int32, count=len(text) + 1, offset=4 * text.offset).astype(np.int64)
    return np.frombuffer(_flat(text), np.uint8), bounds[:-1] - bounds[0], np.diff(bounds)


def _flat(text: Array) -> memoryview:
    _, offsets, data = text.buffers()
    if data is None or len(text) == 0:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int32, count=len(text) + 1, offset=4 * text.offset)
    return memoryview(data)[bounds[0] : bounds[-1]]


def _at_once(text: Array, to: FieldType, words: Words) -> Array:
    """Raises pyarrow.ArrowInvalid or ValueError where a value needs a closer look."""
    if to is FieldType.BOOL:
        return text.cast(pa.bool_())
    if to is FieldType.TIMESTAMP:
        return instants(text)
    if to is FieldType.INT64:
        if not _is_bare(text, ""):
            raise ValueError
        return text.cast(pa.int64())
    return _floats_at_once(text, to, words)


def _floats_at_once(text: Array, to: FieldType, words: Words) -> Array:
    is_bare = _is_bare(text, words.decimal)
    if not is_bare and leftover(text, b"0123456789-+eE" + words.decimal.encode()):
        raise ValueError
    if words.decimal != ".":
        text = pc.replace_substring(text, words.decimal, ".")
    numbers = text.cast(pa.float64())
    bounds = pc.min_max(numbers).as_py()
    largest = max(abs(bounds["min"] or 0.0), abs(bounds["max"] or 0.0))
    limit = FLOAT32_MAX if to is FieldType.FLOAT32 else math.inf
    if not largest < limit or (largest >= EXACT[to] and _has_rounded(text, numbers, to)):
        raise ValueError
    found = numbers.cast(ARROW[to])
    if _has_vanished(text, found, to, is_bare=is_bare):
        raise ValueError
    return found


def _has_rounded(text: Array, numbers: Array, to: FieldType) -> bool:
    """Whether a number, written without an exponent, is not the one that was read, and so large that it should be."""
    large = text.filter(pc.greater_equal(pc.abs(numbers), EXACT[to]))
    return any(value is not None and _rounds(value, to) for value in large.to_pylist())


def _has_vanished(text: Array, numbers: Array, to: FieldType, *, is_bare: bool) -> bool:
    longest = pc.max(pc.binary_length(text)).as_py() or 0
    if longest <= _NEVER_SMALL[to] and (is_bare or not leftover(text, b"0123456789.-+")):
        return False
    zeros = pc.equal(numbers, pa.scalar(0, numbers.type))
    if not pc.any(zeros).as_py():
        return False
    return bool(pc.any(pc.match_substring_regex(text.filter(zeros), _NOT_ZERO)).as_py())


def _rounds(text: str, to: FieldType) -> bool:
    if abs(float(text)) < EXACT[to] or not _PLAIN.fullmatch(text):
        return False
    number = float(np.float32(text)) if to is FieldType.FLOAT32 else float(text)
    # As it is written in short: 12345678901234567000 is what is written for the float nearest to it.
    shortest = str(np.float32(text)) if to is FieldType.FLOAT32 else repr(number)
    return math.isinf(number) or decimal.Decimal(shortest) != decimal.Decimal(text)


def instants(text: Array) -> Array:
    if leftover(text, b"0123456789-:.TZ+ "):
        raise ValueError
    short = pc.min(pc.binary_length(text)).as_py()
    if short is not None and short < len("2026-01-01"):
        raise ValueError
    try:
        return text.cast(pa.timestamp("us")).cast(ARROW[FieldType.TIMESTAMP])
    except pa.ArrowInvalid:
        return text.cast(ARROW[FieldType.TIMESTAMP])


def _one_by_one(text: Array, to: FieldType, words: Words) -> Array:
    parser = parser_of(to, words)
    encoded = text.dictionary_encode()
    values: list[Any] = []
    for value in encoded.dictionary.to_pylist():
        try:
            values.append(parser(value))
        except ValueError:
            raise misfit(text, parser, f"is not {article(to)}") from None
    return pa.array(values, ARROW[to]).take(encoded.indices)


def misfit(text: Array, parser: Callable[[str], Any], problem: str) -> MisfitError:
    """The first value that the parser refuses, with its row; there must be one."""
    for start in range(0, len(text), _BLOCK):
        for row, value in enumerate(text.slice(start, _BLOCK).to_pylist()):
            try:
                if value is not None:
                    parser(value)
            except ValueError as error:
                return MisfitError(start + row, value, str(error) if error.args else problem)
    raise AssertionError


def parser_of(to: FieldType, words: Words = PLAIN) -> Callable[[str], Any]:
    """The parser of one trimmed value: raises ValueError, with a message where it is not just of another type."""
    parser = _PARSERS[to]
    if words.decimal == "." or to not in (*FLOATS, FieldType.INT64):
        return parser

    def with_comma(text: str) -> Any:
        if "." in text:
            raise ValueError(f"has a point where spec.csv.decimal is {words.decimal}")
        return parser(text.replace(words.decimal, "."))

    return with_comma


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError
    number = int(text.split(".", maxsplit=1)[0])
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _float64(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError
    return _held(text, float(text), FieldType.FLOAT64)


def _float32(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not abs(float(text)) <= FLOAT32_MAX:
        raise ValueError
    return _held(text, float(np.float32(text)), FieldType.FLOAT32)


def _held(text: str, number: float, to: FieldType) -> float:
    if _rounds(text, to):
        raise ValueError(f"is a number that {to} {ROUNDS}. Use {WIDER[to]}")
    if number == 0 and re.match(_NOT_ZERO, text):
        raise ValueError(f"is a number that {to} {VANISHES}. Use String")
    return float(text)


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError
    return _TRUTH[text.lower()]


def instant(text: str) -> dt.datetime:
    """A date, or a date and time, such as `2026-01-02 03:04:05.678+01:00`. Raises ValueError."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError
    part = found["part"] or ""
    if part[6:].strip("0"):
        raise ValueError("is finer than the microseconds of a Timestamp")
    time = f"{found['time'] or '00'}{'.' + part[:6] if part else ''}"
    return _moment(f"{found['day']}T{time}{(found['zone'] or 'Z').replace('UTC', 'Z')}")


def _declared_instant(text: str) -> dt.datetime:
    """The rarer forms of ISO 8601 too, such as `20260102T030405`: never guessed, but read where they were asked for."""
    if _WHOLE.fullmatch(text):
        raise ValueError
    return instant(text) if _INSTANT.fullmatch(text) else _moment(text)


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError from None


_PARSERS: dict[FieldType, Callable[[str], Any]] = {
    FieldType.INT64: _whole,
    FieldType.FLOAT32: _float32,
    FieldType.FLOAT64: _float64,
    FieldType.BOOL: _truth,
    FieldType.TIMESTAMP: _declared_instant,
}


def article(to: FieldType) -> str:
    """`an Int64`, `a Bool`."""
    return f"an {to}" if to is FieldType.INT64 else f"a {to}"
