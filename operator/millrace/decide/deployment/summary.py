"""A Deployment's conditions, and the one sentence that sums them up.

Ready        the stable revision answers               Progressing   a canary is on its way; else how the last ended
Available    as many servers as wanted are ready       Reconciling   the operator works, or waits for what wakes it
Stalled      nothing will change until a person changes something
"""

from __future__ import annotations

from datetime import datetime

from millrace.api import conditions
from millrace.api.base import Frozen, rfc3339
from millrace.api.conditions import RECONCILING, STALLED, Mark
from millrace.api.deployment_status import DeploymentStatus, Retiring, RetrainingStatus, RevisionStatus, Rollout
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event
from millrace.decide.status import later
from millrace.decide.training_run import is_over

from . import actions, images, messages, monitoring, progress, quarantine, serving, steps, target
from .finding import Awaits, Finding, Signal
from .observation import Observation
from .obstacles import Obstacle
from .rollout import HOPELESS
from .statement import HELD_UP, Statement, missing

TOLD = frozenset({Reason.NoApprovedModel, Reason.Quarantined, Reason.RolledBack, Reason.Aborted, Reason.Retiring})
"""What is told although a model serves."""
PROGRESSING = "Progressing"
_RETURNED = {Reason.RolledBack: "was rolled back", Reason.Aborted: "was stopped", Reason.Superseded: "gave way"}
"""What became of a canary that was not promoted."""


class Summary(Frozen):
    """The status of a Deployment as a whole."""

    phase: str
    message: str
    marks: tuple[Mark, ...]
    events: tuple[Event, ...] = ()


def summarise(
    seen: Observation, status: DeploymentStatus, finding: Finding, concern: Obstacle | None = None
) -> Summary:
    """All conditions but those of monitoring and retraining, and events for what no move of a rollout reported.

    `concern` is what cannot work in spec.retraining as it is written.
    """
    ready = serving.ready(seen, status, finding)
    available = serving.available(seen, status)
    progressing = _progressing(seen, status, finding)
    stalled = _stalled(seen, status, finding, concern, available)
    working = _reconciling(seen, status, finding, progressing, available, stalled)
    marks = tuple(one.mark(seen) for one in (ready, available, progressing, stalled, working))
    return Summary(
        phase=_phase(status, ready, stalled),
        message=_message(seen, status, ready, available, progressing, stalled, concern),
        marks=marks,
        events=_events(seen, status, finding, ready, stalled, progressing, available),
    )


def _progressing(seen: Observation, status: DeploymentStatus, finding: Finding) -> Statement:
    if status.canary is not None:
        return _rolling(seen, status, status.canary, finding)
    if finding.reason is not None:
        return missing(PROGRESSING, finding, holds=finding.signal is Signal.WAITING and not _needs_policies(finding))
    memory, skipped = status.rollout, target.skipped(seen, status)
    if skipped is not None and (memory is None or skipped.fields["revision"] != memory.last_verdict_revision):
        why = f"{skipped.why}, so it is not rolled out"
        return Statement(kind=PROGRESSING, holds=False, reason=Reason.Quarantined, why=why, fields=skipped.fields)
    doubted = _failed_elsewhere(seen, status)
    if doubted is not None and (memory is None or memory.last_verdict_revision in (None, _revision(status))):
        return doubted
    if memory is None or memory.last_verdict is None:
        return Statement(kind=PROGRESSING, holds=False, reason=Reason.Settled, why="there is nothing to roll out")
    return _ended(status, memory, Reason[memory.last_verdict])


def _needs_policies(finding: Finding) -> bool:
    """Whether a person has to bring the admission policies back first."""
    return finding.reason is Reason.PolicyNotInForce


