"""What each move of a rollout changes in the status, and the one event that tells of it."""

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
    """The ways in which a rollout changes the status."""

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


class Transition(Frozen):
    """The status after the moves made so far in this pass, and their events."""

    state: DeploymentStatus
    events: tuple[Event, ...] = ()

    def then(self, *events: Event, **changes: Any) -> Transition:
        """The same with these fields changed and these events added."""
        return Transition(state=self.state.model_copy(update=changes), events=self.events + events)


class MoveContext(Frozen):
    """What a move starts from: what was seen, the moves made before it, and the finding that asked for it."""

    seen: Observation
    transition: Transition
    reason: str = ""
    message: str = ""


def start(context: MoveContext) -> Transition:
    """Begin with the wanted revision."""
    state = context.transition.state
    wanted = target.choose(context.seen, state).bundle
    if wanted is None:
        return context.transition
    canary = RevisionStatus(
        revision=wanted.revision,
        model=wanted.model,
        version=wanted.version,
        digest=wanted.digest,
        weight=0,
        since=context.seen.now,
    )
    before = state.rollout or Rollout()
    rollout = before.model_copy(
        update={
            "current_step_index": 0,
            "steps": len(steps.steps_of(context.seen, state)),
            "started_time": context.seen.now,
            "step_started_time": context.seen.now,
        }
    )
    what = f"{wanted.model} (revision {wanted.revision})"
    text = f"{what} is tried beside {state.stable.model}" if state.stable else f"{what} is started as the first model"
    return context.transition.then(Event(reason="RolloutStarted", message=text), canary=canary, rollout=rollout)


def set_weight(context: MoveContext) -> Transition:
    """Give the canary the share of the present step."""
    step = steps.current(context.seen, context.transition.state)
    return _weighed(context.transition, step.set_weight or 0 if step is not None else 0)


def set_full(context: MoveContext) -> Transition:
    """Give the canary everything."""
    return _weighed(context.transition, 100)


def next_step(context: MoveContext) -> Transition:
    """The step is over."""
    index = steps.index_of(context.seen, context.transition.state) + 1
    return _stepped(context.seen, context.transition, current_step_index=index)


def restart_step(context: MoveContext) -> Transition:
    """Count anew from now."""
    state = actions.handled(context.seen, context.transition.state, actions.RETRY)
    event = Event(reason="AnalysisExtended", message="the held analysis begins again, because a person asked for it")
    return _stepped(context.seen, Transition(state=state, events=(*context.transition.events, event)))


def promote(context: MoveContext) -> Transition:
    """The canary becomes stable, the old stable retires."""
    state, canary = context.transition.state, context.transition.state.canary
    if canary is None:
        return context.transition
    old = state.stable
    serving = Served(
        revision=canary.revision, model=canary.model, digest=canary.digest, from_=context.seen.now, outcome="Serving"
    )
    past = tuple(
        one.model_copy(update={"to": context.seen.now, "outcome": "Replaced"}) if one.outcome == "Serving" else one
        for one in state.history
    )
    text = f"{canary.model} (revision {canary.revision}) serves all traffic"
    return context.transition.then(
        Event(reason="Promoted", message=text + (f" in place of {old.model}" if old is not None else "")),
        stable=canary.model_copy(update={"weight": 100, "since": context.seen.now}),
        canary=None,
        retiring=_leaving(context.seen, state, old),
        history=(serving, *past)[:MOST_HISTORY],
        rollout=_ended(state, "Promoted", text, canary.revision),
        analysis=(),
    )


def roll_back(context: MoveContext) -> Transition:
    """The canary failed."""
    return _quarantined(context.seen, context.transition, "RolledBack", context.reason, context.message)


def abort(context: MoveContext) -> Transition:
    """A person stopped the canary."""
    state = actions.handled(context.seen, context.transition.state, actions.ABORT)
    return _quarantined(
        context.seen,
        Transition(state=state, events=context.transition.events),
        "Aborted",
        context.reason,
        context.message,
    )


def withdraw(context: MoveContext) -> Transition:
    """The canary may not serve any more; its approval says whether it ever may again, so no quarantine."""
    return _returned(context.seen, context.transition, "RolledBack", context.reason, context.message, "")


def supersede(context: MoveContext) -> Transition:
    """Something else is wanted; nothing is wrong with the canary."""
    return _returned(context.seen, context.transition, "Superseded", context.reason, context.message, "")


def release(context: MoveContext) -> Transition:
    """Lift the quarantine of the revision that a person names, and of every revision of the same bytes."""
    state = context.transition.state
    request = actions.requested(context.seen, context.reason)
    digests = {one.digest for one in state.quarantined if request is not None and one.revision == request.revision}
    kept = tuple(one for one in state.quarantined if one.digest not in digests)
    lifted = next((one for one in state.quarantined if one.digest in digests), None)
    text = f"{lifted.model} may be rolled out again" if lifted is not None else "nothing was quarantined"
    transition = Transition(
        state=actions.handled(context.seen, state, context.reason), events=context.transition.events
    )
    return transition.then(Event(reason="Unquarantined", message=text), quarantined=kept)


def _quarantined(seen: Observation, transition: Transition, verdict: str, reason: str, message: str) -> Transition:
    canary = transition.state.canary
    if canary is None:
        return transition
    entry = Quarantined(
        revision=canary.revision,
        model=canary.model,
        digest=canary.digest,
        reason=f"{reason}: {message}"[:256],
        time=seen.now,
    )
    others = tuple(one for one in transition.state.quarantined if one.revision != canary.revision)
    transition = transition.then(quarantined=(*others, entry)[-MOST_QUARANTINED:])
    command = target.unquarantine_command(seen, canary.revision)
    return _returned(seen, transition, verdict, reason, message, f" To let it try again: {command}")


def _returned(
    seen: Observation, transition: Transition, verdict: str, reason: str, message: str, advice: str
) -> Transition:
    """All traffic back to stable; the canary retires."""
    state, canary = transition.state, transition.state.canary
    if canary is None:
        return transition
    back = f"all traffic is back at {state.stable.model}" if state.stable is not None else "nothing serves"
    text = f"{canary.model} (revision {canary.revision}): {reason}, {message}; {back}."[: 1000 - len(advice)]
    return transition.then(
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


def _weighed(transition: Transition, weight: int) -> Transition:
    state = transition.state
    if state.canary is None:
        return transition
    stable = state.stable.model_copy(update={"weight": 100 - weight}) if state.stable is not None else None
    event = Event(
        reason="WeightSet", message=f"{state.canary.model} (revision {state.canary.revision}) takes {weight} %"
    )
    return transition.then(event, stable=stable, canary=state.canary.model_copy(update={"weight": weight}))


def _stepped(seen: Observation, transition: Transition, **changes: int) -> Transition:
    rollout = transition.state.rollout or Rollout()
    return transition.then(rollout=rollout.model_copy(update={"step_started_time": seen.now, **changes}))


MOVES: dict[Move, Callable[[MoveContext], Transition]] = {
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
