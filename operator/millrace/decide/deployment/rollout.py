"""The rollout of a new revision: everything that moves traffic is in `TRANSITIONS`, and nowhere else.

    idle --START--> canary at 0 % --SET_WEIGHT / pause / analysis--> ... --SET_FULL--> 100 % --PROMOTE--> stable

The status is the only memory: `stable`, `canary`, `retiring`, `rollout`, `quarantined`. In one pass the machine moves
until no check finds anything more to do (`advance`), so deciding again from the same observation moves nothing.

Weights of stable and canary add up to 100 whenever something serves. A canary gets weight only when enough of its
servers are ready and every router has a healthy one; a step counts once every router says that it applies the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

from millrace.api import deployment as spec
from millrace.api.base import Frozen
from millrace.api.deployment_status import AnalysisResult, DeploymentStatus, RevisionStatus, Rollout
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.contract.reasons import Reason as PodReason
from millrace.decide.status import later
from millrace.render import names
from millrace.render.router import Backend, RouterConfig

from . import actions, analysis, steps, target
from .finding import Finding, Signal
from .moves import MOVES, Move, MoveContext, Transition
from .observation import Observation

READY_WITHIN_SECONDS = 600.0
"""A canary whose servers are not ready by then is given up, if there is a stable revision to go back to."""
MOST_RETIRING = 6
MOST_MOVES = 200

HOPELESS = frozenset(
    {PodReason.DIGEST_MISMATCH.value, PodReason.MODEL_NOT_LOADABLE.value, PodReason.GOLDEN_SET_MISMATCH.value}
)
"""Trying again cannot help: the bytes are what they are."""


class Stage(Enum):
    """Where a rollout is, read from the status and the spec."""

    IDLE = "no canary"
    WEIGHING = "at a setWeight step"
    PAUSING = "at a pause"
    ANALYSING = "at an analysis"
    PROMOTING = "after the last step"


_ANY_STAGE = {
    Signal.RELEASED: Move.RELEASE,
    Signal.ABORTED: Move.ABORT,
    Signal.WITHDRAWN: Move.WITHDRAW,
    Signal.SUPERSEDED: Move.SUPERSEDE,
    Signal.BROKEN: Move.ROLL_BACK,
    Signal.FAILED: Move.ROLL_BACK,
    Signal.OVERDUE: Move.ROLL_BACK,
    Signal.EXTENDED: Move.RESTART_STEP,
}
TRANSITIONS: dict[tuple[Stage, Signal], Move] = {
    (Stage.IDLE, Signal.RELEASED): Move.RELEASE,
    (Stage.IDLE, Signal.NEW): Move.START,
    (Stage.WEIGHING, Signal.READY): Move.SET_WEIGHT,
    (Stage.WEIGHING, Signal.DONE): Move.NEXT_STEP,
    (Stage.PAUSING, Signal.DONE): Move.NEXT_STEP,
    (Stage.ANALYSING, Signal.DONE): Move.NEXT_STEP,
    (Stage.PROMOTING, Signal.READY): Move.SET_FULL,
    (Stage.PROMOTING, Signal.DONE): Move.PROMOTE,
    **{(stage, signal): move for stage in Stage if stage is not Stage.IDLE for signal, move in _ANY_STAGE.items()},
}
"""What is not in the table changes nothing."""


class CanaryContext(Frozen):
    """What a check looks at while there is a canary."""

    seen: Observation
    state: DeploymentStatus
    canary: RevisionStatus


def advance(seen: Observation, state: DeploymentStatus) -> tuple[Transition, Finding]:
    """Move as far as this observation allows: the new status with its events, and why it goes no further."""
    transition = Transition(state=state)
    for _ in range(MOST_MOVES):
        finding = find(seen, transition.state)
        move = TRANSITIONS.get((stage_of(seen, transition.state), finding.signal))
        if move is None:
            return _noted(seen, transition), finding
        transition = MOVES[move](MoveContext(seen=seen, transition=transition, finding=finding))
    return _noted(seen, transition), finding


def stage_of(seen: Observation, state: DeploymentStatus) -> Stage:
    """Where the status says that the rollout is, by the steps that the spec has now."""
    if state.canary is None:
        return Stage.IDLE
    step = steps.current(seen, state)
    if step is None:
        return Stage.PROMOTING
    if step.set_weight is not None:
        return Stage.WEIGHING
    return Stage.PAUSING if step.pause is not None else Stage.ANALYSING


def router_config(seen: Observation, state: DeploymentStatus) -> RouterConfig:
    """Every revision with pods, and who gets how much.

    A canary keeps its fallback while it retires: what it fails to answer in the moment of its rollback goes to stable.
    """
    name = seen.deployment.metadata.name
    stable, canary = state.stable, state.canary
    backends = []
    if stable is not None:
        backends.append(Backend(stable.revision, names.server(name, stable.revision), weight=stable.weight))
    fallback = stable.revision if stable is not None else None
    if canary is not None:
        host = names.server(name, canary.revision)
        backends.append(Backend(canary.revision, host, weight=canary.weight, fallback=fallback))
    backends += [Backend(one.revision, names.server(name, one.revision), fallback=fallback) for one in state.retiring]
    return RouterConfig(tuple(backends))


def find(seen: Observation, state: DeploymentStatus) -> Finding:
    """The finding of the first check that finds anything."""
    lifted = actions.quarantine_lifted(seen, state)
    if lifted is not None:
        return Finding(signal=Signal.RELEASED, action=lifted)
    if state.canary is None:
        return _idle(seen, state)
    context = CanaryContext(seen=seen, state=state, canary=state.canary)
    for check in CHECKS:
        finding = check(context)
        if finding is not None:
            return finding
    return _STAGES[stage_of(seen, state)](context)


def _idle(seen: Observation, state: DeploymentStatus) -> Finding:
    choice = target.choose(seen, state)
    wanted = choice.bundle
    if wanted is None:
        return Finding(signal=Signal.SETTLED, reason=choice.reason, why=choice.why, fields=choice.fields)
    if state.stable is not None and state.stable.revision == wanted.revision:
        return Finding(signal=Signal.SETTLED)
    if seen.policy_in_force is False:
        return _waits(Reason.PolicyNotInForce, "the admission policies to be in force")
    busy = any(one.revision == wanted.revision for one in state.retiring) or len(state.retiring) >= MOST_RETIRING
    if busy:
        return _waits(Reason.Retiring, "earlier pods to go before this revision starts")
    return Finding(signal=Signal.NEW)


def _waits(reason: Reason, what: str, **more: Any) -> Finding:
    return Finding(signal=Signal.WAITING, reason=reason, waiting_for=what, **more)


def _is_aborted(context: CanaryContext) -> Finding | None:
    request = actions.abort_of(context.seen, context.state, context.canary.revision)
    if request is None:
        return None
    return Finding(signal=Signal.ABORTED, reason=Reason.Aborted, why=request.reason or "a person asked for it")


def _is_withdrawn(context: CanaryContext) -> Finding | None:
    if target.may_stay(target.model_called(context.seen, context.canary.model)):
        return None
    return Finding(
        signal=Signal.WITHDRAWN,
        reason=Reason.ApprovalRevoked,
        why=f"Model {context.canary.model} is not approved any more",
    )


def _is_superseded(context: CanaryContext) -> Finding | None:
    choice = target.choose(context.seen, context.state)
    if choice.bundle is None:
        return Finding(
            signal=Signal.SUPERSEDED, reason=Reason.Superseded, why="it is not what the spec asks for any more"
        )
    if choice.bundle.revision == context.canary.revision:
        return None
    text = f"{choice.bundle.model} (revision {choice.bundle.revision}) is wanted now"
    return Finding(signal=Signal.SUPERSEDED, reason=Reason.Superseded, why=text)


def _is_broken(context: CanaryContext) -> Finding | None:
    server = context.seen.server(context.canary.revision)
    trouble = server.trouble if server is not None else None
    if trouble is None or trouble.reason not in HOPELESS:
        return None
    return Finding(signal=Signal.BROKEN, reason=Reason[trouble.reason], why=trouble.message or trouble.reason)


def _has_failed(context: CanaryContext) -> Finding | None:
    results = judged(context.seen, context.state)
    failed = [result for result in results if result.phase == "Failed"]
    if not failed:
        return None
    why = "; ".join(f"{result.name}: {result.message}" for result in failed)
    return Finding(signal=Signal.FAILED, reason=Reason.AnalysisFailed, why=why, results=results)


def _is_overdue(context: CanaryContext) -> Finding | None:
    seen, state, revision = context.seen, context.state, context.canary.revision
    ready, wanted = seen.ready(revision), steps.servers_wanted(seen, state)
    if state.stable is None or ready >= wanted or seen.now < ready_deadline(seen, state):
        return None
    trouble = _trouble(seen, revision)
    text = f"{ready} of {wanted} servers were ready after {READY_WITHIN_SECONDS:g} s{trouble}"
    return Finding(signal=Signal.OVERDUE, reason=Reason.ProgressDeadlineExceeded, why=text)


def _is_extended(context: CanaryContext) -> Finding | None:
    if actions.retry_of(context.seen, context.state, context.canary.revision) is None:
        return None
    held = _STAGES[stage_of(context.seen, context.state)](context).signal is Signal.INCONCLUSIVE
    return Finding(signal=Signal.EXTENDED, reason=Reason.AnalysisExtended) if held else None


Check = Callable[[CanaryContext], Finding | None]
CHECKS: tuple[Check, ...] = (
    _is_aborted, _is_withdrawn, _is_superseded, _is_broken, _has_failed, _is_overdue, _is_extended,
)  # fmt: skip


def ready_deadline(seen: Observation, state: DeploymentStatus) -> datetime:
    """When a canary that has too few ready servers is given up, counted from when that was first seen.

    Giving up quarantines, so only time that this process saw pass counts: a clock that is set an hour forward must not
    condemn a good model. After a restart or a step of the clock the verdict comes later.
    """
    since = (state.rollout.unready_since if state.rollout is not None else None) or seen.now
    return later(max(since, seen.steady_since or since), READY_WITHIN_SECONDS)


def _noted(seen: Observation, transition: Transition) -> Transition:
    """The same, with the moment since when the canary has too few ready servers."""
    rollout, canary = transition.state.rollout, transition.state.canary
    if rollout is None:
        return transition
    short = canary is not None and seen.ready(canary.revision) < steps.servers_wanted(seen, transition.state)
    since = (rollout.unready_since or seen.now) if short else None
    if since == rollout.unready_since:
        return transition
    return transition.then(rollout=rollout.model_copy(update={"unready_since": since}))


def judged(seen: Observation, state: DeploymentStatus) -> tuple[AnalysisResult, ...]:
    """Every analysis that watches the canary now: the one in the background, and the one of the present step."""
    canary, strategy, memory = state.canary, seen.deployment.spec.strategy, state.rollout or Rollout()
    if canary is None or strategy is None or state.stable is None:
        return ()
    results: tuple[AnalysisResult, ...] = ()
    step = steps.current(seen, state)
    if step is not None and step.analysis is not None:
        tally = seen.tally(canary.revision, step=memory.step_started_time)
        results += analysis.judge_all(step.analysis.metrics, tally)
    if strategy.canary.analysis is not None:
        tally = seen.tally(canary.revision, rollout=memory.started_time)
        results += analysis.judge_all(strategy.canary.analysis.metrics, tally)
    return results


def _trouble(seen: Observation, revision: str) -> str:
    server = seen.server(revision)
    trouble = server.trouble if server is not None else None
    return f": {trouble.reason}, {trouble.message}" if trouble is not None else ""


def _servers_missing(context: CanaryContext, weight: int) -> Finding | None:
    """What must be there before the canary may carry this weight."""
    seen, canary = context.seen, context.canary
    wanted, ready = steps.need(seen, weight), seen.ready(canary.revision)
    if ready < wanted:
        text = f"{wanted} ready servers of {canary.model}, {ready} now{_trouble(seen, canary.revision)}"
        until = ready_deadline(seen, context.state)
        return _waits(Reason.ServersNotReady, text, until=until)
    if not seen.healthy(canary.revision):
        text = f"every router to find a healthy server of {canary.model}"
        return _waits(Reason.RoutersNotReady, text)
    return None


def _weighing(context: CanaryContext) -> Finding:
    step = steps.current(context.seen, context.state)
    weight = step.set_weight if step is not None and step.set_weight is not None else context.canary.weight
    missing = _servers_missing(context, weight) if weight >= context.canary.weight else None
    if missing is not None:
        return missing
    if context.canary.weight != weight:
        return Finding(signal=Signal.READY)
    return _applied(context)


def _applied(context: CanaryContext) -> Finding:
    if context.seen.reported(router_config(context.seen, context.state).generation):
        return Finding(signal=Signal.DONE)
    return Finding(
        signal=Signal.WAITING, reason=Reason.RoutersNotReady, waiting_for="every router to apply the new weights"
    )


def _pausing(context: CanaryContext) -> Finding:
    step = steps.current(context.seen, context.state)
    duration = seconds(step.pause.duration) if step is not None and step.pause is not None else 0.0
    end = later(steps.began(context.seen, context.state), duration)
    if context.seen.now < end:
        text = f"the pause of {duration:g} s at {context.canary.weight} % to end"
        return _waits(Reason.CanaryPaused, text, until=end)
    missing = _servers_missing(context, context.canary.weight)
    return missing if missing is not None else Finding(signal=Signal.DONE)


def _analysing(context: CanaryContext) -> Finding:
    step = steps.current(context.seen, context.state)
    if step is None or step.analysis is None:
        return Finding(signal=Signal.DONE)
    began = steps.began(context.seen, context.state)
    results = analysis.judge_all(step.analysis.metrics, context.seen.tally(context.canary.revision, step=began))
    return _under_analysis(context, step.analysis, results, context.seen.counted_since(context.canary.revision, began))


def _under_analysis(
    context: CanaryContext, asked: spec.Analysis, results: tuple[AnalysisResult, ...], since: datetime
) -> Finding:
    if analysis.together(results) == "Successful":
        return Finding(signal=Signal.DONE, results=results)
    end = later(since, seconds(asked.max_duration))
    undecided = ", ".join(result.name for result in results if result.phase != "Successful")
    if context.seen.now < end:
        text = f"the analysis of {undecided}, at most {asked.max_duration}"
        return Finding(
            signal=Signal.WAITING, reason=Reason.CanaryAnalysing, waiting_for=text, until=end, results=results
        )
    return Finding(
        signal=Signal.INCONCLUSIVE,
        reason=Reason.AnalysisInconclusive,
        why=f"no verdict on {undecided} within {asked.max_duration}; the canary stays where it is",
        waiting_for="a person: retry or abort",
        results=analysis.inconclusive(results),
    )


def _promoting(context: CanaryContext) -> Finding:
    strategy = context.seen.deployment.spec.strategy
    background = strategy.canary.analysis if strategy is not None and context.state.stable is not None else None
    if background is not None:
        passed = _under_analysis(
            context, background, judged(context.seen, context.state), steps.began(context.seen, context.state)
        )
        if passed.signal is not Signal.DONE:
            return passed
    if context.seen.policy_in_force is False or not target.is_approved(
        target.model_called(context.seen, context.canary.model)
    ):
        return _waits(Reason.PolicyNotInForce, "the admission policies to be in force")
    missing = _servers_missing(context, 100)
    if missing is not None:
        return missing
    return Finding(signal=Signal.READY) if context.canary.weight != 100 else _applied(context)


_STAGES: dict[Stage, Callable[[CanaryContext], Finding]] = {
    Stage.WEIGHING: _weighing,
    Stage.PAUSING: _pausing,
    Stage.ANALYSING: _analysing,
    Stage.PROMOTING: _promoting,
}
