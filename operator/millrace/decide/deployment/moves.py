"""What each move of a rollout changes in the status, and the one event that tells of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from millrace.api.base import Frozen
from millrace.api.deployment_status import DeploymentStatus, Retiring, RevisionStatus, Rollout, Served
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event

from . import actions, analysis, messages, quarantine, signature, steps, target, verdicts
from .finding import Finding
from .observation import Observation

MOST_HISTORY = 20
MOST_LEAVING = 8
"""What status.retiring holds; a revision that does not fit still has pods, and is added again once there is room."""


class Move(Enum):
    """The ways in which a rollout changes the status."""

    FORGET = "stop sending to what is gone"
    START = "begin a canary at 0 %"
    RENAME = "call what serves by another Model of the same bytes"
    SET_WEIGHT = "give the canary the step's share"
    NEXT_STEP = "go on to the next step"
    RESTART_STEP = "begin the step again"
    RESUME = "the same, because its servers are back"
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
        changed = {"state": self.state.model_copy(update=changes), "events": self.events + events}
        return self.model_copy(update=changed)

    def at(self, state: DeploymentStatus) -> Transition:
        """The same with another status."""
        return self.model_copy(update={"state": state})


class MoveContext(Frozen):
    """What a move starts from: what was seen, the moves made before it, and the finding that asked for it."""

    seen: Observation
    transition: Transition
    finding: Finding


def forget(context: MoveContext) -> Transition:
    """Nothing is stable any more. A canary that answers gets everything: it is all there is."""
    state, canary = context.transition.state, context.transition.state.canary
    if state.stable is None:
        return context.transition
    if canary is not None:
        answers = context.seen.ready(canary.revision) > 0
        canary = canary.model_copy(update={"weight": 100 if answers else 0})
    past = tuple(
        one.model_copy(update={"to": context.seen.now, "outcome": "Gone"}) if one.outcome == "Serving" else one
        for one in state.history
    )
    event = messages.event(context.seen, Reason.StableGone, context.finding.why, warns=True)
    return context.transition.then(event, stable=None, canary=canary, history=past)


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
        signature=signature.digest(target.model_called(context.seen, wanted.model)),
        image=wanted.template.image,
    )
    before = state.rollout or Rollout()
    rollout = before.model_copy(
        update={
            "current_step_index": 0,
            "steps": len(steps.steps_of(context.seen, state)),
            "started_time": context.seen.now,
            "step_started_time": context.seen.now,
            "unready_since": None,
        }
    )
    what = f"{wanted.model} (revision {wanted.revision})"
    first = f"{what} is started as the first model: with nothing to compare it with, it takes all traffic at once"
    text = f"{what} is tried beside {state.stable.model}" if state.stable else first
    event = messages.event(context.seen, Reason.RolloutStarted, text)
    return context.transition.then(event, canary=canary, rollout=rollout)


def rename(context: MoveContext) -> Transition:
    """The same bytes under the same template are the same revision: there is nothing to try, and no traffic moves."""
    state = context.transition.state
    stable, wanted = state.stable, target.choose(context.seen, state).bundle
    if stable is None or wanted is None:
        return context.transition
    called = stable.model_copy(update={"model": wanted.model, "version": wanted.version})
    past = tuple(
        one.model_copy(update={"model": wanted.model}) if one.outcome == "Serving" else one for one in state.history
    )
    text = f"{wanted.model} has the bytes that serve (revision {wanted.revision}), and stands for {stable.model} now"
    event = messages.event(context.seen, Reason.Promoted, text)
    return context.transition.then(event, stable=called, history=past)


def set_weight(context: MoveContext) -> Transition:
    """Give the canary the share of the present step."""
    step = steps.current(context.seen, context.transition.state)
    return _weighed(context, step.set_weight or 0 if step is not None else 0)


def set_full(context: MoveContext) -> Transition:
    """Give the canary everything."""
    return _weighed(context, 100)


def next_step(context: MoveContext) -> Transition:
    """The step is over."""
    index = steps.index_of(context.seen, context.transition.state) + 1
    return _stepped(context.seen, context.transition, current_step_index=index)


def restart_step(context: MoveContext) -> Transition:
    """Count anew from now."""
    state = actions.handled(context.seen, context.transition.state, actions.RETRY)
    why = "the held analysis begins again, because a person asked for it"
    event = messages.event(context.seen, Reason.AnalysisExtended, why)
    return _stepped(context.seen, context.transition.at(state).then(event))


def resume(context: MoveContext) -> Transition:
    """Count anew from now: for as long as the servers were away, nothing could be counted."""
    event = messages.event(context.seen, Reason.AnalysisExtended, "the analysis begins again: its servers are back")
    return _stepped(context.seen, context.transition.then(event))


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
    instead = f" in place of {old.model}" if old is not None else ""
    return context.transition.then(
        messages.event(context.seen, Reason.Promoted, f"{text}{instead}{_evidence(context)}"),
        stable=canary.model_copy(update={"weight": 100, "since": context.seen.now}),
        canary=None,
        retiring=_leaving(context.seen, state, old),
        history=(serving, *past)[:MOST_HISTORY],
        rollout=_ended(state, Reason.Promoted, f"{text}{_evidence(context)}", canary.revision),
        analysis=verdicts.judged(context.seen, state),
    )


def roll_back(context: MoveContext) -> Transition:
    """The canary failed."""
    return _quarantined(context, Reason.RolledBack, "Failed")


def abort(context: MoveContext) -> Transition:
    """A person stopped the canary."""
    state = actions.handled(context.seen, context.transition.state, actions.ABORT)
    return _quarantined(_at(context, state), Reason.Aborted, "Aborted")


def withdraw(context: MoveContext) -> Transition:
    """The canary may not serve any more; its approval says whether it ever may again, so no quarantine."""
    return _returned(context, Reason.RolledBack, Reason.ApprovalRevoked)


def supersede(context: MoveContext) -> Transition:
    """Something else is wanted; nothing is wrong with the canary."""
    return _returned(context, Reason.Superseded, Reason.Superseded)


def _quarantined(context: MoveContext, verdict: Reason, cause: str) -> Transition:
    state = quarantine.condemned(context.seen, context.transition.state, cause, _cause(context))
    return _returned(_at(context, state), verdict, Reason.Quarantined)


def _at(context: MoveContext, state: DeploymentStatus) -> MoveContext:
    return context.model_copy(update={"transition": context.transition.at(state)})


def _returned(context: MoveContext, verdict: Reason, advice: Reason) -> Transition:
    """All traffic back to stable; the canary retires. The event ends in the next command of `advice`."""
    state, canary = context.transition.state, context.transition.state.canary
    if canary is None:
        return context.transition
    back = f"all traffic is back at {state.stable.model}" if state.stable is not None else "nothing serves"
    why = f"{canary.model} (revision {canary.revision}): {_cause(context)}; {back}"
    warns = verdict is not Reason.Superseded
    entry = target.quarantine_of(state, canary)
    fields = actions.lifting(entry) if entry is not None else {}
    event = messages.event(context.seen, verdict, why, advice, warns=warns, **fields)
    return context.transition.then(
        event,
        stable=state.stable.model_copy(update={"weight": 100}) if state.stable is not None else None,
        canary=None,
        retiring=_leaving(context.seen, state, canary),
        rollout=_ended(state, verdict, _cause(context), canary.revision),
        analysis=verdicts.judged(context.seen, state),
    )


def _evidence(context: MoveContext) -> str:
    """By what it may serve: what its analyses showed, if there were any."""
    results = verdicts.judged(context.seen, context.transition.state)
    passed = sum(one.phase == "Successful" for one in results)
    told = f": {passed} of {len(results)} metrics passed{analysis.built_in(results)}, see status.analysis"
    return told if results else ""


def _cause(context: MoveContext) -> str:
    reason = context.finding.reason
    return f"{reason.name}: {context.finding.why}" if reason is not None else context.finding.why


def _ended(state: DeploymentStatus, verdict: Reason, why: str, revision: str) -> Rollout:
    handled = state.rollout.handled if state.rollout is not None else ()
    return Rollout.model_validate(
        {
            "last_verdict": verdict.name,
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


def _weighed(context: MoveContext, weight: int) -> Transition:
    state = context.transition.state
    if state.canary is None:
        return context.transition
    stable = state.stable.model_copy(update={"weight": 100 - weight}) if state.stable is not None else None
    text = f"{state.canary.model} (revision {state.canary.revision}) takes {weight} %"
    event = messages.event(context.seen, Reason.WeightSet, text)
    return context.transition.then(event, stable=stable, canary=state.canary.model_copy(update={"weight": weight}))


def _stepped(seen: Observation, transition: Transition, **changes: int) -> Transition:
    rollout = transition.state.rollout or Rollout()
    return transition.then(rollout=rollout.model_copy(update={"step_started_time": seen.now, **changes}))


MOVES: dict[Move, Callable[[MoveContext], Transition]] = {
    Move.FORGET: forget,
    Move.START: start,
    Move.RENAME: rename,
    Move.SET_WEIGHT: set_weight,
    Move.NEXT_STEP: next_step,
    Move.RESTART_STEP: restart_step,
    Move.RESUME: resume,
    Move.SET_FULL: set_full,
    Move.PROMOTE: promote,
    Move.ROLL_BACK: roll_back,
    Move.ABORT: abort,
    Move.WITHDRAW: withdraw,
    Move.SUPERSEDE: supersede,
}
