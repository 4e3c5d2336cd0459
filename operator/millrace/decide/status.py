"""How a decision reports on an object: three kstatus conditions, one sentence, events on transitions.

    Ready        it can be used
    Reconciling  the operator works on it, or waits for something that will wake it
    Stalled      nothing will change until a person changes something

A message is what happened, why, and one next command. It is cut in its middle, never in its command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from millrace.api import conditions
from millrace.api.base import Frozen, Shape
from millrace.api.conditions import Condition, Mark
from millrace.api.reasons import Reason
from millrace.decide.plan import Event

Memory = TypeVar("Memory", bound=Shape)
LONGEST = 1000
LONGEST_WAIT = timedelta(days=3650)
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


class Kstatus(Frozen):
    """What the three kstatus conditions say."""

    ready: bool
    progress: Literal["Settled", "Reconciling", "Stalled"]
    reason: str
    message: str

    def marks(self) -> tuple[Mark, Mark, Mark]:
        """Ready, Reconciling and Stalled."""
        return (
            _mark(conditions.READY, self.ready, self.reason, self.message),
            _mark(conditions.RECONCILING, self.progress == "Reconciling", self.reason, self.message),
            _mark(conditions.STALLED, self.progress == "Stalled", self.reason, self.message),
        )


def _mark(kind: str, holds: bool, reason: str, message: str) -> Mark:
    return Mark(type=kind, status="True" if holds else "False", reason=reason, message=message)


def mark(kind: str, holds: bool | None, reason: Reason | str, message: str = "") -> Mark:
    """A condition; None is Unknown."""
    truth: conditions.Truth = "Unknown" if holds is None else "True" if holds else "False"
    return Mark(type=kind, status=truth, reason=reason if isinstance(reason, str) else reason.name, message=message)


def remembered(known: Iterable[Condition], kind: str, otherwise: Mark) -> Mark:
    """The condition as the status has it, to be written again; `otherwise` while the status has none."""
    found = conditions.find(known, kind)
    if found is None:
        return otherwise
    return Mark(type=kind, status=found.status, reason=found.reason, message=found.message)


def message(reason: Reason | None, why: str = "", *, namespace: str, name: str, **more: str) -> str:
    """`why`, or the reason's own sentence, and the reason's next command; at most `LONGEST` characters."""
    what = why or (reason.sentence if reason is not None else "")
    command = _command(reason.next_step, {"namespace": namespace, "name": name, **more}) if reason is not None else ""
    if not command:
        return _cut(what, LONGEST)
    room = max(0, LONGEST - len(command) - 8)
    return f"{_ended(_cut(what, room))} Next: {command}"[:LONGEST]


def named(reasons: type[Reason], text: str) -> Reason | None:
    """The documented reason of that name."""
    return reasons.__members__.get(text)


def wire_reason(text: str, otherwise: Reason) -> str:
    """A reason that a pod stated, if it can stand in a condition; else one of ours."""
    return text if _REASON.fullmatch(text) else otherwise.name


def transitions(before: Iterable[Condition], marks: Iterable[Mark], normal: frozenset[str], *kinds: str) -> list[Event]:
    """One event for each condition of these kinds whose status or reason is not what it was."""
    known = {condition.type: (condition.status, condition.reason) for condition in before}
    return [
        Event(type="Normal" if one.reason in normal else "Warning", reason=one.reason, message=one.message)
        for one in marks
        if one.type in kinds and known.get(one.type) != (one.status, one.reason)
    ]


def later(moment: datetime, seconds: float) -> datetime:
    """`moment + seconds`, as far as calendars go."""
    wait = LONGEST_WAIT if seconds >= LONGEST_WAIT.total_seconds() else timedelta(seconds=max(0.0, seconds))
    try:
        return moment + wait
    except OverflowError:
        return moment


def not_after(memory: Memory, now: datetime, *times: str) -> Memory:
    """The same with those times not after `now`, whatever the clock said when they were written.

    A wait that counts from a moment in the future would take that much longer, as after a clock was set back.
    """
    early = {name: now for name in times if (getattr(memory, name) or now) > now}
    return memory.model_copy(update=early) if early else memory


def _command(template: str, fields: dict[str, str]) -> str:
    for field, value in fields.items():
        template = template.replace("{" + field + "}", value)
    return template.rstrip()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(0, limit - 1)]}…"


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".!?…" else f"{text}."
