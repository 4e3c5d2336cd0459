"""The rollout of a new revision. Rule 1: everything that moves traffic is in this file and in `TRANSITIONS`.

    idle --START--> canary at 0 % --SET_WEIGHT / pause / analysis--> ... --SET_FULL--> 100 % --PROMOTE--> stable

The memory is the status: `stable`, `canary`, `retiring`, `rollout`, `quarantined`. In one pass the machine moves until
nothing more can be said from what was seen (`advance`), so deciding again from the same sight moves nothing.

Weights of stable and canary add up to 100 whenever something serves. A canary gets weight only when enough of its
servers are ready and every router has a healthy one; a step counts once every router says that it applies the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum

from millrace.api import deployment as spec
from millrace.api.base import Frozen
from millrace.api.deployment_status import AnalysisResult, DeploymentStatus, RevisionStatus, Rollout
from millrace.api.quantities import seconds
from millrace.contract.reasons import Reason
from millrace.render import names
from millrace.render.router import Backend, RouterConfig

from . import actions, analysis, steps, target
from .moves import MOVES, Move, Occasion, Turn
from .seen import Observation
from .status import later

READY_WITHIN_SECONDS = 600.0
"""A canary whose servers are not ready by then is given up, if there is a stable revision to go back to."""
MOST_RETIRING = 6
MOST_TURNS = 200

HOPELESS = frozenset({Reason.DIGEST_MISMATCH.value, Reason.MODEL_NOT_LOADABLE.value, Reason.GOLDEN_SET_MISMATCH.value})
"""Trying again cannot help: the bytes are what they are."""


class Stage(Enum):
    """Where a rollout stands, read from the memory and the spec."""

    IDLE = "no canary"
    WEIGHING = "at a setWeight step"
    PAUSING = "at a pause"
    ANALYSING = "at an analysis"
    PROMOTING = "after the last step"


class Signal(Enum):
    """What was seen. Of several the first in this order counts."""

    RELEASED = "a person lifts a quarantine"
    ABORTED = "a person stops this canary"
    WITHDRAWN = "the canary's Model is not approved any more"
    SUPERSEDED = "another revision is wanted"
    BROKEN = "the model cannot be served"
    FAILED = "an analysis failed"
    OVERDUE = "the servers did not get ready in time"
    EXTENDED = "a person gives a held analysis more time"
    NEW = "a revision is wanted that is not served"
    READY = "the next weight may be set"
    DONE = "the step is over"
    INCONCLUSIVE = "the analysis ran out of time"
    WAITING = "something is not there yet"
    SETTLED = "stable is what is wanted"


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


class Reading(Frozen):
    """A signal, why, and what happens next."""

    signal: Signal
    reason: str = ""
    message: str = ""
    waiting_for: str = ""
    until: datetime | None = None
    """When time alone may change the reading."""
    results: tuple[AnalysisResult, ...] = ()


class Sight(Frozen):
    """What a finding looks at: there is a canary."""

    seen: Observation
    state: DeploymentStatus
    canary: RevisionStatus


def advance(seen: Observation, state: DeploymentStatus) -> tuple[Turn, Reading]:
    """Move as far as this sight carries: the new memory, the events on the way, and why it goes no further."""
    turn = Turn(state=state)
    for _ in range(MOST_TURNS):
        reading = read(seen, turn.state)
        move = TRANSITIONS.get((stage_of(seen, turn.state), reading.signal))
        if move is None:
            return _noted(seen, turn), reading
        turn = MOVES[move](Occasion(seen=seen, turn=turn, reason=reading.reason, message=reading.message))
    return _noted(seen, turn), reading


def stage_of(seen: Observation, state: DeploymentStatus) -> Stage:
    """Where the memory says the rollout is, under the steps the spec has now."""
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


def read(seen: Observation, state: DeploymentStatus) -> Reading:
    """The first finding that holds."""
    lifted = actions.quarantine_lifted(seen, state)
    if lifted is not None:
        return Reading(signal=Signal.RELEASED, reason=lifted)
    if state.canary is None:
        return _idle(seen, state)
    at = Sight(seen=seen, state=state, canary=state.canary)
    for finding in FINDINGS:
        found = finding(at)
        if found is not None:
            return found
    return _STAGES[stage_of(seen, state)](at)


def _idle(seen: Observation, state: DeploymentStatus) -> Reading:
    choice = target.choose(seen, state)
    wanted = choice.bundle
    if wanted is None:
        return Reading(signal=Signal.SETTLED, reason=choice.reason, message=choice.message)
    if state.stable is not None and state.stable.revision == wanted.revision:
        return Reading(signal=Signal.SETTLED)
    if seen.policy_in_force is False:
        return Reading(
            signal=Signal.WAITING, reason="PolicyNotInForce", waiting_for="the admission policies to be in force"
        )
    busy = any(one.revision == wanted.revision for one in state.retiring) or len(state.retiring) >= MOST_RETIRING
    if busy:
        return Reading(
            signal=Signal.WAITING, reason="Retiring", waiting_for="earlier pods to go before this revision starts"
        )
    return Reading(signal=Signal.NEW)


def _is_aborted(at: Sight) -> Reading | None:
    request = actions.abort_of(at.seen, at.state, at.canary.revision)
    if request is None:
        return None
    return Reading(signal=Signal.ABORTED, reason="Aborted", message=request.reason or "a person asked for it")


def _is_withdrawn(at: Sight) -> Reading | None:
    model = target.model_called(at.seen, at.canary.model)
    if target.may_stay(model):
        return None
    if model is None or model.metadata.deletion_timestamp is not None:
        return Reading(signal=Signal.WITHDRAWN, reason="ModelDeleted", message=f"Model {at.canary.model} was deleted")
    text = f"Model {at.canary.model} is not approved any more"
    return Reading(signal=Signal.WITHDRAWN, reason="ApprovalRevoked", message=text)


def _is_superseded(at: Sight) -> Reading | None:
    choice = target.choose(at.seen, at.state)
    if choice.bundle is None:
        return Reading(
            signal=Signal.SUPERSEDED, reason="Superseded", message="it is not what the spec asks for any more"
        )
    if choice.bundle.revision == at.canary.revision:
        return None
    text = f"{choice.bundle.model} (revision {choice.bundle.revision}) is wanted now"
    return Reading(signal=Signal.SUPERSEDED, reason="Superseded", message=text)


def _is_broken(at: Sight) -> Reading | None:
    server = at.seen.server(at.canary.revision)
    trouble = server.trouble if server is not None else None
    if trouble is None or trouble.reason not in HOPELESS:
        return None
    return Reading(signal=Signal.BROKEN, reason=trouble.reason, message=trouble.message or trouble.reason)


def _has_failed(at: Sight) -> Reading | None:
    results = judged(at.seen, at.state)
    failed = [result for result in results if result.phase == "Failed"]
    if not failed:
        return None
    message = "; ".join(f"{result.name}: {result.message}" for result in failed)
    return Reading(signal=Signal.FAILED, reason="AnalysisFailed", message=message, results=results)


def _is_overdue(at: Sight) -> Reading | None:
    ready, wanted = at.seen.ready(at.canary.revision), steps.servers_wanted(at.seen, at.state)
    if at.state.stable is None or ready >= wanted or at.seen.now < ready_deadline(at.seen, at.state):
        return None
    trouble = _trouble(at.seen, at.canary.revision)
    text = f"{ready} of {wanted} servers were ready after {READY_WITHIN_SECONDS:g} s{trouble}"
    return Reading(signal=Signal.OVERDUE, reason="ProgressDeadlineExceeded", message=text)


def _is_extended(at: Sight) -> Reading | None:
    if actions.retry_of(at.seen, at.state, at.canary.revision) is None:
        return None
    held = _STAGES[stage_of(at.seen, at.state)](at).signal is Signal.INCONCLUSIVE
    return Reading(signal=Signal.EXTENDED, reason="AnalysisExtended") if held else None


def _is_unjudged(at: Sight) -> Reading | None:
    """Somebody decided about the Model since its approvals were last counted: nothing moves on an old count."""
    model = target.model_called(at.seen, at.canary.model)
    if model is None or target.is_judged(model):
        return None
    text = f"{at.canary.model}'s approvals to be counted"
    return Reading(signal=Signal.WAITING, reason="ApprovalsNotCounted", waiting_for=text)


Finding = Callable[[Sight], Reading | None]
FINDINGS: tuple[Finding, ...] = (
    _is_aborted, _is_withdrawn, _is_superseded, _is_broken, _has_failed, _is_overdue, _is_extended, _is_unjudged,
)  # fmt: skip


def ready_deadline(seen: Observation, state: DeploymentStatus) -> datetime:
    """When a canary that has too few ready servers is given up, counted from when that was first seen.

    Giving up quarantines, so only time that this process saw pass counts: a clock that is set an hour forward must not
    condemn a good model. After a restart or a step of the clock the verdict comes later, never wrongly.
    """
    since = (state.rollout.unready_since if state.rollout is not None else None) or seen.now
    return later(max(since, seen.steady_since or since), READY_WITHIN_SECONDS)


def _noted(seen: Observation, turn: Turn) -> Turn:
    """The turn with the moment since when the canary has too few ready servers."""
    rollout, canary = turn.state.rollout, turn.state.canary
    if rollout is None:
        return turn
    short = canary is not None and seen.ready(canary.revision) < steps.servers_wanted(seen, turn.state)
    since = (rollout.unready_since or seen.now) if short else None
    return (
        turn if since == rollout.unready_since else turn.to(rollout=rollout.model_copy(update={"unready_since": since}))
    )


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


def _servers_missing(at: Sight, weight: int) -> Reading | None:
    """What must be there before the canary may carry this weight."""
    until = ready_deadline(at.seen, at.state)
    wanted, ready = steps.need(at.seen, weight), at.seen.ready(at.canary.revision)
    if ready < wanted:
        text = f"{wanted} ready servers of {at.canary.model}, {ready} now{_trouble(at.seen, at.canary.revision)}"
        return Reading(signal=Signal.WAITING, reason="ServersNotReady", waiting_for=text, until=until)
    if not at.seen.healthy(at.canary.revision):
        text = f"every router to find a healthy server of {at.canary.model}"
        return Reading(signal=Signal.WAITING, reason="RoutersNotReady", waiting_for=text)
    return None


def _weighing(at: Sight) -> Reading:
    step = steps.current(at.seen, at.state)
    weight = step.set_weight if step is not None and step.set_weight is not None else at.canary.weight
    missing = _servers_missing(at, weight) if weight >= at.canary.weight else None
    if missing is not None:
        return missing
    if at.canary.weight != weight:
        return Reading(signal=Signal.READY)
    return _applied(at)


def _applied(at: Sight) -> Reading:
    if at.seen.reported(router_config(at.seen, at.state).generation):
        return Reading(signal=Signal.DONE)
    return Reading(signal=Signal.WAITING, reason="RoutersNotReady", waiting_for="every router to apply the new weights")


def _pausing(at: Sight) -> Reading:
    step = steps.current(at.seen, at.state)
    duration = seconds(step.pause.duration) if step is not None and step.pause is not None else 0.0
    end = later(steps.began(at.seen, at.state), duration)
    if at.seen.now < end:
        text = f"the pause of {duration:g} s at {at.canary.weight} % to end"
        return Reading(signal=Signal.WAITING, reason="CanaryPaused", waiting_for=text, until=end)
    missing = _servers_missing(at, at.canary.weight)
    return missing if missing is not None else Reading(signal=Signal.DONE)


def _analysing(at: Sight) -> Reading:
    step = steps.current(at.seen, at.state)
    if step is None or step.analysis is None:
        return Reading(signal=Signal.DONE)
    began = steps.began(at.seen, at.state)
    results = analysis.judge_all(step.analysis.metrics, at.seen.tally(at.canary.revision, step=began))
    return _under_analysis(at, step.analysis, results, at.seen.counted_since(at.canary.revision, began))


def _under_analysis(at: Sight, asked: spec.Analysis, results: tuple[AnalysisResult, ...], since: datetime) -> Reading:
    if analysis.together(results) == "Successful":
        return Reading(signal=Signal.DONE, results=results)
    end = later(since, seconds(asked.max_duration))
    undecided = ", ".join(result.name for result in results if result.phase != "Successful")
    if at.seen.now < end:
        text = f"the analysis of {undecided}, at most {asked.max_duration}"
        return Reading(signal=Signal.WAITING, reason="CanaryAnalysing", waiting_for=text, until=end, results=results)
    return Reading(
        signal=Signal.INCONCLUSIVE,
        reason="AnalysisInconclusive",
        message=f"no verdict on {undecided} within {asked.max_duration}; the canary stays where it is",
        waiting_for="a person: retry or abort",
        results=analysis.inconclusive(results),
    )


def _promoting(at: Sight) -> Reading:
    strategy = at.seen.deployment.spec.strategy
    background = strategy.canary.analysis if strategy is not None and at.state.stable is not None else None
    if background is not None:
        passed = _under_analysis(at, background, judged(at.seen, at.state), steps.began(at.seen, at.state))
        if passed.signal is not Signal.DONE:
            return passed
    if at.seen.policy_in_force is False or not target.is_approved(target.model_called(at.seen, at.canary.model)):
        return Reading(
            signal=Signal.WAITING, reason="PolicyNotInForce", waiting_for="the admission policies to be in force"
        )
    missing = _servers_missing(at, 100)
    if missing is not None:
        return missing
    return Reading(signal=Signal.READY) if at.canary.weight != 100 else _applied(at)


_STAGES: dict[Stage, Callable[[Sight], Reading]] = {
    Stage.WEIGHING: _weighing,
    Stage.PAUSING: _pausing,
    Stage.ANALYSING: _analysing,
    Stage.PROMOTING: _promoting,
}
