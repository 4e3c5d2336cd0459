"""What stands in the way of a run that a trigger asks for: a list of checks, of which the first finding counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from millrace import api
from millrace.api.base import Frozen, rfc3339
from millrace.api.deployment import Limits, Retraining
from millrace.api.deployment_status import DeploymentStatus, RunStart
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.status import later
from millrace.decide.training_run import is_no_verdict, is_over
from millrace.render import names

from . import actions, target
from .finding import Finding
from .observation import Observation
from .triggers import Fired, Situation

DAY = timedelta(hours=24)


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


class Case(Frozen):
    """One ripe trigger, and everything that decides whether its run starts."""

    situation: Situation
    asked: Retraining
    fired: Fired
    state: DeploymentStatus
    rolling: Finding | None
    """What a rollout that is under way, or held, waits for."""

    @property
    def cause(self) -> str:
        """The cause, as the status knows it."""
        return names.digest(*self.fired.cause)

    @property
    def starts(self) -> tuple[RunStart, ...]:
        """Every start there was, oldest first."""
        known = self.situation.seen.deployment.status.retraining
        return known.starts if known is not None else ()

    @property
    def attempt(self) -> int:
        """How often this cause was answered before."""
        return sum(one.cause == self.cause for one in self.starts)

    @property
    def open(self) -> RunStart | None:
        """The start for this cause that is written down and not made yet."""
        return next((one for one in self.starts if one.cause == self.cause and not one.is_made), None)

    def run(self, start: RunStart) -> api.TrainingRun | None:
        """The run of a start; None once somebody deleted it."""
        return next((run for run in self.situation.seen.runs if run.metadata.name == start.name), None)


def in_spec(seen: Observation, asked: Retraining) -> Obstacle | None:
    """What cannot work as it is written, whether or not a trigger fires."""
    name, selector = asked.training_run_ref.name, seen.deployment.spec.model_selector
    if seen.run is None:
        why = f"TrainingRun {name}, which is to be cloned, does not exist"
        return Obstacle(reason=Reason.TrainingRunMissing, why=why)
    made = seen.run.spec.output.model_name
    if selector is None or made == selector.model_name:
        return None
    why = (
        f"TrainingRun {name} makes versions of model {made}, and this Deployment follows model {selector.model_name}: "
        "what it made would never be served"
    )
    return Obstacle(reason=Reason.AnotherModel, why=why)


def first(case: Case) -> Obstacle | None:
    """What is in the way; None when the run may start, or when its start is written down and it may be made."""
    checks = CHECKS_OF_A_CAUSE if case.open is not None else (*CHECKS_OF_A_CAUSE, *LIMITS)
    return next((found for check in checks if (found := check(case)) is not None), None)


def today(starts: Iterable[RunStart], now: datetime) -> list[datetime]:
    """Starts within the last 24 hours."""
    return sorted(one.time for one in starts if one.time > now - DAY)


def cooled_down(starts: Iterable[RunStart], limits: Limits) -> datetime | None:
    """When limits.cooldown has passed since the last start; None without one."""
    last = max((one.time for one in starts), default=None)
    return later(last, seconds(limits.cooldown)) if last is not None else None


def free_again(starts: Sequence[RunStart], limits: Limits, now: datetime) -> datetime | None:
    """When neither cooldown nor maxRunsPerDay stands in the way of a run; None without a start."""
    ends = (cooled_down(starts, limits), _day_has_room(starts, limits, now))
    return max((end for end in ends if end is not None), default=None)


def _day_has_room(starts: Iterable[RunStart], limits: Limits, now: datetime) -> datetime | None:
    """When the last 24 hours have fewer starts than may be; None where they have."""
    counted, most = today(starts, now), limits.max_runs_per_day
    return counted[len(counted) - most] + DAY if len(counted) >= most else None


def _a_rollout_is_under_way(case: Case) -> Obstacle | None:
    found = case.rolling
    if found is None:
        return None
    if case.state.canary is None and found.reason in (Reason.SignatureChanged, Reason.PolicyNotInForce):
        what = found.why or Reason.PolicyNotInForce.sentence.rstrip(".")
        why = f"{what}; no run starts before that is settled"
        return Obstacle(reason=Reason.RolloutInProgress, why=why, advice=found.reason, fields=found.fields)
    return Obstacle(reason=Reason.RolloutInProgress, why="no run starts while a rollout is under way")


def _the_data_is_missing(case: Case) -> Obstacle | None:
    seen = case.situation.seen
    if seen.dataset is not None and seen.dataset.status.current is not None:
        return None
    name = seen.run.spec.dataset_ref.name if seen.run is not None else ""
    why = f"Dataset {name} has no version to train on"
    return Obstacle(reason=Reason.DatasetMissing, why=why, fields={"dataset": name})


def _the_data_is_old(case: Case) -> Obstacle | None:
    seen, stable = case.situation.seen, case.situation.stable
    dataset, model = seen.dataset, target.model_called(seen, stable.model)
    current = dataset.status.current if dataset is not None else None
    trained = model.spec.provenance.dataset if model is not None and model.spec.provenance is not None else None
    if not case.fired.needs_newer_data or dataset is None or current is None or trained is None:
        return None
    if trained.name != dataset.metadata.name:
        return None
    made = model.metadata.creation_timestamp if model is not None else None
    # The versions of a Dataset that was deleted and made again start at 1.
    again = current.version <= trained.version and made is not None and current.created_time > made
    if current.digest != trained.digest and (current.version > trained.version or again):
        return None
    name = dataset.metadata.name
    lacks = f"Dataset {name} has no version newer than {trained.version}, which {stable.model} was trained on"
    if current.version != trained.version and current.digest == trained.digest:
        lacks = f"version {current.version} of Dataset {name} has the same rows as {stable.model} was trained on"
    lacks = f"{case.fired.evidence} was seen, but {lacks}"
    why = f"{lacks}; a run starts by itself when other rows are frozen. {_read(dataset)}"
    return Obstacle(reason=Reason.NoNewData, why=why, fields={"dataset": name})


def _read(dataset: api.Dataset) -> str:
    """When other rows may be found: what was uploaded already needs nobody who uploads it."""
    known, refresh = dataset.status, dataset.spec.refresh
    if known.job_name is not None:
        return "Its source is being read now"
    if known.next_check_time is not None:
        every = f", and every {refresh.interval}" if refresh is not None else ""
        return f"Its source is read next at {rfc3339(known.next_check_time)}{every}"
    return "Its source is read again only when its spec changes, as it has no spec.refresh"


def _it_was_answered(case: Case) -> Obstacle | None:
    """One cause, one run; another one where the last failed of what says nothing about data and model."""
    answers = [one for one in case.starts if one.cause == case.cause and one.is_made]
    if not answers:
        return None
    last = answers[-1]
    run = case.run(last)
    if run is None:
        return _it_was_deleted(case, last)
    if not is_over(run):
        return Obstacle(reason=Reason.RunStarted, why=f"{last.name} is under way", blocks=False)
    if run.status.model_ref is not None:
        return _it_made(case, last, run.status.model_ref.name)
    if is_no_verdict(run):
        return None
    why = f"{last.name} was started for this and made no Model"
    return Obstacle(reason=Reason.AlreadyTried, why=why, fields={"run": last.name})


def _it_made(case: Case, start: RunStart, name: str) -> Obstacle:
    """What became of the Model that the cause led to."""
    if case.situation.stable.model == name:
        return Obstacle(reason=Reason.RunStarted, why=f"{start.name} made {name}, which serves", blocks=False)
    model = target.model_called(case.situation.seen, name)
    digest = model.spec.artifact.digest if model is not None else None
    failed = next((one for one in case.state.quarantined if one.model == name or one.digest == digest), None)
    if failed is not None:
        why = f"{start.name} made {name}, which is quarantined: {failed.reason}"
        fields = actions.lifting(failed)
        return Obstacle(reason=Reason.AlreadyTried, why=why, advice=Reason.Quarantined, fields=fields)
    if model is None:
        why = f"{start.name} made {name}, which is gone"
        return Obstacle(reason=Reason.AlreadyTried, why=why, fields={"run": start.name})
    if target.is_rejected(model):
        why = f"{start.name} made {name}, which was rejected"
        return Obstacle(reason=Reason.AlreadyTried, why=why, fields={"run": start.name})
    tried = case.state.canary is not None and case.state.canary.model == name
    rests = "waits to be rolled out" if target.is_approved(model) else "is served once it is approved"
    becomes = "is being rolled out" if tried else rests
    why = f"{start.name} was started for this drift and made {name}, which {becomes}"
    return Obstacle(reason=Reason.RunStarted, why=why, blocks=False)


def _it_was_deleted(case: Case, start: RunStart) -> Obstacle:
    """A run that a person deleted is not started again: one cause, one run."""
    run = case.situation.seen.run
    dataset = run.spec.dataset_ref.name if run is not None else ""
    why = (
        f"{start.name} was started for this and has been deleted; the next version of Dataset {dataset} starts another"
    )
    return Obstacle(reason=Reason.AlreadyTried, why=why, advice=Reason.NoNewData, fields={"dataset": dataset})


def _a_candidate_waits(case: Case) -> Obstacle | None:
    waiting = target.candidates(case.situation.seen, case.state)
    if not waiting:
        return None
    newest = waiting[-1].metadata.name
    why = f"{newest} waits for approval, and no run starts before it is approved or rejected"
    return Obstacle(reason=Reason.CandidateWaiting, why=why, fields={"model": newest})


def _enough_runs_are_under_way(case: Case) -> Obstacle | None:
    most = case.asked.limits.max_concurrent
    runs = [case.run(one) for one in case.starts]
    running = [run for run in runs if run is not None and not is_over(run)]
    if len(running) < most:
        return None
    text = f"{len(running)} runs of this Deployment are under way, {most} may be (limits.maxConcurrent)"
    return Obstacle(reason=Reason.ConcurrencyLimit, why=text)


def _it_cools_down(case: Case) -> Obstacle | None:
    until = cooled_down(case.starts, case.asked.limits)
    if until is None or until <= case.situation.seen.now:
        return None
    text = f"the last run was started less than {case.asked.limits.cooldown} ago (limits.cooldown)"
    return Obstacle(reason=Reason.CoolingDown, why=text, until=until)


def _the_day_is_full(case: Case) -> Obstacle | None:
    now, most = case.situation.seen.now, case.asked.limits.max_runs_per_day
    until = _day_has_room(case.starts, case.asked.limits, now)
    if until is None:
        return None
    count = len(today(case.starts, now))
    text = f"{count} runs were started within 24 hours, {most} may be (limits.maxRunsPerDay)"
    return Obstacle(reason=Reason.DailyLimit, why=text, until=until)


Check = Callable[[Case], Obstacle | None]
CHECKS_OF_A_CAUSE: tuple[Check, ...] = (
    # First: what was answered asks for nothing, so nothing holds it back, not even the rollout of that very answer.
    _it_was_answered,
    _a_rollout_is_under_way,
    _the_data_is_missing,
    _the_data_is_old,
)
LIMITS: tuple[Check, ...] = (_a_candidate_waits, _enough_runs_are_under_way, _it_cools_down, _the_day_is_full)
"""Of a start that is not written down yet."""
