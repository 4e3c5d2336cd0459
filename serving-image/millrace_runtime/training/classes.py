"""Classes compared by what they say, not by how they are stored: 1, 1.0, True and "1" are one class.

Every class is written as text. A Bool is 1 or 0, a whole number has neither sign + nor fraction. Texts are read alike
("1.0" is 1, "True" and "false" are 1 and 0, "01" stays what it is), unless that made two classes of one model, or of
the labels, one: then texts are only themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Key = Callable[[Any], str]
_WHOLE = re.compile(r"\+?(-?(?:0|[1-9][0-9]*))(?:\.0*)?")
_WORDS = {"true": "1", "false": "0"}


def key(sides: Sequence[Iterable[Any]]) -> Key:
    """Return how classes are written so that all sides can be compared; a side is the labels, or a model's classes."""
    held = [{plain(value) for value in side} for side in sides]
    if all(len({_read(text) for text in side}) == len(side) for side in held):
        return lambda value: _read(plain(value))
    return plain


def plain(value: Any) -> str:
    """A class as text, with no guess at what a text means."""
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def ordered(found: Iterable[str]) -> list[str]:
    """Numbers by size, then texts; of two classes the second is the positive one."""
    return sorted(set(found), key=_rank)


def _read(text: str) -> str:
    folded = text.strip().casefold()
    whole = _WHOLE.fullmatch(folded)
    if whole is None:
        return _WORDS.get(folded, text)
    return "0" if whole[1] == "-0" else whole[1]


def _rank(text: str) -> tuple[int, int, str]:
    whole = _WHOLE.fullmatch(text)
    return (0, int(whole[1]), text) if whole else (1, 0, text)