def _failed_elsewhere(seen: Observation, status: DeploymentStatus) -> Statement | None:
    """What serves here has failed in another Deployment since: it goes on, and that is told."""
    stable, here = status.stable, seen.deployment.metadata.name
    entries = (one for one in reversed(status.quarantined) if stable is not None and one.digest == stable.digest)
    entry = next((one for one in entries if one.deployment not in (None, here)), None)
    if stable is None or entry is None:
        return None
    ended = quarantine.ended(entry)
    why = f"{stable.model} goes on serving here, although it {ended} in mdep/{entry.deployment}: {entry.reason}"
    fields = actions.lifting(entry)
    return Statement(kind=PROGRESSING, holds=False, reason=Reason.Quarantined, why=why, fields=fields)


def _revision(status: DeploymentStatus) -> str | None:
    return status.stable.revision if status.stable is not None else None


def _rolling(seen: Observation, status: DeploymentStatus, canary: RevisionStatus, finding: Finding) -> Statement:
    """How far the canary is, and what it waits for."""
    fields = actions.retrying(canary, status.rollout)
    where = f"{canary.model} (revision {canary.revision}) at {canary.weight} %, {_step(status.rollout)}"
    if finding.signal is Signal.INCONCLUSIVE:
        why = f"{where}{finding.why}; spec.actions.retry gives it more time, spec.actions.abort ends it"
        reason = finding.reason or Reason.AnalysisInconclusive
        return Statement(kind=PROGRESSING, holds=False, reason=reason, why=why, fields=fields)
    return Statement(
        kind=PROGRESSING,
        holds=finding.signal not in (Signal.STUCK, Signal.HELD) and not _needs_policies(finding),
        reason=finding.reason or Reason.CanaryProgressing,
        why=f"{where}waits for {finding.why or finding.waiting_for}{_watched(seen, status, finding)}",
        advice=finding.advice,
        fields=fields,
    )


def _watched(seen: Observation, status: DeploymentStatus, finding: Finding) -> str:
    """How far the analysis is; the one in the background lets steps go by until a metric fails."""
    results = status.analysis if steps.canary_of(seen) is not None else ()
    if not results:
        return ""
    passed = sum(one.phase == "Successful" for one in results)
    told = f"; {passed} of {len(results)} metrics passed"
    if passed == len(results) or finding.reason in (
        Reason.CanaryAnalysing,
        Reason.NoTraffic,
        Reason.NothingToCompare,
    ):
        return told
    return f"{told}: steps go on until one fails, promotion waits for all"


def _ended(status: DeploymentStatus, memory: Rollout, verdict: Reason) -> Statement:
    """How the last rollout ended."""
    revision, why = memory.last_verdict_revision or "", memory.last_verdict_reason or ""
    entry = next((one for one in status.quarantined if one.revision == revision), None)
    advice = Reason.Quarantined if entry is not None else None
    fields = actions.lifting(entry) if entry is not None else {}
    if verdict in _RETURNED:
        whose = f"{entry.model} (revision {revision})" if entry is not None else f"revision {revision}"
        why = f"{whose} {_RETURNED[verdict]}: {why.removeprefix(f'{verdict.name}: ')}"
    return Statement(kind=PROGRESSING, holds=False, reason=verdict, why=why, advice=advice, fields=fields)


def _step(memory: Rollout | None) -> str:
    if memory is None or not memory.steps:
        return ""
    index = memory.current_step_index or 0
    return f"step {index + 1} of {memory.steps}, " if index < memory.steps else "past its last step, "


