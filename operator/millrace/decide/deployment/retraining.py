"""When drift starts a new TrainingRun: a clone of the one that spec.retraining names, within the limits.

What stands in the way is a list of checks; what the first of them finds is said in RetrainingBlocked. The limits are
computed from the runs labelled with the Deployment's UID, read live, so that neither a restart nor a lost status starts
one twice.
The clone's name is a hash of its cause: the same drift of the same model on the same data is answered once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import Field

from millrace import api
from millrace.api import conditions, keys
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.deployment import Retraining, Trigger
from millrace.api.deployment_status import DeploymentStatus, Quarantined, RetrainingStatus, RevisionStatus
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event, Manifest
from millrace.decide.status import later
from millrace.decide.training_run import is_over
from millrace.render import metadata, names

from . import messages, target
from .monitoring import DRIFT_DETECTED, DriftReport
from .observation import Observation

BLOCKED = "RetrainingBlocked"
CAUSE = f"{keys.GROUP}/cause"
DAY = timedelta(hours=24)
LOOK_AGAIN_SECONDS = 1.0


class Cause(Frozen):
    """A trigger that fires: everything a clone is made from."""

    seen: Observation
    asked: Retraining
    trigger: Trigger
    stable: RevisionStatus
    rolling: bool
    quarantined: tuple[Quarantined, ...] = ()

    @property
    def name(self) -> str:
        """The clone's name."""
        owner, dataset = self.seen.deployment.metadata, self.seen.dataset
        current = dataset.status.current if dataset is not None else None
        digest = current.digest if current is not None else ""
        return names.clone(owner.name, owner.uid, self.trigger.name, digest, self.stable.digest)


class Obstacle(Frozen):
    """Why no run starts; `until` is when time alone takes it away."""

    reason: Reason
    why: str
    blocks: bool = True
    until: datetime | None = None
    advice: Reason | None = None
    """Whose next command helps, if it is not the reason's own."""
    fields: dict[str, str] = Field(default_factory=dict)
    """What that command is to be filled in with."""


class Retrained(Frozen):
    """What is to be written about retraining, and the run to create."""

    status: RetrainingStatus | None = None
    mark: Mark | None = None
    creates: tuple[Manifest, ...] = ()
    events: tuple[Event, ...] = ()
    until: datetime | None = None


def retrain(seen: Observation, state: DeploymentStatus, drift: DriftReport, *, rolling: bool) -> Retrained:
    """Start a run, or say why not; `rolling` is whether a rollout is under way."""
    asked = seen.deployment.spec.retraining
    if asked is None:
        return Retrained()
    fires, waits_until = _firing(seen, asked, drift)
    if fires is None or state.stable is None:
        return _reported(
            seen, Obstacle(reason=Reason.WithinLimits, why="no trigger fires", blocks=False, until=waits_until)
        )
    cause = Cause(
        seen=seen, asked=asked, trigger=fires, stable=state.stable, rolling=rolling, quarantined=state.quarantined
    )
    for check in OBSTACLES:
        obstacle = check(cause)
        if obstacle is not None:
            return _reported(seen, obstacle)
    return _started(cause)


def _firing(seen: Observation, asked: Retraining, drift: DriftReport) -> tuple[Trigger | None, datetime | None]:
    """The first trigger whose drift has lasted long enough, else when the next one's will have."""
    if drift.mark is None or drift.mark.status != "True":
        return None, None
    known = conditions.find(seen.deployment.status.conditions, DRIFT_DETECTED)
    since = known.last_transition_time if known is not None and known.status == "True" else seen.now
    due = [(later(since, seconds(trigger.drift.for_)), trigger) for trigger in asked.triggers]
    ripe = next((trigger for moment, trigger in due if moment <= seen.now), None)
    return ripe, min(moment for moment, _ in due) if ripe is None else None


def _a_rollout_is_under_way(cause: Cause) -> Obstacle | None:
    if not cause.rolling:
        return None
    return Obstacle(reason=Reason.RolloutInProgress, why="no run starts while a rollout is under way")


def _the_run_is_missing(cause: Cause) -> Obstacle | None:
    if cause.seen.run is not None:
        return None
    why = f"TrainingRun {cause.asked.training_run_ref.name}, which is to be cloned, does not exist"
    return Obstacle(reason=Reason.TrainingRunMissing, why=why)


