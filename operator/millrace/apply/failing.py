"""Writes that fail, and what is left of a plan without them.

An error that is about one write alone does not keep the others from being made: a quota for Jobs is no reason to leave
a canary at its weight. What depends on the failed write is left out:

    the router's files are not written  -->  deletes, nudges, status and events: they depend on the new weights
    something is not created            -->  what the status and the events claim of it (`Claim`, `Event.made`)
    something is not deleted            -->  the same, and later deletes of the same name: it is found by that object

An error that is about the API server (it is down, or asks to come back later) ends the pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from millrace import errors
from millrace.api import resources
from millrace.clients.store import Key, Manifest
from millrace.decide.plan import Claim, Event, Plan

GUARDED: Final = frozenset({resources.CONFIG_MAPS})
"""Kinds that move traffic: read live right before they are written, and written on top of that very version. What a
leader was about to send when it was paused must not undo what its successor has done since.
"""
REFUSALS: Final = (errors.BadRequest, errors.Forbidden, errors.Invalid)
"""Refusals that repeating the request does not change."""


class Part(Enum):
    """Which part of a plan a write belongs to."""

    CHILD = "child"
    CREATE = "create"
    DELETE = "delete"
    NUDGE = "nudge"


@dataclass(frozen=True)
class Failure:
    """A write that was not done."""

    part: Part
    key: Key
    error: errors.MillraceError

    @property
    def is_refusal(self) -> bool:
        """Whether repeating the write gets the same answer until somebody changes something."""
        return isinstance(self.error, (*REFUSALS, errors.NameConflict))

    @property
    def moves_traffic(self) -> bool:
        """Whether the rest of the plan depends on it."""
        return self.part is Part.CHILD and self.key.resource in GUARDED

    def breaks(self, claim: Claim) -> bool:
        """Whether it makes a claim of the plan untrue."""
        return self.part in (Part.CREATE, Part.DELETE) and self.key.resource in claim.kinds


def is_of_one_write(error: errors.MillraceError) -> bool:
    """Whether the next write may succeed all the same."""
    if isinstance(error, (errors.Unavailable, errors.Unauthorized, errors.Conflict)):
        return isinstance(error, errors.Unavailable) and error.status == 500  # a webhook that is down, for one kind
    return isinstance(error, (errors.ApiError, errors.NameConflict))


def as_far_as_it_came(plan: Plan, owner: Manifest, failures: Sequence[Failure]) -> Plan:
    """The plan without those parts of its status, events and nudges that the failures make untrue."""
    if any(one.moves_traffic for one in failures):
        known = owner.get("status")
        return plan.model_copy(update={"status": dict(known) if known else None, "events": (), "nudges": ()})
    broken = [claim.field for claim in plan.claims if any(one.breaks(claim) for one in failures)]
    created = {one.key.name for one in failures if one.part is Part.CREATE}
    return plan.model_copy(update={"status": _kept(plan.status, owner, broken), "events": _true(plan.events, created)})


def _kept(status: Manifest | None, owner: Manifest, fields: Collection[str]) -> Manifest | None:
    """The status with these fields as they were."""
    if status is None or not fields:
        return status
    known = owner.get("status") or {}
    kept = {name: known[name] for name in fields if name in known}
    return {**{name: value for name, value in status.items() if name not in fields}, **kept}


def _true(events: Sequence[Event], not_made: Collection[str]) -> tuple[Event, ...]:
    return tuple(one for one in events if not one.made or one.made not in not_made)