def _stalled(
    seen: Observation, status: DeploymentStatus, finding: Finding, concern: Obstacle | None, available: Statement
) -> Statement:
    fields = actions.retrying(status.canary, status.rollout) if status.canary is not None else finding.fields
    waits = finding.signal in (Signal.INCONCLUSIVE, Signal.STUCK, Signal.HELD)
    stalls = waits or _needs_policies(finding)
    if finding.reason is not None and (stalls or finding.awaits is Awaits.PERSON):
        stuck = status.canary.model if status.canary is not None and finding.signal is Signal.STUCK else ""
        why = f"{stuck} waits for {finding.why}" if stuck else finding.why
        return Statement(kind=STALLED, holds=True, reason=finding.reason, why=why, advice=finding.advice, fields=fields)
    if concern is not None and concern.reason is Reason.AnotherModel:
        return Statement(kind=STALLED, holds=True, reason=concern.reason, why=concern.why, fields=concern.fields)
    if status.canary is None and images.is_upgrading(status) and images.due(seen, status) is None:
        why = f"{images.how_far(seen, status)}; the rest goes on by itself, and those of before still answer"
        reason, advice = Reason.ProgressDeadlineExceeded, Reason.PodNotStarted
        return Statement(kind=STALLED, holds=True, reason=reason, why=why, advice=advice)
    late = progress.overdue(seen, status) if status.canary is None else None
    if late is not None:
        why, reason = progress.cannot_go(seen, late), Reason.ProgressDeadlineExceeded
        return Statement(kind=STALLED, holds=True, reason=reason, why=why, advice=Reason.RoutersNotReady)
    end = progress.short_until(seen, status)
    if end is not None and seen.now >= end:
        return serving.lacking(seen, status, available)
    return Statement(kind=STALLED, holds=False, reason=Reason.Settled, why="nothing waits for a person")


def _reconciling(
    seen: Observation,
    status: DeploymentStatus,
    finding: Finding,
    progressing: Statement,
    available: Statement,
    stalled: Statement,
) -> Statement:
    """What goes on, or will by itself; never where nothing will before a person acts: it is one or the other."""
    if stalled.holds:
        return stalled.model_copy(update={"kind": RECONCILING, "holds": False})
    if progressing.holds or finding.awaits is not None:
        return progressing.model_copy(update={"kind": RECONCILING, "holds": True})
    if images.is_upgrading(status):
        why = images.how_far(seen, status)
        return Statement(kind=RECONCILING, holds=True, reason=Reason.ServersUpgrading, why=why)
    if status.retiring:
        why = "; ".join(_leaving(one, seen.now) for one in status.retiring)
        return Statement(kind=RECONCILING, holds=True, reason=Reason.Retiring, why=why)
    if status.stable is not None and not available.holds:
        return available.model_copy(update={"kind": RECONCILING, "holds": True})
    return Statement(kind=RECONCILING, holds=False, reason=Reason.Settled)


def _leaving(one: Retiring, now: datetime) -> str:
    if one.drained_time is None:
        return f"the pods of {one.model} stay until no router sends them anything"
    goes = later(one.drained_time, progress.LINGER_SECONDS)
    if goes < now:
        return f"the pods of {one.model} go once every router has said again that it sends them nothing"
    return f"no router sends anything to {one.model} any more; its pods go at {rfc3339(goes)}"


def _phase(status: DeploymentStatus, ready: Statement, stalled: Statement) -> str:
    if stalled.holds:
        return "Stalled" if status.canary is None else "Held"
    if status.stable is None:
        return "Starting" if status.canary is not None else "Waiting"
    if status.canary is not None:
        return "Canary"
    return "Serving" if ready.holds else "Degraded"


def _message(
    seen: Observation,
    status: DeploymentStatus,
    ready: Statement,
    available: Statement,
    progressing: Statement,
    stalled: Statement,
    concern: Obstacle | None,
) -> str:
    """The one thing to know: what is wrong first, then what is under way, then what serves."""
    if not ready.holds:
        return ready.message(seen)
    if status.canary is not None:
        return progressing.message(seen, progressing.why if stalled.holds else f"{progressing.why}{_rest(status)}")
    revoked, told = _revoked(seen, status), _beside(progressing, stalled, concern)
    if told is not None:
        return told.message(seen, f"{revoked or ready.why}. {told.why or told.reason.sentence}")
    if revoked:
        return messages.message(seen, Reason.ApprovalRevoked, f"{revoked} until another version is approved")
    short = available.advice or available.reason if available.reason in HELD_UP else None
    return _drifting(seen, status, ready) or ready.model_copy(update={"advice": short}).message(seen)


