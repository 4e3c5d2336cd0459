"""Counts the parts of a protobuf message without parsing it.

A parsed message costs some 320 bytes, and an empty one is written in two: 1 MB of them takes 161 MB. So they are
counted on the wire first, in constant memory (protobuf.dev/programming-guides/encoding), and a parser only sees what
is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DEEPEST = 64
STRINGS, ALL = "strings", "messages"
_BYTES = 2
_PATTERNS = {0: rb"[\x80-\xff]{0,9}[\x00-\x7f]", 1: b".{8}", 5: b".{4}"}
"""What follows the tag of a number: a varint, eight bytes, four bytes."""
_LONGEST_VARINT = 10
_MOST_RUNS = 256


class MalformedError(ValueError):
    """Not the encoding of a message."""


class TooManyError(ValueError):
    """More messages of a kind, or in all (`ALL`), or more strings (`STRINGS`), than are allowed."""

    def __init__(self, kind: str, most: int) -> None:
        super().__init__(f"more than {most} {kind}")
        self.kind = kind
        self.most = most


def check(data: bytes, root: Any, most: int, of: Mapping[str, int]) -> None:
    """Walk `data` as a message of descriptor `root`. Raises MalformedError, TooManyError.

    `most` messages in all; `of` limits those of a kind, by the name of its descriptor, and `STRINGS`.
    """
    tally = _Tally({ALL: most, **of})
    stack: list[tuple[int, _Kind]] = [(len(data), _Kind.of(root, {}))]
    at = 0
    while stack:
        end, outer = stack[-1]
        if at >= end:
            stack.pop()
            continue
        start = at
        tag, at = _number(data, at, end)
        kind = tag & 7
        if kind in _PATTERNS:
            at = _skipped(data, start, at, end, kind)
            continue
        if kind != _BYTES:
            raise MalformedError(f"wire type {kind} at byte {start}")
        size, at = _number(data, at, end)
        if at + size > end:
            raise MalformedError(f"a field at byte {start} ends after its message")
        inner = outer.fields.get(tag >> 3)
        if inner is None:
            tally.count(STRINGS)
            at += size
            continue
        tally.count(ALL)
        tally.count(inner.name)
        if len(stack) >= DEEPEST:
            raise MalformedError(f"parts within parts, more than {DEEPEST} deep")
        stack.append((at + size, inner))


class _Kind:
    """A kind of message and its fields that are messages, by number; descriptors are slow to ask, and asked once."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[int, _Kind] = {}

    @classmethod
    def of(cls, descriptor: Any, known: dict[str, _Kind]) -> _Kind:
        """The kind that a descriptor describes, and all kinds within it, which are added to `known`."""
        found = known.get(descriptor.full_name)
        if found is None:
            found = known[descriptor.full_name] = cls(descriptor.name)
            for field in descriptor.fields:
                if field.message_type is not None:
                    found.fields[field.number] = cls.of(field.message_type, known)
        return found


class _Tally:
    """How many of each there may still be."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._left = dict(limits)

    def count(self, name: str) -> None:
        """One more. Raises TooManyError."""
        if name in self._left:
            self._left[name] -= 1
            if self._left[name] < 0:
                raise TooManyError(name, self._limits[name])


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A varint and the position after it."""
    if at < end and data[at] < 0x80:  # most are one byte
        return data[at], at + 1
    value = shift = 0
    for position in range(at, min(end, at + _LONGEST_VARINT)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise MalformedError(f"no number at byte {at}")


_RUNS: dict[bytes, re.Pattern[bytes]] = {}


def _skipped(data: bytes, start: int, at: int, end: int, kind: int) -> int:
    """The position after a number, and after all of the same field that follow: ensembles have millions."""
    tag = data[start:at]
    run = _RUNS.get(tag)
    if run is None:
        if len(_RUNS) > _MOST_RUNS:
            _RUNS.clear()
        run = _RUNS[tag] = re.compile(rb"(?s:%b%b)++" % (re.escape(tag), _PATTERNS[kind]))
    found = run.match(data, start, end)
    if found is None:
        raise MalformedError(f"no number at byte {at}")
    return found.end()