def _the_data_is_missing(cause: Cause) -> Obstacle | None:
    seen = cause.seen
    if seen.dataset is not None and seen.dataset.status.current is not None:
        return None
    name = seen.run.spec.dataset_ref.name if seen.run is not None else ""
    why = f"Dataset {name} has no version to train on"
    return Obstacle(reason=Reason.DatasetMissing, why=why, fields={"dataset": name})


def _the_data_is_old(cause: Cause) -> Obstacle | None:
    dataset, model = cause.seen.dataset, target.model_called(cause.seen, cause.stable.model)
    current = dataset.status.current if dataset is not None else None
    trained = model.spec.provenance.dataset if model is not None and model.spec.provenance is not None else None
    if dataset is None or current is None or trained is None or trained.name != dataset.metadata.name:
        return None
    made = model.metadata.creation_timestamp if model is not None else None
    # The versions of a Dataset that was deleted and made again start at 1.
    again = current.version <= trained.version and made is not None and current.created_time > made
    if current.digest != trained.digest and (current.version > trained.version or again):
        return None
    why = (
        f"drift was seen, but Dataset {dataset.metadata.name} has no version newer than {trained.version}, which "
        f"{cause.stable.model} was trained on; a run starts by itself when one is frozen"
    )
    return Obstacle(reason=Reason.NoNewData, why=why, fields={"dataset": dataset.metadata.name})


def _it_was_started(cause: Cause) -> Obstacle | None:
    run = next((run for run in cause.seen.runs if run.metadata.name == cause.name), None)
    if run is None:
        return _it_was_deleted(cause)
    if not is_over(run):
        return Obstacle(reason=Reason.RunStarted, why=f"{cause.name} is under way", blocks=False)
    if run.status.model_ref is not None:
        return _it_made(cause, run.status.model_ref.name)
    why = f"{cause.name} was started for this drift and this data and made no Model"
    return Obstacle(reason=Reason.AlreadyTried, why=why, fields={"run": cause.name})


def _it_made(cause: Cause, model: str) -> Obstacle:
    failed = next((one for one in cause.quarantined if one.model == model), None)
    if failed is None:
        why = f"{cause.name} made {model}, which is served once it is approved"
        return Obstacle(reason=Reason.RunStarted, why=why, blocks=False)
    why = f"{cause.name} made {model}, which is quarantined: {failed.reason}"
    fields = {"revision": failed.revision}
    return Obstacle(reason=Reason.AlreadyTried, why=why, advice=Reason.Quarantined, fields=fields)


def _it_was_deleted(cause: Cause) -> Obstacle | None:
    """A run that a person deleted is not started again: one cause, one run."""
    known = cause.seen.deployment.status.retraining
    if known is None or known.last_run != cause.name or not cause.seen.runs_are_live:
        return None
    dataset = cause.seen.run.spec.dataset_ref.name if cause.seen.run is not None else ""
    why = (
        f"{cause.name} was started for this drift and this data and has been deleted; the next version of Dataset "
        f"{dataset} starts another"
    )
    return Obstacle(reason=Reason.AlreadyTried, why=why, advice=Reason.NoNewData, fields={"dataset": dataset})


def _the_runs_are_unknown(cause: Cause) -> Obstacle | None:
    if cause.seen.runs_are_live:
        return None
    text = "the runs started so far are being looked up"
    return Obstacle(reason=Reason.RunsUnknown, why=text, until=later(cause.seen.now, LOOK_AGAIN_SECONDS))


def _enough_runs_are_under_way(cause: Cause) -> Obstacle | None:
    running, most = [run for run in cause.seen.runs if not is_over(run)], cause.asked.limits.max_concurrent
    if len(running) < most:
        return None
    text = f"{len(running)} runs of this Deployment are under way, {most} may be (limits.maxConcurrent)"
    return Obstacle(reason=Reason.ConcurrencyLimit, why=text)


def _it_cools_down(cause: Cause) -> Obstacle | None:
    known = cause.seen.deployment.status.retraining
    reported = [known.last_trigger_time] if known is not None and known.last_trigger_time is not None else []
    last = max([*_starts(cause.seen), *reported], default=None)
    until = later(last, seconds(cause.asked.limits.cooldown)) if last is not None else cause.seen.now
    if until <= cause.seen.now:
        return None
    text = f"the last run was started less than {cause.asked.limits.cooldown} ago (limits.cooldown)"
    return Obstacle(reason=Reason.CoolingDown, why=text, until=until)


