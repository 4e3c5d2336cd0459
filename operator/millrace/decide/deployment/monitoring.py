"""What a Deployment's status says about drift. It changes seldom, and an alarm stays until somebody ends it.

    alarm --> another model serves · spec.actions.acknowledgeDrift names it · spec.monitoring.drift says something else

An idle Deployment must not be written. A verdict of the same kind is written at most once per interval, and only when
score, worst feature or the order of magnitude of the rows changed.
"""

from __future__ import annotations

import math
from datetime import datetime

from millrace.api.base import Frozen, rfc3339
from millrace.api.conditions import Mark
from millrace.api.deployment import Deployment, Drift, Trigger
from millrace.api.deployment_status import DeploymentStatus, DriftStatus, RevisionStatus
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event
from millrace.decide.status import later
from millrace.render import names

from . import messages, sequential, target
from .observation import Observation

DRIFT_DETECTED = "DriftDetected"
GROWTH = 1.25
"""Rows are written anew when there are that many times as many."""


class DriftReport(Frozen):
    """Drift as the status is to show it, its condition and its events."""

    status: DriftStatus | None = None
    mark: Mark | None = None
    events: tuple[Event, ...] = ()
    until: datetime | None = None
    """When a change that was not written may be."""


def report(seen: Observation, state: DeploymentStatus) -> DriftReport:
    """Drift of the stable revision; nothing when it is not monitored."""
    monitoring = seen.deployment.spec.monitoring
    if monitoring is None:
        return DriftReport()
    if state.stable is None:
        return DriftReport(mark=messages.mark(seen, DRIFT_DETECTED, None, Reason.NoStable))
    known = known_of(seen.deployment, state.stable)
    rule, acknowledged = rule_of(monitoring.drift), known.acknowledged_time if known is not None else None
    events: tuple[Event, ...] = ()
    if known is not None and _is_acknowledged(seen, known):
        events, acknowledged, known = (_acknowledged(seen, state.stable),), seen.now, None
    if known is not None and known.rule not in (None, rule):
        known = None
    fresh = _fresh(seen, state.stable, basis_of(rule, acknowledged))
    if fresh is None:  # nobody has asked the servers yet, as after a restart: what was known holds
        unasked = DriftStatus(state="InsufficientData", revision=state.stable.revision, evaluated_time=seen.now)
        chosen, until = known or unasked, None
    else:
        chosen, until = _chosen(known, fresh, seconds(monitoring.drift.interval), seen.now)
    chosen = chosen.model_copy(update={"rule": rule, "acknowledged_time": acknowledged})
    mark = _mark(seen, chosen, state.stable, monitoring.drift)
    if chosen.state == "Drifted" and (known is None or known.state != "Drifted"):
        events = (*events, messages.event_of(mark, warns=True))
    return DriftReport(status=chosen, mark=mark, events=events, until=until)


def known_of(deployment: Deployment, stable: RevisionStatus) -> DriftStatus | None:
    """What the status says of drift, if it is about this revision."""
    found = deployment.status.monitoring.drift if deployment.status.monitoring is not None else None
    return found if found is not None and found.revision == stable.revision else None


def rule_of(asked: Drift) -> str:
    """Hash of what a verdict depends on in the spec."""
    return names.digest(asked.false_alarm_rate, asked.margin, asked.min_samples, length=16)


def basis_of(rule: str, acknowledged: datetime | None) -> str:
    """Hash of what a verdict is by: a rule, and which rows count."""
    return names.digest(rule, rfc3339(acknowledged) if acknowledged is not None else None, length=16)


def _is_acknowledged(seen: Observation, known: DriftStatus) -> bool:
    """Whether the spec names this very alarm. Carried out, it names none any more: a request never counts twice."""
    actions = seen.deployment.spec.actions
    asked = actions.acknowledge_drift if actions is not None else None
    if asked is None or known.state != "Drifted" or known.evaluated_time is None:
        return False
    return (asked.revision, asked.evaluated_time) == (known.revision, rfc3339(known.evaluated_time))


def _acknowledged(seen: Observation, stable: RevisionStatus) -> Event:
    actions = seen.deployment.spec.actions
    asked = actions.acknowledge_drift if actions is not None else None
    why = f": {asked.reason}" if asked is not None and asked.reason else ""
    text = f"the drift alarm of {stable.model} was ended by a person, and rows are counted anew{why}"
    return messages.event(seen, Reason.DriftAcknowledged, text)


def _fresh(seen: Observation, stable: RevisionStatus, basis: str) -> DriftStatus | None:
    """What the servers say; None while none of them was asked. Of too few rows only their number says anything."""
    drift = seen.scraped.drift
    if drift is None or drift.revision != stable.revision or drift.basis not in (None, basis):
        return None
    verdict = drift.verdict
    found = DriftStatus(state=verdict.state, revision=stable.revision, samples=verdict.samples, evaluated_time=seen.now)
    if verdict.state == "InsufficientData":
        return found
    return found.model_copy(
        update={
            "score": _decimal(verdict.score, 3),
            "psi": _decimal(verdict.psi, 2),
            "worst_feature": verdict.worst_feature[:128] or None,
            "window": verdict.window or None,
        }
    )


