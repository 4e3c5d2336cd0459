"""Every reason a condition or an event may carry: one enum member, one sentence, the user's next command.

`sentence` says what it means, `hint` what a person does about it that is no command. `next_step` is one command that
works as it stands once {namespace}, {name} and other fields are filled in: nothing before it, nothing after it, nothing
left to be replaced by the reader. `tests/apiserver/test_next_commands.py` runs every one of them.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Base of the reason enums: the member's name is the reason on the wire."""

    def __init__(self, sentence: str, next_step: str = "", hint: str = "") -> None:
        self.sentence = sentence
        self.next_step = next_step
        self.hint = hint