def _drifting(seen: Observation, status: DeploymentStatus, ready: Statement) -> str:
    """What serves, and that it drifts or is trained anew; empty where neither is so."""
    drift = status.monitoring.drift if status.monitoring is not None else None
    retraining = status.retraining or RetrainingStatus()
    alarm = drift if drift is not None and drift.state == "Drifted" else None
    run = _running(seen, retraining)
    parts = [ready.why]
    if alarm is not None:
        parts.append(f"the rows served drift in {alarm.worst_feature} (condition DriftDetected)")
    if run is not None:
        parts.append(f"TrainingRun {run} trains a new version")
    if alarm is not None and alarm.revision is not None:
        advice = Reason.RunStarted if run is not None else monitoring.advice(seen)
        at = rfc3339(alarm.evaluated_time or seen.now)
        return messages.message(seen, Reason.DriftDetected, "; ".join(parts), advice, revision=alarm.revision, time=at)
    return messages.message(seen, Reason.RunStarted, "; ".join(parts)) if run is not None else ""


def _running(seen: Observation, retraining: RetrainingStatus) -> str | None:
    """The newest run that goes on; the last one while no watch has shown it yet."""
    if retraining.state != "Running":
        return None
    going = {run.metadata.name for run in seen.runs if not is_over(run)}
    return next((one.name for one in reversed(retraining.starts) if one.name in going), retraining.last_run)


def _rest(status: DeploymentStatus) -> str:
    """Who serves what the canary does not."""
    stable, canary = status.stable, status.canary
    if stable is None or canary is None:
        return ""
    return f"; {stable.model} serves the rest" if canary.weight < 100 else f"; then it replaces {stable.model}"


def _beside(progressing: Statement, stalled: Statement, concern: Obstacle | None) -> Statement | None:
    """What is to be told beside what serves."""
    if stalled.holds:
        return stalled
    if progressing.reason in TOLD or concern is None:
        return progressing if progressing.reason in TOLD else None
    return Statement(
        kind=STALLED, holds=False, reason=concern.reason, why=concern.why, advice=concern.advice, fields=concern.fields
    )


def _revoked(seen: Observation, status: DeploymentStatus) -> str:
    """What to say when the model that serves is not approved any more: serving does not stop by itself."""
    if status.stable is None:
        return ""
    model = target.model_called(seen, status.stable.model)
    if target.may_stay(model):
        return ""
    leaves = model is not None and model.metadata.deletion_timestamp is not None
    what = "is gone" if model is None else "is being deleted" if leaves else "is not approved any more"
    return f"{status.stable.model} {what} and keeps serving"


def _events(
    seen: Observation,
    status: DeploymentStatus,
    finding: Finding,
    ready: Statement,
    stalled: Statement,
    progressing: Statement,
    available: Statement,
) -> tuple[Event, ...]:
    """Verdicts that are no move: readiness lost or gained, a held analysis, nothing to serve, pods that do not come.

    That nothing serves before the first model is made is what every Deployment begins with: no warning.
    """
    before = seen.deployment.status.conditions
    is_on_its_way = status.stable is None and finding.awaits in (Awaits.MACHINE, Awaits.ANYBODY)
    told = [(ready, not ready.holds and not is_on_its_way), (stalled, stalled.holds)]
    if status.stable is not None and progressing.holds and progressing.reason in HELD_UP:
        told.append((progressing, True))
    short = [available] if ready.holds and available.reason in HELD_UP else []
    told += [(one, True) for one in short]
    events = []
    for one, warns in told:
        known = conditions.find(before, one.kind)
        mark = one.mark(seen)
        changed = known is None or (known.status, known.reason) != (mark.status, mark.reason)
        is_reported_elsewhere = mark.reason in HOPELESS or one.reason is Reason.Starting
        if changed and not is_reported_elsewhere and (one.holds or one in (ready, *short)):
            events.append(messages.event_of(mark, warns=warns))
    unique = {(event.reason, event.message): event for event in events}
    return tuple(unique.values())
