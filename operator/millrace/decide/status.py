"""How a decision reports on an object: three kstatus conditions, one sentence, events on transitions.

    Ready        it can be used
    Reconciling  the operator works on it, or waits for what comes without a person
    Stalled      nothing will change until a person changes something; never beside Reconciling

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

Known = TypeVar("Known", bound=Reason)
Memory = TypeVar("Memory", bound=Shape)
LONGEST = 1000
NEXT = " Next: "
"""What stands before the command that a message ends in."""
NOT_RECONCILING = "Nothing is under way."
NOT_STALLED = "Nothing waits for a person."
PATIENCE_SECONDS = 600.0
"""What is named and not there may be on its way, as when files are applied in any order: for so long."""
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
        works, stalls = self.progress == "Reconciling", self.progress == "Stalled"
        return (
            _mark(conditions.READY, self.ready, self.reason, self.message),
            _mark(conditions.RECONCILING, works, self.reason, self.message if works else NOT_RECONCILING),
            _mark(conditions.STALLED, stalls, self.reason, self.message if stalls else NOT_STALLED),
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


def message(
    reason: Reason | None, why: str = "", step: Reason | None = None, /, *, namespace: str, name: str, **more: str
) -> str:
    """`why`, or the reason's own sentence, its hint, and its next command; at most `LONGEST` characters.

    `step` is the reason whose command helps more than the reason's own.
    """
    if reason is None:
        return _cut(why, LONGEST)
    what = why or reason.sentence
    command = _command((step or reason).next_step, {"namespace": namespace, "name": name, **more})
    if not command:
        return _cut(what, LONGEST)
    hint = f" {reason.hint}" if reason.hint and reason.hint not in what else ""
    end = f"{hint}{NEXT}{command}"
    return f"{_ended(_cut(what, max(0, LONGEST - len(end) - 1)))}{end}"[:LONGEST]


def after(text: str, said: str) -> str:
    """`text` and then a message that was made already; cut in its middle, never in its command."""
    what, sign, command = said.rpartition(NEXT)
    if not sign:
        return _cut(f"{text} {said}", LONGEST)
    return f"{_cut(f'{text} {what}', max(0, LONGEST - len(sign) - len(command)))}{sign}{command}"


def named(reasons: type[Known], text: str) -> Known | None:
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


def stalled_from(
    known: Iterable[Condition], reason: Reason, since: datetime, steady_since: datetime | None, allowed: float
) -> datetime:
    """When what has waited since then has waited for longer than `allowed` seconds, and is stalled for that reason.

    Only time that this process saw pass counts: a clock that is set an hour forward stalls nothing. What this wait has
    stalled already stays so, also when another process takes over or the clock is set back.
    """
    found = conditions.find(known, conditions.STALLED)
    is_stalled = found is not None and (found.status, found.reason) == ("True", reason.name)
    if found is not None and is_stalled and found.last_transition_time >= later(since, allowed):
        return since
    return later(max(since, steady_since or since), allowed)


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
