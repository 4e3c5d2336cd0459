"""When a trigger starts a new TrainingRun: a clone of the one that spec.retraining names, within the limits.

    a trigger is ripe ──▶ nothing stands in the way ──▶ the start is written down ──▶ the run is made ──▶ written down

The limits are computed from status.retraining.starts, which only grows: neither deleting a run nor editing its labels
gives a start back, and one that is written down and not made yet is made in the next pass, under the same name. What
stands in the way is looked for with each ripe trigger in turn (`obstacles`); what the first of them meets is said in
RetrainingBlocked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime

from millrace import api
from millrace.api import conditions, keys
from millrace.api.base import Frozen, ObjectMeta, rfc3339
from millrace.api.conditions import Mark
from millrace.api.deployment import Retraining
from millrace.api.deployment_status import MOST_RUNS_PER_DAY, DeploymentStatus, RetrainingStatus, RunStart
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event, Manifest
from millrace.decide.status import later
from millrace.decide.training_run import is_over
from millrace.render import metadata, names

from . import messages, obstacles, triggers
from .finding import Finding
from .monitoring import Answer, DriftReport
from .observation import Observation
from .obstacles import Case, Obstacle
from .triggers import Fired, Situation

BLOCKED = "RetrainingBlocked"
CAUSE = f"{keys.GROUP}/cause"
SOON_SECONDS = 1.0
PASSING = frozenset({Reason.RolloutInProgress, Reason.ConcurrencyLimit, Reason.CoolingDown, Reason.DailyLimit})
"""What stands in the way of a run and goes away by itself."""


class Retrained(Frozen):
    """What is to be written about retraining, and the run to create."""

    status: RetrainingStatus | None = None
    mark: Mark | None = None
    concern: Obstacle | None = None
    """What in the spec cannot work, whether or not a trigger fires."""
    creates: tuple[Manifest, ...] = ()
    events: tuple[Event, ...] = ()
    until: datetime | None = None
    answer: Answer | None = None
    """What comes of a drift alarm."""
    waits_for_a_person: bool = False
    """Whether a trigger asks for a run that only a person can bring about."""


def retrain(seen: Observation, state: DeploymentStatus, drift: DriftReport, rolling: Finding | None) -> Retrained:
    """Start a run, or say why not; `rolling` is what a rollout waits for that is under way or held."""
    asked = seen.deployment.spec.retraining
    if asked is None:
        return Retrained()
    concern = obstacles.in_spec(seen, asked)
    if concern is not None:
        return _reported(seen, concern).model_copy(update={"concern": concern})
    if state.stable is None:
        return _reported(seen, _nothing_fires(()))
    situation = Situation(seen=seen, stable=state.stable, drift=drift)
    fired = triggers.judge(situation)
    ripe = [one for one in fired if one.ripe_at <= seen.now]
    if not ripe:
        return _reported(seen, _nothing_fires(fired))
    met = []
    for one in ripe:
        case = Case(situation=situation, asked=asked, fired=one, state=state, rolling=rolling)
        obstacle = obstacles.first(case)
        if obstacle is None:
            return _announced(case) if case.open is None else _made(case, case.open)
        met.append(obstacle)
    return _reported(seen, met[0])


def _nothing_fires(fired: Iterable[Fired]) -> Obstacle:
    """No trigger asks for a run, or not yet."""
    first = min(fired, key=lambda one: one.ripe_at, default=None)
    if first is None:
        return Obstacle(reason=Reason.WithinLimits, why="no trigger asks for a run", blocks=False)
    ripe = rfc3339(first.ripe_at)
    why = f"trigger {first.trigger} asks for a run at {ripe}, unless the {first.evidence} has ended by then"
    return Obstacle(reason=Reason.WithinLimits, why=why, blocks=False, until=first.ripe_at)


def _announced(case: Case) -> Retrained:
    """The start is written down first: what happens next, it counts."""
    seen, fired = case.situation.seen, case.fired
    owner = seen.deployment.metadata
    start = RunStart(
        name=_unused_name(case, owner),
        trigger=fired.trigger,
        cause=case.cause,
        time=seen.now,
        is_made=False,
    )
    known = seen.deployment.status.retraining or RetrainingStatus()
    starts = (*known.starts, start)[-MOST_RUNS_PER_DAY:]
    told = _reported(seen, Obstacle(reason=Reason.RunStarted, why=f"{start.name} is started", blocks=False))
    status = _counted(seen, case.asked, starts).model_copy(update={"state": "Running"})
    return told.model_copy(update={"status": status, "until": later(seen.now, SOON_SECONDS)})


def _unused_name(case: Case, owner: ObjectMeta) -> str:
    """The next name of this cause: of more starts than are remembered the oldest are not counted any more."""
    taken = {one.name for one in case.starts}
    answers = itertools.count(case.attempt)
    named = (names.clone(owner.name, owner.uid, case.fired.trigger, case.cause, answer) for answer in answers)
    return next(name for name in named if name not in taken)


def _made(case: Case, start: RunStart) -> Retrained:
    """The run itself. Made twice it is refused as a name that is taken, and written down all the same."""
    seen, run = case.situation.seen, case.situation.seen.run
    if run is None:
        return Retrained()
    why = f"trigger {start.trigger}, {case.fired.evidence}"
    known = seen.deployment.status.retraining or RetrainingStatus()
    made = start.model_copy(update={"is_made": True})
    starts = tuple(made if one == start else one for one in known.starts)
    told = _reported(seen, Obstacle(reason=Reason.RunStarted, why=f"{start.name} is started ({why})", blocks=False))
    text = f"TrainingRun {start.name} was started by {why}"
    event = messages.event(seen, Reason.RetrainingStarted, text, run=start.name)
    status = _counted(seen, case.asked, starts).model_copy(update={"state": "Running"})
    return told.model_copy(
        update={
            "status": status,
            "creates": (_clone(seen, run, start, why),),
            "events": (event.model_copy(update={"made": start.name}),),
        }
    )


def _clone(seen: Observation, run: api.TrainingRun, start: RunStart, why: str) -> Manifest:
    """No ownerReference: deleting a Deployment never deletes history. The labels are for people."""
    owner = seen.deployment.metadata
    labels = metadata.labels(deployment=owner.name, deployment_uid=owner.uid, trigger=start.trigger)
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "TrainingRun",
        "metadata": {
            "name": start.name,
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": {CAUSE: why},
        },
        "spec": run.spec.wire(),
    }


def _reported(seen: Observation, obstacle: Obstacle) -> Retrained:
    """What the status says while no run is started; the cooldown is told also while nobody asks for a run."""
    known = seen.deployment.status.retraining or RetrainingStatus()
    asked = seen.deployment.spec.retraining
    status = _counted(seen, asked, known.starts) if asked is not None else known
    answer = _answer(obstacle)
    cooling, rests = obstacle.reason in (Reason.CoolingDown, Reason.DailyLimit), _rests(seen, status, obstacle)
    if status.state != "Running":
        state = "Cooldown" if cooling or rests else "Blocked" if obstacle.blocks else "Idle"
        status = status.model_copy(update={"state": state})
        obstacle = rests or obstacle
    mark = messages.mark(
        seen, BLOCKED, obstacle.blocks, obstacle.reason, obstacle.why, obstacle.advice, **obstacle.fields
    )
    waits = obstacle.blocks and obstacle.reason not in PASSING
    return Retrained(
        status=status,
        mark=mark,
        events=_told(seen, mark, waits),
        until=obstacle.until,
        answer=answer,
        waits_for_a_person=waits,
    )


def _answer(obstacle: Obstacle) -> Answer:
    """What comes of a drift alarm: true also once the run was started, or while something holds it back."""
    if obstacle.blocks:
        text = f"No TrainingRun starts for it now: condition {BLOCKED} says why"
        return Answer(text=text, advice=obstacle.advice or obstacle.reason, fields=obstacle.fields)
    run = "TrainingRun " if obstacle.reason is Reason.RunStarted else ""
    return Answer(text=f"{run or obstacle.why[:1].upper()}{obstacle.why[0 if run else 1 :]}", advice=Reason.RunStarted)


def _told(seen: Observation, mark: Mark, waits: bool) -> tuple[Event, ...]:
    """The event of a run that is asked for and may not start: once for each reason."""
    known = conditions.find(seen.deployment.status.conditions, BLOCKED)
    is_known = known is not None and (known.status, known.reason) == (mark.status, mark.reason)
    return () if is_known or mark.status != "True" else (messages.event_of(mark, warns=waits),)


def _rests(seen: Observation, status: RetrainingStatus, obstacle: Obstacle) -> Obstacle | None:
    """The same, with until when no run starts whoever asks; None where nothing but a trigger is missing."""
    asked, end = seen.deployment.spec.retraining, status.next_allowed_time
    if asked is None or obstacle.blocks or end is None or end <= seen.now:
        return None
    cools = obstacles.cooled_down(status.starts, asked.limits) == end
    limit, reason = ("cooldown", Reason.CoolingDown) if cools else ("maxRunsPerDay", Reason.DailyLimit)
    why = f"{obstacle.why}; after {status.last_run} no run starts before {rfc3339(end)} (limits.{limit})"
    changes: dict[str, object] = {"why": why, "until": min(end, obstacle.until or end)}
    if obstacle.reason is Reason.WithinLimits:
        changes["reason"] = reason
    return obstacle.model_copy(update=changes)


def _counted(seen: Observation, asked: Retraining, starts: tuple[RunStart, ...]) -> RetrainingStatus:
    """The status that follows from the starts."""
    if not starts:
        return RetrainingStatus()
    last, running = starts[-1], any(not is_over(run) for run in seen.runs)
    return RetrainingStatus(
        state="Running" if running else "Idle",
        last_trigger=last.trigger,
        last_trigger_time=last.time,
        last_run=last.name,
        next_allowed_time=obstacles.free_again(starts, asked.limits, seen.now),
        runs_last24h=len(obstacles.today(starts, seen.now)),
        starts=starts,
    )
