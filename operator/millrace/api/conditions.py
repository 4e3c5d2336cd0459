"""Conditions: the state of an object, for programs and people (kstatus: Ready, Reconciling, Stalled on every kind)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from .base import Shape, Time
from .quantities import Message

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"

Truth = Literal["True", "False", "Unknown"]


class Condition(Shape):
    """metav1.Condition, with a bounded message."""

    type: Annotated[str, Field(max_length=64)]
    """What the condition is about."""
    status: Truth
    """Whether it holds."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
    """Why, in one word for programs."""
    message: Message = ""
    """Why, and what to do next, for people."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    """The generation of the spec that the condition is about."""


class Mark(Shape):
    """A condition as a decision states it: without a time, which `merge` supplies."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition exists and is True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def merge(
    previous: Iterable[Condition], marks: Iterable[Mark], now: datetime, generation: int
) -> tuple[Condition, ...]:
    """The whole new list: one condition a mark, sorted by type; a time changes only when a status does.

    A condition without a mark disappears: decisions state all of them on every pass. Of two marks of one type the
    later wins.
    """
    before = {condition.type: condition for condition in previous}
    merged = {}
    for mark in marks:
        old = before.get(mark.type)
        since = old.last_transition_time if old is not None and old.status == mark.status else now
        merged[mark.type] = Condition(
            type=mark.type,
            status=mark.status,
            reason=mark.reason,
            message=mark.message[:1024],
            last_transition_time=since,
            observed_generation=generation,
        )
    return tuple(merged[kind] for kind in sorted(merged))
