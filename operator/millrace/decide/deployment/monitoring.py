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
from millrace.api.deployment import Deployment, Drift
from millrace.api.deployment_status import DeploymentStatus, DriftStatus, RevisionStatus
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event
from millrace.decide.status import later
from millrace.render import names

from . import messages
from .drift import Verdict
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


def _fresh(seen: Observation, stable: RevisionStatus, basis: str) -> DriftStatus:
    drift = seen.scraped.drift
    matches = drift is not None and drift.revision == stable.revision and drift.basis in (None, basis)
    verdict = drift.verdict if drift is not None and matches else Verdict()
    known = verdict.samples > 0
    return DriftStatus(
        state=verdict.state,
        revision=stable.revision,
        score=_decimal(verdict.score) if known else None,
        psi=_decimal(verdict.psi) if known else None,
        worst_feature=(verdict.worst_feature[:128] or None) if known else None,
        samples=verdict.samples,
        evaluated_time=seen.now,
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
        (fresh.score, fresh.psi, fresh.worst_feature) != (known.score, known.psi, known.worst_feature)
        or fresh.samples >= GROWTH * known.samples
        or fresh.samples < known.samples
    )


def _mark(seen: Observation, drift: DriftStatus, stable: RevisionStatus, asked: Drift) -> Mark:
    if drift.state == "InsufficientData":
        text = f"{stable.model}: {drift.samples} rows served so far, {asked.min_samples} are needed for a verdict"
        return messages.mark(seen, DRIFT_DETECTED, None, Reason.InsufficientData, text)
    what = f"{stable.model}: feature {drift.worst_feature} differs by {drift.score} in its distribution function"
    if drift.state == "Drifted":
        text = f"{what}, more than {asked.margin:g} with a false-alarm rate of {asked.false_alarm_rate:g}"
        at = rfc3339(drift.evaluated_time or seen.now)
        return messages.mark(seen, DRIFT_DETECTED, True, Reason.DriftDetected, text, revision=stable.revision, time=at)
    return messages.mark(seen, DRIFT_DETECTED, False, Reason.NoDrift, f"{what} at most")


def _decimal(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "0.00"
