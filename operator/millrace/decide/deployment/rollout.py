"""The rollout of a new revision: everything that moves traffic is in `TRANSITIONS`, and nowhere else.

    idle --START--> canary at 0 % --SET_WEIGHT / pause / analysis--> ... --SET_FULL--> 100 % --PROMOTE--> stable

The status is the only memory: `stable`, `canary`, `retiring`, `rollout`, `quarantined`. In one pass the machine moves
until no check finds anything more to do (`advance`), so deciding again from the same observation moves nothing.

Weights of stable and canary add up to 100 whenever something serves. A canary gets weight only when enough of its
servers are ready and every router has a healthy one; a step counts once every router says that it applies the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from millrace.api.deployment_status import DeploymentStatus
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.contract.reasons import Reason as PodReason
from millrace.decide.status import later, named
from millrace.render import names
from millrace.render.router import Backend, RouterConfig

from . import actions, progress, quarantine, signature, steps, target, verdicts
from .finding import CanaryContext, Finding, Signal
from .moves import MOVES, Move, MoveContext, Transition
from .observation import Observation

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
    Signal.LOST: Move.FORGET,
    Signal.ABORTED: Move.ABORT,
    Signal.WITHDRAWN: Move.WITHDRAW,
    Signal.CONDEMNED: Move.ROLL_BACK,
    Signal.SUPERSEDED: Move.SUPERSEDE,
    Signal.BROKEN: Move.ROLL_BACK,
    Signal.FAILED: Move.ROLL_BACK,
    Signal.EXTENDED: Move.RESTART_STEP,
    Signal.RESUMED: Move.RESUME,
}
TRANSITIONS: dict[tuple[Stage, Signal], Move] = {
    (Stage.IDLE, Signal.LOST): Move.FORGET,
    (Stage.IDLE, Signal.NEW): Move.START,
    (Stage.IDLE, Signal.RENAMED): Move.RENAME,
    (Stage.WEIGHING, Signal.READY): Move.SET_WEIGHT,
    (Stage.WEIGHING, Signal.DONE): Move.NEXT_STEP,
    (Stage.PAUSING, Signal.DONE): Move.NEXT_STEP,
    (Stage.ANALYSING, Signal.DONE): Move.NEXT_STEP,
    (Stage.PROMOTING, Signal.READY): Move.SET_FULL,
    (Stage.PROMOTING, Signal.DONE): Move.PROMOTE,
    **{(stage, signal): move for stage in Stage if stage is not Stage.IDLE for signal, move in _ANY_STAGE.items()},
}
"""What is not in the table changes nothing."""


def advance(seen: Observation, state: DeploymentStatus) -> tuple[Transition, Finding]:
    """Move as far as this observation allows: the new status with its events, and why it goes no further."""
    transition = Transition(state=state)
    for _ in range(MOST_MOVES):
        finding = find(seen, transition.state)
        move = TRANSITIONS.get((stage_of(seen, transition.state), finding.signal))
        if move is None:
            break
        transition = MOVES[move](MoveContext(seen=seen, transition=transition, finding=finding))
    return progress.noted(seen, transition, finding), finding


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
    if state.stable is not None and seen.stable_is_gone:
        why = f"Model {state.stable.model} and its servers were deleted: nothing is sent to them any more"
        return Finding(signal=Signal.LOST, reason=Reason.StableGone, why=why)
    if state.canary is None:
        return _idle(seen, state)
    context = CanaryContext(seen=seen, state=state, canary=state.canary)
    for check in (*CHECKS, _is_unjudged):
        finding = check(context)
        if finding is not None:
            return finding
    found = _STAGES[stage_of(seen, state)](context)
    return progress.held(seen, state, progress.resumed(seen, state, state.canary, found))


def about_to_start(seen: Observation) -> str | None:
    """The digest of what a pass would begin to roll out, as far as this observation knows."""
    state, _ = quarantine.merged(seen, seen.deployment.status)
    wanted = target.choose(seen, state).bundle
    if state.canary is not None or wanted is None:
        return None
    return wanted.digest if state.stable is None or state.stable.revision != wanted.revision else None


def _idle(seen: Observation, state: DeploymentStatus) -> Finding:
    choice = target.choose(seen, state)
    wanted = choice.bundle
    if wanted is None:
        return progress.missing(seen, state, choice)
    if state.stable is not None and state.stable.revision == wanted.revision:
        return Finding(signal=Signal.SETTLED if state.stable.model == wanted.model else Signal.RENAMED)
    if seen.policy_in_force is False:
        return _waits(Reason.PolicyNotInForce, "the admission policies to be in force")
    differs = signature.change(seen, state, wanted)
    if differs:
        why = f"{wanted.model} is held: {differs}"
        fields = {"model": wanted.model}
        return Finding(signal=Signal.HELD, reason=Reason.SignatureChanged, why=why, fields=fields)
    busy = any(one.revision == wanted.revision for one in state.retiring) or len(state.retiring) >= MOST_RETIRING
    return progress.blocked_by_leaving(seen, state, wanted.model) if busy else Finding(signal=Signal.NEW)


def _waits(reason: Reason, what: str, **more: Any) -> Finding:
    return Finding(signal=Signal.WAITING, reason=reason, waiting_for=what, **more)


def _is_unjudged(context: CanaryContext) -> Finding | None:
    """Somebody decided about the Model since its approvals were last counted: nothing moves on an old count."""
    model = target.model_called(context.seen, context.canary.model)
    if model is None or target.is_judged(model):
        return None
    return _uncounted(context)


def _uncounted(context: CanaryContext) -> Finding:
    return _waits(Reason.ApprovalsNotCounted, f"{context.canary.model}'s approvals to be counted")


def _is_aborted(context: CanaryContext) -> Finding | None:
    request = actions.abort_of(context.seen, context.state, context.canary.revision)
    if request is None:
        return None
    return Finding(signal=Signal.ABORTED, reason=Reason.Aborted, why=request.reason or "a person asked for it")


def _is_withdrawn(context: CanaryContext) -> Finding | None:
    model = target.model_called(context.seen, context.canary.model)
    if target.may_stay(model):
        return None
    if model is None or model.metadata.deletion_timestamp is not None:
        why = f"Model {context.canary.model} was deleted"
        return Finding(signal=Signal.WITHDRAWN, reason=Reason.ModelDeleted, why=why)
    return Finding(
        signal=Signal.WITHDRAWN,
        reason=Reason.ApprovalRevoked,
        why=f"Model {context.canary.model} is not approved any more",
    )


def _is_condemned(context: CanaryContext) -> Finding | None:
    """Failed in another Deployment, or here in a pass that died right after it wrote so."""
    entry = target.quarantine_of(context.state, context.canary)
    if entry is None:
        return None
    if entry.deployment in (None, context.seen.deployment.metadata.name):
        name, _, why = entry.reason.partition(": ")
        reason = named(Reason, name) or Reason.Quarantined
        return Finding(signal=Signal.CONDEMNED, reason=reason, why=why or entry.reason)
    why = f"{entry.model} {quarantine.ended(entry)} in mdep/{entry.deployment}: {entry.reason}"
    return Finding(signal=Signal.CONDEMNED, reason=Reason.Quarantined, why=why)


def _is_superseded(context: CanaryContext) -> Finding | None:
    choice = target.choose(context.seen, context.state)
    if choice.bundle is None:
        return Finding(
            signal=Signal.SUPERSEDED, reason=Reason.Superseded, why="it is not what the spec asks for any more"
        )
    if choice.bundle.revision == context.canary.revision:
        return None
    if target.follows(context.seen, context.canary) and signature.change(context.seen, context.state, choice.bundle):
        return None  # what a person has to allow first takes no place: it is held once this canary has come to its end
    text = f"{choice.bundle.model} (revision {choice.bundle.revision}) is wanted now"
    return Finding(signal=Signal.SUPERSEDED, reason=Reason.Superseded, why=text)


def _is_broken(context: CanaryContext) -> Finding | None:
    trouble = context.seen.trouble(context.canary.revision)
    if trouble is None or trouble.reason not in HOPELESS:
        return None
    return Finding(signal=Signal.BROKEN, reason=Reason[trouble.reason], why=trouble.message or trouble.reason)


def _has_failed(context: CanaryContext) -> Finding | None:
    results = verdicts.judged(context.seen, context.state)
    failed = [result for result in results if result.phase == "Failed"]
    if not failed:
        return None
    why = "; ".join(f"{result.name}: {result.message}" for result in failed)
    return Finding(signal=Signal.FAILED, reason=Reason.AnalysisFailed, why=why, results=results)


def _is_extended(context: CanaryContext) -> Finding | None:
    if actions.retry_of(context.seen, context.state, context.canary.revision) is None:
        return None
    held = _STAGES[stage_of(context.seen, context.state)](context).signal is Signal.INCONCLUSIVE
    return Finding(signal=Signal.EXTENDED, reason=Reason.AnalysisExtended) if held else None


Check = Callable[[CanaryContext], Finding | None]
CHECKS: tuple[Check, ...] = (
    _is_aborted, _is_withdrawn, _is_condemned, _is_superseded, _is_broken, _has_failed, _is_extended,
)  # fmt: skip


def _pods_missing(context: CanaryContext, weight: int) -> Finding | None:
    return progress.pods_missing(context.seen, context.state, context.canary, weight)


def _weighing(context: CanaryContext) -> Finding:
    step = steps.current(context.seen, context.state)
    weight = step.set_weight if step is not None and step.set_weight is not None else context.canary.weight
    missing = _pods_missing(context, weight) if weight >= context.canary.weight else None
    if missing is None and weight == 100:
        missing = verdicts.before_everything(context)
    if missing is not None:
        return missing
    if context.canary.weight != weight:
        return Finding(signal=Signal.READY)
    return _applied(context)


def _applied(context: CanaryContext) -> Finding:
    if context.seen.reported(router_config(context.seen, context.state).generation):
        return Finding(signal=Signal.DONE)
    return progress.weights_missing(context.seen, context.state)


def _pausing(context: CanaryContext) -> Finding:
    step = steps.current(context.seen, context.state)
    duration = seconds(step.pause.duration) if step is not None and step.pause is not None else 0.0
    end = later(steps.began(context.seen, context.state), duration)
    if context.seen.now < end:
        text = f"the pause of {duration:g} s at {context.canary.weight} % to end"
        return _waits(Reason.CanaryPaused, text, until=end)
    missing = _pods_missing(context, context.canary.weight)
    return missing if missing is not None else Finding(signal=Signal.DONE)


def _promoting(context: CanaryContext) -> Finding:
    undecided = verdicts.before_promotion(context)
    if undecided is not None:
        return undecided
    if context.seen.policy_in_force is False:
        return _waits(Reason.PolicyNotInForce, "the admission policies to be in force")
    if not target.is_approved(target.model_called(context.seen, context.canary.model)):
        return _uncounted(context)
    missing = _pods_missing(context, 100)
    if missing is not None:
        return missing
    return Finding(signal=Signal.READY) if context.canary.weight != 100 else _applied(context)


_STAGES: dict[Stage, Callable[[CanaryContext], Finding]] = {
    Stage.WEIGHING: _weighing,
    Stage.PAUSING: _pausing,
    Stage.ANALYSING: verdicts.analysing,
    Stage.PROMOTING: _promoting,
}
