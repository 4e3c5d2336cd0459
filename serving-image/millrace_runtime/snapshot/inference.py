"""What a column of text holds, found out block by block: the narrowest type that every value fits, and why no other.

The order is Int64, Float64, Bool, Timestamp, String. Codes stay text: a leading zero, or a plus sign before a whole
number, would be lost in a number, and so would the last digits of whole numbers beyond 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import FieldType
from millrace_runtime.snapshot import texts
from millrace_runtime.snapshot.texts import MisfitError, Words, article

Array = Any
_INT64, _FLOAT64, _BOOL, _TIMESTAMP = FieldType.INT64, FieldType.FLOAT64, FieldType.BOOL, FieldType.TIMESTAMP
ORDER = (_INT64, _FLOAT64, _BOOL, _TIMESTAMP)
_NUMBERS = (_INT64, _FLOAT64)
_CODE = r"^([+-]?0[0-9]|\+[0-9]+$)"
_BOTH_HOLD = 2**53
"""Up to here a whole number is a Float64 too."""
_MARKED = r"^ *[+-]?([0-9]{1,3}([.,' \x{2019}\x{a0}\x{202f}][0-9]{3})+|[0-9]+)([.,][0-9]+)? *$"
_NUMBER = r"^ *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)? *$"
_SHORT, _DIGITS = 18, 17
"""A text of so many characters has no more digits than every Float64 is told by."""
_LOOKED_AT = 64
_PLUS, _MINUS, _ZERO, _NINE = b"+-09"
_CODED = "has a leading zero or a plus sign, which a number would lose. Declare what the column is"
CODES = "its leading zeros or plus signs would be lost in a number"
LARGE = "its numbers would be rounded, for they need more than 64 bits, or more than the 53 of a Float64"
SMALL = "some of its numbers are so small that they would become 0"
MARKED = "its numbers have commas, or marks between thousands. Set spec.csv.decimal, or write them with a point alone"
FINE = "its times are finer than microseconds"
_TOLD = (CODES, LARGE, SMALL, FINE)
DECIMALS = "some have decimals"
OTHER = ""


@dataclass
class Guess:
    """The types that every value seen so far fits; `barred` says what stood against the others."""

    fitting: list[FieldType] = field(default_factory=lambda: list(ORDER))
    barred: dict[FieldType, str] = field(default_factory=dict)
    values: int = 0
    worded: int = 0
    """Fields that were a word for missing: missing unless the column is text."""
    rounded: bool = False
    """Some have more digits than a Float64."""
    marked: bool | None = None
    """All are numbers as people write them, with commas or marks between thousands."""
    others: int = 0
    """Values that are no numbers, in a column that has mostly numbers."""
    mostly: bool = True
    """At least half of the values are numbers, as far as was counted."""

    @property
    def type(self) -> FieldType:
        """The narrowest type; String where nothing else fits, or nothing is there to tell by."""
        return self.fitting[0] if self.fitting and (self.values or self.barred) else FieldType.STRING

    @property
    def why(self) -> str:
        """One sentence for people, without any value of the data."""
        if not self.values:
            return "no value to tell by"
        if self.type is FieldType.STRING:
            told = next((one for one in _TOLD if one in self.barred.values()), MARKED if self.marked else self._mixed)
            words = f"; words such as NA ({self.worded}) are text too" if self.worded else ""
            return f"kept as text: {told}{words}" if told else f"text{words}"
        decimals = f": {DECIMALS}" if self.barred.get(_INT64) == DECIMALS else ""
        rounded = "; digits beyond the seventeenth are rounded" if self.rounded and self.type is _FLOAT64 else ""
        missing = f"; words such as NA ({self.worded}) are missing" if self.worded else ""
        return f"every value is {article(self.type)}{decimals}{rounded}{missing}"

    @property
    def _mixed(self) -> str:
        if not self.mostly or not self.others:
            return ""
        advice = "Set spec.csv.nullValues, if they stand for missing ones"
        return f"{self.others} of {self.values} values are no numbers. {advice}"

    def forget(self) -> None:
        """Begin again."""
        self.fitting, self.barred = list(ORDER), {}
        self.recount()

    def recount(self) -> None:
        """Begin again to count, and remember what the column may be."""
        self.values = self.worded = 0
        self.rounded, self.marked = False, None
        self.others, self.mostly = 0, True

    def count(self, plain: Array, column: Array, words: Words) -> None:
        """Take in a block that was read as the type already: only for what `why` says."""
        self.values += len(column) - column.null_count
        if not pa.types.is_string(column.type):
            self.worded += column.null_count - plain.null_count
        else:
            known = texts.without(column, words.missing)
            self.worded += 0 if words.everywhere else known.null_count - column.null_count
            self._look(known, words)
        if pa.types.is_floating(column.type) and pa.types.is_string(plain.type):
            self.rounded = self.rounded or _has_many_digits(plain)

    def _look(self, text: Array, words: Words) -> None:
        """Whether there are numbers in what is kept as text."""
        if not self.mostly or text.null_count == len(text):
            return
        if self.marked is not False:
            self.marked = bool(pc.all(pc.match_substring_regex(text, _MARKED)).as_py())
        pattern = _NUMBER.replace(r"\.", re.escape(words.decimal))
        numbers = pc.sum(pc.match_substring_regex(text, pattern)).as_py()
        self.others += len(text) - text.null_count - numbers
        self.mostly = 2 * self.others <= self.values

    def _known(self, text: Array, words: Words) -> Array:
        text = texts.without(texts.trimmed(text), ("",))
        known = texts.without(text, words.missing)
        self.worded += 0 if words.everywhere else known.null_count - text.null_count
        self.values += len(known) - known.null_count
        self.rounded = self.rounded or (self.type is _FLOAT64 and _has_many_digits(known))
        return known

    def see(self, text: Array, words: Words) -> None:
        """Take in a block of the column, a pyarrow.Array of text, and try what it may be."""
        known = self._known(text, words).drop_null()
        if not len(known):
            return
        implied = False
        for kind in tuple(self.fitting):
            if kind is _FLOAT64 and implied:
                continue
            try:
                implied = _CHECKS[kind](known, words)
            except MisfitError as fault:
                self.fitting.remove(kind)
                self.barred[kind] = CODES if fault.problem == _CODED else fault.problem


def refuse_codes(text: Array) -> None:
    """Raises MisfitError for the first value that is a code rather than a number."""
    text = texts.trimmed(text)
    suspects = np.flatnonzero(_begins_like_a_code(text))
    if not len(suspects):
        return
    codes = np.asarray(pc.match_substring_regex(text.take(pa.array(suspects)), _CODE))
    if codes.any():
        row = int(suspects[codes.argmax()])
        raise MisfitError(row, text[row].as_py(), _CODED)


def _begins_like_a_code(text: Array) -> npt.NDArray[np.bool_]:
    """Whether a value begins with a zero and a digit, after a sign or not, or with a plus sign."""
    data, starts, lengths = texts.layout(text)
    padded = np.concatenate([data, np.zeros(3, np.uint8)])
    first = padded[starts]
    found = (first == _PLUS) & (lengths > 0)
    # Of a number that begins with 0, and with a sign and 0, what follows is looked at.
    signed = np.flatnonzero(((first == _MINUS) | (first == _PLUS)) & (lengths > 1))
    signed = signed[padded[starts[signed] + 1] == _ZERO]
    for zero, at in ((np.flatnonzero((first == _ZERO) & (lengths > 1)), 1), (signed[lengths[signed] > 2], 2)):
        following = padded[starts[zero] + at]
        found[zero] |= (following >= _ZERO) & (following <= _NINE)
    return np.asarray(found)


def _is_whole(known: Array, words: Words) -> bool:
    """True where a Float64 holds every value too."""
    # `1.0` is written by something that has fractions elsewhere: a later file would not be whole.
    if pc.any(pc.match_substring(known, words.decimal)).as_py():
        raise MisfitError(None, "", DECIMALS if _is_number(known, words) else OTHER)
    found = _read(known, _INT64, words)
    refuse_codes(known)
    bounds = pc.min_max(found).as_py()
    return bool(-_BOTH_HOLD <= bounds["min"] <= bounds["max"] <= _BOTH_HOLD)


def _is_number(known: Array, words: Words) -> bool:
    try:
        _read(known, _FLOAT64, words)
    except MisfitError:
        return False
    return True


def _is_float(known: Array, words: Words) -> bool:
    try:
        _read(known, _FLOAT64, words)
    except MisfitError as fault:
        raise MisfitError(None, "", _why_no_float(fault.problem, known, words)) from fault
    refuse_codes(known)
    return False


def _why_no_float(problem: str, known: Array, words: Words) -> str:
    if not _are_numerals(known, words):
        return OTHER
    return LARGE if texts.ROUNDS in problem else SMALL if texts.VANISHES in problem else OTHER


def _has_many_digits(known: Array) -> bool:
    some = [text for text in known.slice(0, _LOOKED_AT).to_pylist() if text is not None and len(text) > _SHORT]
    bare = (text.lower().split("e")[0].lstrip("+-0.") for text in some)
    return any(sum(one.isdigit() for one in text) > _DIGITS for text in bare if len(text) > _DIGITS)


def _are_numerals(known: Array, words: Words) -> bool:
    return texts.leftover(known, b"0123456789+-eE" + words.decimal.encode()) == 0


def _is_truth(known: Array, _: Words) -> bool:
    if not pc.all(pc.is_in(pc.utf8_lower(known), pa.array(["true", "false"]))).as_py():
        raise MisfitError(None, "", OTHER)
    return False


def _is_instant(known: Array, _: Words) -> bool:
    _check_instant(known[0].as_py())
    try:
        texts.instants(known)
    except (pa.ArrowInvalid, ValueError):
        for value in known.unique().to_pylist():
            _check_instant(value)
    return False


def _check_instant(value: str) -> None:
    try:
        texts.instant(value)
    except ValueError as error:
        raise MisfitError(None, "", FINE if error.args else OTHER) from error


def _read(known: Array, kind: FieldType, words: Words) -> Array:
    try:
        return texts.parse(known, kind, words)
    except MisfitError as fault:
        said = any(word in fault.problem for word in (texts.ROUNDS, texts.VANISHES))
        raise MisfitError(None, "", fault.problem if said else OTHER) from fault


_CHECKS: dict[FieldType, Callable[[Array, Words], bool]] = {
    _INT64: _is_whole,
    _FLOAT64: _is_float,
    _BOOL: _is_truth,
    _TIMESTAMP: _is_instant,
}
