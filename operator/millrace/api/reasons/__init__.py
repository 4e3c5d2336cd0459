"""Every reason a condition or an event may carry: one enum member, one sentence, the user's next command.

`sentence` says what it means; `next_step` is what to type, with {namespace}, {name} and other fields to fill in.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Base of the reason enums: the member's name is the reason on the wire."""

    def __init__(self, sentence: str, next_step: str = "") -> None:
        self.sentence = sentence
        self.next_step = next_step