def _the_day_is_full(cause: Cause) -> Obstacle | None:
    today, most = sorted(_today(cause.seen)), cause.asked.limits.max_runs_per_day
    if len(today) < most:
        return None
    text = f"{len(today)} runs were started within 24 hours, {most} may be (limits.maxRunsPerDay)"
    return Obstacle(reason=Reason.DailyLimit, why=text, until=today[len(today) - most] + DAY)


OBSTACLES: tuple[Callable[[Cause], Obstacle | None], ...] = (
    _a_rollout_is_under_way,
    _the_run_is_missing,
    _the_data_is_missing,
    _the_data_is_old,
    _it_was_started,
    _the_runs_are_unknown,
    _enough_runs_are_under_way,
    _it_cools_down,
    _the_day_is_full,
)


def _started(cause: Cause) -> Retrained:
    seen, run = cause.seen, cause.seen.run
    if run is None:
        return Retrained()
    why = f"{cause.trigger.name}: drift of {cause.stable.model}"
    labels = metadata.labels(
        deployment=seen.deployment.metadata.name,
        deployment_uid=seen.deployment.metadata.uid,
        trigger=cause.trigger.name,
    )
    clone = {
        "apiVersion": keys.API_VERSION,
        "kind": "TrainingRun",
        "metadata": {
            "name": cause.name,
            "namespace": seen.deployment.metadata.namespace,
            "labels": labels,
            "annotations": {CAUSE: why},
        },
        "spec": run.spec.wire(),
    }
    reported = _reported(seen, Obstacle(reason=Reason.RunStarted, why=f"{cause.name} is started ({why})", blocks=False))
    before = reported.status or RetrainingStatus()
    status = before.model_copy(
        update={
            "state": "Running",
            "last_trigger": cause.trigger.name,
            "last_trigger_time": seen.now,
            "last_run": cause.name,
            "next_allowed_time": later(seen.now, seconds(cause.asked.limits.cooldown)),
            "runs_last24h": before.runs_last24h + 1,
        }
    )
    return Retrained(
        status=status, mark=reported.mark, creates=(clone,), events=(_started_event(seen, cause.name, why),)
    )


def _reported(seen: Observation, obstacle: Obstacle) -> Retrained:
    """The status by the runs that exist; a start that no status reports yet is reported now."""
    known = seen.deployment.status.retraining or RetrainingStatus()
    last = max(
        seen.runs, key=lambda run: (run.metadata.creation_timestamp or seen.now, run.metadata.name), default=None
    )
    events: tuple[Event, ...] = ()
    if last is not None and _is_unreported(known, last):
        limits, began = seen.deployment.spec.retraining, last.metadata.creation_timestamp or seen.now
        cooldown = seconds(limits.limits.cooldown) if limits is not None else 0.0
        trigger = last.metadata.labels.get(keys.TRIGGER)
        known = known.model_copy(
            update={
                "last_trigger": trigger,
                "last_trigger_time": began,
                "last_run": last.metadata.name,
                "next_allowed_time": later(began, cooldown),
            }
        )
        events = (
            _started_event(seen, last.metadata.name, last.metadata.annotations.get(CAUSE, trigger or "a trigger")),
        )
    running = any(not is_over(run) for run in seen.runs)
    cooling = obstacle.reason in (Reason.CoolingDown, Reason.DailyLimit)
    state = "Running" if running else "Cooldown" if cooling else "Blocked" if obstacle.blocks else "Idle"
    status = known.model_copy(update={"state": state, "runs_last24h": len(_today(seen))})
    mark = messages.mark(
        seen, BLOCKED, obstacle.blocks, obstacle.reason, obstacle.why, obstacle.advice, **obstacle.fields
    )
    return Retrained(status=status, mark=mark, events=events, until=obstacle.until)


def _is_unreported(known: RetrainingStatus, last: api.TrainingRun) -> bool:
    """Whether the status does not know the newest run: the operator died between starting it and writing the status.

    An older one is seen when the newest was deleted or has not arrived in the cache; that is no news.
    """
    began, reported = last.metadata.creation_timestamp, known.last_trigger_time
    return known.last_run != last.metadata.name and (reported is None or (began is not None and began > reported))


def _started_event(seen: Observation, run: str, why: str) -> Event:
    event = messages.event(seen, Reason.RetrainingStarted, f"TrainingRun {run} was started: {why}", run=run)
    return event.model_copy(update={"made": run})


def _starts(seen: Observation) -> list[datetime]:
    return [run.metadata.creation_timestamp or seen.now for run in seen.runs]


def _today(seen: Observation) -> list[datetime]:
    return [start for start in _starts(seen) if start > seen.now - DAY]