def _chosen(
    known: DriftStatus | None, fresh: DriftStatus, interval: float, now: datetime
) -> tuple[DriftStatus, datetime | None]:
    """The status to write, and when to look again if a change is held back."""
    if known is None:
        return fresh, None
    if known.state == "Drifted" or (known.state == "None" and fresh.state == "InsufficientData"):
        return known, None  # an alarm stays; a restart, which empties the counts, changes no verdict
    if known.state != fresh.state:
        return fresh, None
    due = later(known.evaluated_time or now, interval)
    if not _is_news(known, fresh):
        return known, None
    return (fresh, None) if now >= due else (known, due)


def _is_news(known: DriftStatus, fresh: DriftStatus) -> bool:
    if fresh.samples == known.samples:
        return False
    return (
        _roughly(fresh) != _roughly(known) or fresh.samples >= GROWTH * known.samples or fresh.samples < known.samples
    )


def _roughly(drift: DriftStatus) -> tuple[str, str | None, str | None]:
    """What it says, as exactly as a change of it is worth a write."""
    return f"{float(drift.score or 0):.2f}", drift.psi, drift.worst_feature


def _mark(seen: Observation, drift: DriftStatus, stable: RevisionStatus, asked: Drift) -> Mark:
    if drift.state == "InsufficientData":
        return messages.mark(seen, DRIFT_DETECTED, None, Reason.InsufficientData, _too_few(drift, stable, asked))
    rows = f"the newest {drift.window:,} of {drift.samples:,} rows" if drift.window else f"{drift.samples:,} rows"
    score, trained = drift.score or "0", _trained_on(seen, stable)
    if drift.state == "None":
        text = (
            f"{stable.model}: no feature is shown to be more than {asked.margin:g} from {trained}; "
            f"the largest distance is {score}, of {drift.worst_feature} in {rows} served"
        )
        return messages.mark(seen, DRIFT_DETECTED, False, Reason.NoDrift, text)
    text = (
        f"{stable.model}: {drift.worst_feature} in {rows} served is distributed otherwise than in {trained}: "
        f"{score} apart on a scale from 0 to 1, where {asked.margin:g} is allowed (false-alarm rate "
        f"{asked.false_alarm_rate:g})"
    )
    at = rfc3339(drift.evaluated_time or seen.now)
    return messages.mark(
        seen,
        DRIFT_DETECTED,
        True,
        Reason.DriftDetected,
        f"{text}. {_what_follows(seen)}",
        advice(seen),
        revision=stable.revision,
        time=at,
    )


def _too_few(drift: DriftStatus, stable: RevisionStatus, asked: Drift) -> str:
    needed = max(asked.min_samples, sequential.MIN_ROWS)
    is_anew = drift.acknowledged_time is not None
    since = "counted since the last alarm was acknowledged" if is_anew else "those answered as a canary count"
    if not drift.samples:
        return f"{stable.model}: its rows are not counted yet; a verdict needs {needed:,} ({since})"
    return f"{stable.model} has answered {drift.samples:,} of the {needed:,} rows that a verdict needs ({since})"


def _trained_on(seen: Observation, stable: RevisionStatus) -> str:
    """What the rows served are compared with: the train rows, as the evaluator described them."""
    model = target.model_called(seen, stable.model)
    provenance = model.spec.provenance if model is not None else None
    data = provenance.dataset if provenance is not None else None
    return "the rows it was trained on" + (f" (version {data.version} of Dataset {data.name})" if data else "")


def advice(seen: Observation) -> Reason | None:
    """Whose next command helps with an alarm: where a run answers it, there is nothing to do but to watch that."""
    return Reason.RunStarted if _trigger(seen) is not None else None


def _trigger(seen: Observation) -> Trigger | None:
    """The one that drift sets off first."""
    retraining = seen.deployment.spec.retraining
    asked = retraining.triggers if retraining is not None else ()
    return min(asked, key=lambda one: seconds(one.drift.for_), default=None)


def _what_follows(seen: Observation) -> str:
    """What becomes of an alarm."""
    asked = _trigger(seen)
    stays = "The alarm stays until another model serves, or spec.actions.acknowledgeDrift ends it and counts rows anew"
    if asked is None:
        return f"{stays}; no run starts by itself, as spec.retraining has no trigger for drift"
    lasted = f"once it has lasted {asked.drift.for_}" if seconds(asked.drift.for_) else "at once"
    starts = f"Trigger {asked.name} starts a TrainingRun {lasted}"
    return f"{starts}; RetrainingBlocked says what holds that back. {stays}"


def _decimal(value: float, digits: int) -> str:
    return f"{value if math.isfinite(value) else 0.0:.{digits}f}"
