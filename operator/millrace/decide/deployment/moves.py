"""What each move of a rollout makes of the memory, and the one event that tells of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from millrace.api.base import Frozen
from millrace.api.deployment_status import DeploymentStatus, Quarantined, Retiring, RevisionStatus, Rollout, Served
from millrace.decide.plan import Event

from . import actions, steps, target
from .observation import Observation

MOST_QUARANTINED = 50
MOST_HISTORY = 20
MOST_LEAVING = 8
"""What status.retiring holds; whoever falls out still has pods, and retires again once there is room."""


class Move(Enum):
    """The ways in which the memory changes."""

    RELEASE = "lift a quarantine"
    START = "begin a canary at 0 %"
    SET_WEIGHT = "give the canary the step's share"
    NEXT_STEP = "go on to the next step"
    RESTART_STEP = "begin the step again"
    SET_FULL = "give the canary everything"
    PROMOTE = "call the canary stable"
    ROLL_BACK = "take the canary's traffic away and quarantine it"
    ABORT = "the same, because a person asked"
    WITHDRAW = "take the canary's traffic away"
    SUPERSEDE = "the same, for another revision"


class Turn(Frozen):
    """The memory so far, and what happened on the way."""

    state: DeploymentStatus
    events: tuple[Event, ...] = ()

    def to(self, *events: Event, **changes: Any) -> Turn:
        """The next turn."""
        return Turn(state=self.state.model_copy(update=changes), events=self.events + events)


class Occasion(Frozen):
    """A move about to be made: what was seen, the memory so far, and why."""

    seen: Observation
    turn: Turn
    reason: str = ""
    message: str = ""


def start(at: Occasion) -> Turn:
    """Begin with the wanted revision."""
    state = at.turn.state
    wanted = target.choose(at.seen, state).bundle
    if wanted is None:
        return at.turn
    canary = RevisionStatus(
        revision=wanted.revision,
        model=wanted.model,
        version=wanted.version,
        digest=wanted.digest,
        weight=0,
        since=at.seen.now,
    )
    before = state.rollout or Rollout()
    rollout = before.model_copy(
        update={
            "current_step_index": 0,
            "steps": len(steps.steps_of(at.seen, state)),
            "started_time": at.seen.now,
            "step_started_time": at.seen.now,
        }
    )
    what = f"{wanted.model} (revision {wanted.revision})"
    text = f"{what} is tried beside {state.stable.model}" if state.stable else f"{what} is started as the first model"
    return at.turn.to(Event(reason="RolloutStarted", message=text), canary=canary, rollout=rollout)


def set_weight(at: Occasion) -> Turn:
    """Give the canary the share of the present step."""
    step = steps.current(at.seen, at.turn.state)
    return _weighed(at.turn, step.set_weight or 0 if step is not None else 0)


def set_full(at: Occasion) -> Turn:
    """Give the canary everything."""
    return _weighed(at.turn, 100)


def next_step(at: Occasion) -> Turn:
    """The step is over."""
    index = steps.index_of(at.seen, at.turn.state) + 1
    return _stepped(at.seen, at.turn, current_step_index=index)


def restart_step(at: Occasion) -> Turn:
    """Count anew from now."""
    state = actions.handled(at.seen, at.turn.state, actions.RETRY)
    event = Event(reason="AnalysisExtended", message="the held analysis begins again, because a person asked for it")
    return _stepped(at.seen, Turn(state=state, events=(*at.turn.events, event)))


def promote(at: Occasion) -> Turn:
    """The canary becomes stable, the old stable retires."""
    state, canary = at.turn.state, at.turn.state.canary
    if canary is None:
        return at.turn
    old = state.stable
    serving = Served(
        revision=canary.revision, model=canary.model, digest=canary.digest, from_=at.seen.now, outcome="Serving"
    )
    past = tuple(
        one.model_copy(update={"to": at.seen.now, "outcome": "Replaced"}) if one.outcome == "Serving" else one
        for one in state.history
    )
    text = f"{canary.model} (revision {canary.revision}) serves all traffic"
    return at.turn.to(
        Event(reason="Promoted", message=text + (f" in place of {old.model}" if old is not None else "")),
        stable=canary.model_copy(update={"weight": 100, "since": at.seen.now}),
        canary=None,
        retiring=_leaving(at.seen, state, old),
        history=(serving, *past)[:MOST_HISTORY],
        rollout=_ended(state, "Promoted", text, canary.revision),
        analysis=(),
    )


def roll_back(at: Occasion) -> Turn:
    """The canary failed."""
    return _quarantined(at.seen, at.turn, "RolledBack", at.reason, at.message)


def abort(at: Occasion) -> Turn:
    """A person stopped the canary."""
    state = actions.handled(at.seen, at.turn.state, actions.ABORT)
    return _quarantined(at.seen, Turn(state=state, events=at.turn.events), "Aborted", at.reason, at.message)


def withdraw(at: Occasion) -> Turn:
    """The canary may not serve any more; its approval says whether it ever may again, so no quarantine."""
    return _returned(at.seen, at.turn, "RolledBack", at.reason, at.message, "")


def supersede(at: Occasion) -> Turn:
    """Something else is wanted; nothing is wrong with the canary."""
    return _returned(at.seen, at.turn, "Superseded", at.reason, at.message, "")


def release(at: Occasion) -> Turn:
    """Lift the quarantine of the revision that a person names, and of every revision of the same bytes."""
    state = at.turn.state
    request = actions.requested(at.seen, at.reason)
    digests = {one.digest for one in state.quarantined if request is not None and one.revision == request.revision}
    kept = tuple(one for one in state.quarantined if one.digest not in digests)
    lifted = next((one for one in state.quarantined if one.digest in digests), None)
    text = f"{lifted.model} may be rolled out again" if lifted is not None else "nothing was quarantined"
    return Turn(state=actions.handled(at.seen, state, at.reason), events=at.turn.events).to(
        Event(reason="Unquarantined", message=text), quarantined=kept
    )


def _quarantined(seen: Observation, turn: Turn, verdict: str, reason: str, message: str) -> Turn:
    canary = turn.state.canary
    if canary is None:
        return turn
    entry = Quarantined(
        revision=canary.revision,
        model=canary.model,
        digest=canary.digest,
        reason=f"{reason}: {message}"[:256],
        time=seen.now,
    )
    others = tuple(one for one in turn.state.quarantined if one.revision != canary.revision)
    turn = turn.to(quarantined=(*others, entry)[-MOST_QUARANTINED:])
    command = target.unquarantine_command(seen, canary.revision)
    return _returned(seen, turn, verdict, reason, message, f" To let it try again: {command}")


def _returned(seen: Observation, turn: Turn, verdict: str, reason: str, message: str, advice: str) -> Turn:
    """All traffic back to stable; the canary retires."""
    state, canary = turn.state, turn.state.canary
    if canary is None:
        return turn
    back = f"all traffic is back at {state.stable.model}" if state.stable is not None else "nothing serves"
    text = f"{canary.model} (revision {canary.revision}): {reason}, {message}; {back}."[: 1000 - len(advice)]
    return turn.to(
        Event(type="Normal" if verdict == "Superseded" else "Warning", reason=verdict, message=text + advice),
        stable=state.stable.model_copy(update={"weight": 100}) if state.stable is not None else None,
        canary=None,
        retiring=_leaving(seen, state, canary),
        rollout=_ended(state, verdict, f"{reason}: {message}", canary.revision),
        analysis=(),
    )


def _ended(state: DeploymentStatus, verdict: str, why: str, revision: str) -> Rollout:
    handled = state.rollout.handled if state.rollout is not None else ()
    return Rollout.model_validate(
        {
            "last_verdict": verdict,
            "last_verdict_reason": why[:256],
            "last_verdict_revision": revision,
            "handled": handled,
        }
    )


def _leaving(seen: Observation, state: DeploymentStatus, gone: RevisionStatus | None) -> tuple[Retiring, ...]:
    if gone is None:
        return state.retiring
    fresh = Retiring(revision=gone.revision, model=gone.model, digest=gone.digest, since=seen.now)
    return (*state.retiring, fresh)[-MOST_LEAVING:]


def _weighed(turn: Turn, weight: int) -> Turn:
    state = turn.state
    if state.canary is None:
        return turn
    stable = state.stable.model_copy(update={"weight": 100 - weight}) if state.stable is not None else None
    event = Event(
        reason="WeightSet", message=f"{state.canary.model} (revision {state.canary.revision}) takes {weight} %"
    )
    return turn.to(event, stable=stable, canary=state.canary.model_copy(update={"weight": weight}))


def _stepped(seen: Observation, turn: Turn, **changes: int) -> Turn:
    rollout = turn.state.rollout or Rollout()
    return turn.to(rollout=rollout.model_copy(update={"step_started_time": seen.now, **changes}))


MOVES: dict[Move, Callable[[Occasion], Turn]] = {
    Move.RELEASE: release,
    Move.START: start,
    Move.SET_WEIGHT: set_weight,
    Move.NEXT_STEP: next_step,
    Move.RESTART_STEP: restart_step,
    Move.SET_FULL: set_full,
    Move.PROMOTE: promote,
    Move.ROLL_BACK: roll_back,
    Move.ABORT: abort,
    Move.WITHDRAW: withdraw,
    Move.SUPERSEDE: supersede,
}
