"""Where the records of a block of CSV end, and whether its quotes say one thing only.

A quoted field begins with a quote at the start of a field and ends with the first quote that is not doubled; a
delimiter or the end of the record follows. A quote inside a field that does not begin with one is a character like any
other. Everything else is a problem, and a problem is refused with its line: readers differ in what they make of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
_NONE: Positions = np.empty(0, np.int64)
_LF, _CR = 10, 13


@dataclass(frozen=True)
class Problem:
    """What is wrong at byte `at`, as the rest of a sentence that begins with the line."""

    at: int
    text: str


@dataclass(frozen=True)
class Structure:
    """`opens[i]` and `closes[i]` are the quotes around the i-th quoted text, `ends` the bytes that end a record."""

    opens: Positions
    closes: Positions
    ends: Positions
    problem: Problem | None = None

    def outside(self, positions: Positions) -> Positions:
        """Return those of the positions that are not between quotes."""
        return positions[~_between(positions, self.opens, self.closes)]


def of(data: bytes, *, quote: str, delimiter: str, newline: bytes) -> Structure:
    """Return the structure of data that begins where a record begins. An open quote at the end has no problem yet."""
    flat = np.frombuffer(data, np.uint8)
    lines = np.flatnonzero(flat == newline[0])
    if not quote or quote.encode() not in data:
        return Structure(_NONE, _NONE, lines)
    quotes = np.flatnonzero(flat == ord(quote))
    if _is_plain(flat, quotes, ord(delimiter)):
        opens, closes = quotes[0::2], quotes[1::2]
        problem = None
    else:
        opens, closes, problem = _walk(data, quote.encode(), delimiter.encode())
    if len(opens) > len(closes):  # still open at the end of the block
        closes = np.append(closes, len(data))
    ends = lines[~_between(lines, opens, closes)]
    return Structure(opens, closes, ends, problem)


def line(data: bytes, at: int) -> int:
    """How many lines end before byte `at`, whichever way they end."""
    if data.find(b"\r", 0, at) < 0:
        # Bytes are counted five times as quickly by numpy.
        return int(np.count_nonzero(np.frombuffer(data, np.uint8, min(at, len(data))) == _LF)) if data else 0
    return data.count(b"\n", 0, at) + data.count(b"\r", 0, at) - data.count(b"\r\n", 0, at)


def find(data: bytes, character: str) -> Positions:
    """Return the places of an ASCII character."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord(character))


def _between(positions: Positions, opens: Positions, closes: Positions) -> npt.NDArray[np.bool_]:
    if not len(opens):
        return np.zeros(len(positions), bool)
    at = np.searchsorted(opens, positions, side="right") - 1
    return np.asarray((at >= 0) & (positions < closes[np.maximum(at, 0)]))


def _is_plain(flat: npt.NDArray[np.uint8], quotes: Positions, delimiter: int) -> bool:
    """Whether quotes simply take turns: every other one opens at the start of a field, the next closes at its end.

    A doubled quote is a close and an open with nothing between: a quote before an opening one is always a closing one.
    Then counting gives the same answer as reading from the left.
    """
    edges = np.zeros(256, bool)
    edges[[delimiter, _LF, _CR, flat[quotes[0]]]] = True
    opens, closes = quotes[0::2], quotes[1::2]
    before = flat[opens[opens > 0] - 1]
    after = flat[closes[closes < len(flat) - 1] + 1]
    return bool(edges[before].all() and edges[after].all())


def _walk(data: bytes, quote: bytes, delimiter: bytes) -> tuple[Positions, Positions, Problem | None]:
    """The same quote by quote, for blocks that hold a quote inside a field, or a problem."""
    opens: list[int] = []
    closes: list[int] = []
    edges = (delimiter, b"\n", b"\r", b"")
    problem = None
    at = data.find(quote)
    while at >= 0 and problem is None:
        if data[max(0, at - 1) : at] not in edges:
            at = data.find(quote, at + 1)
            continue
        close = _closing(data, quote, at + 1)
        opens.append(at)
        if close < 0:
            break
        closes.append(close)
        if data[close + 1 : close + 2] not in edges:
            problem = Problem(at, _followed(data, at, close))
        at = data.find(quote, close + 1)
    return np.asarray(opens, np.int64), np.asarray(closes, np.int64), problem


def _closing(data: bytes, quote: bytes, start: int) -> int:
    at = data.find(quote, start)
    while at >= 0 and data[at + 1 : at + 2] == quote:
        at = data.find(quote, at + 2)
    return at


def _followed(data: bytes, opened: int, closed: int) -> str:
    lines = line(data, closed) - line(data, opened)
    where = "" if lines == 0 else f", {lines} line{'s' if lines > 1 else ''} below,"
    return f"has a quote that opens a field, and more text after the one that closes it{where} before the field ends"


@dataclass(frozen=True)
class Records:
    """First byte of each record, and the byte after its last; blank ones are left out and counted."""

    firsts: Positions
    lasts: Positions
    blank: Positions
    """First bytes of records without a byte but a carriage return."""

    def __len__(self) -> int:
        return len(self.firsts)

    def fields(self, marks: Positions) -> Positions:
        """Return the number of fields per record, `marks` being the delimiters outside quotes."""
        return np.searchsorted(marks, self.lasts) - np.searchsorted(marks, self.firsts) + 1


def returns(data: bytes, held: Structure, quote: str) -> Positions:
    """Return the line ends that a carriage return stands before which no quote tells from the last field's text."""
    flat = np.frombuffer(data, np.uint8)
    ends = held.ends[(held.ends > 1) & (held.ends < len(data))]
    found = ends[flat[ends - 1] == _CR]
    before = flat[found - 2]
    return np.asarray(found[(before != _LF) & (before != (ord(quote) if quote else _LF))])


def records(data: bytes, ends: Positions) -> Records:
    """Return the records that end at `ends`, and a last one without an end if there are bytes left."""
    firsts = np.concatenate([[0], ends + 1])
    lasts = np.append(ends, len(data))
    if firsts[-1] >= len(data):
        firsts, lasts = firsts[:-1], lasts[:-1]
    if not len(firsts):
        return Records(_NONE, _NONE, _NONE)
    lone = np.frombuffer(data, np.uint8)[np.minimum(firsts, len(data) - 1)] == _CR
    size = lasts - firsts
    blank = (size == 0) | ((size == 1) & lone)
    return Records(firsts[~blank], lasts[~blank], firsts[blank])
