"""What a Deployment's status says about drift. It changes seldom, and an alarm stays until somebody ends it.

    alarm --> another model serves · spec.actions.acknowledgeDrift names it · spec.monitoring.drift says something else

An idle Deployment must not be written. A verdict of the same kind is written at most once per interval, and only when
score, worst feature or the order of magnitude of the rows changed.
"""

from __future__ import annotations

import math
from datetime import datetime

from pydantic import Field

from millrace.api.base import Frozen, rfc3339
from millrace.api.conditions import Mark
from millrace.api.deployment import Deployment, Drift
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
    is_new_alarm: bool = False
    """Whether an alarm is raised in this pass: what comes of it is not known yet, so its event is not among these."""


class Answer(Frozen):
    """What retraining makes of an alarm, and whose next command helps."""

    text: str
    advice: Reason
    fields: dict[str, str] = Field(default_factory=dict)
    """What that command is to be filled in with."""


def report(seen: Observation, state: DeploymentStatus) -> DriftReport:
    """Drift of the stable revision; nothing when it is not monitored. What comes of an alarm is added by `answered`."""
    monitoring = seen.deployment.spec.monitoring
    if monitoring is None:
        return DriftReport()
    if state.stable is None:
        return DriftReport(mark=messages.mark(seen, DRIFT_DETECTED, None, Reason.NothingServes))
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
    is_new = chosen.state == "Drifted" and (known is None or known.state != "Drifted")
    mark = _mark(seen, chosen, state.stable, monitoring.drift)
    return DriftReport(status=chosen, mark=mark, events=events, until=until, is_new_alarm=is_new)


def answered(
    seen: Observation, stable: RevisionStatus | None, report: DriftReport, answer: Answer | None
) -> DriftReport:
    """The same, its alarm with what comes of it, and the event of a new one. `answer` is None without retraining."""
    drift, watched = report.status, seen.deployment.spec.monitoring
    if drift is None or stable is None or watched is None or drift.state != "Drifted":
        return report
    mark = _mark(seen, drift, stable, watched.drift, answer)
    events = (messages.event_of(mark, warns=True),) if report.is_new_alarm else ()
    return report.model_copy(update={"mark": mark, "events": (*report.events, *events)})


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


def _mark(
    seen: Observation, drift: DriftStatus, stable: RevisionStatus, asked: Drift, answer: Answer | None = None
) -> Mark:
    if drift.state == "InsufficientData":
        return messages.mark(seen, DRIFT_DETECTED, None, Reason.InsufficientData, _too_few(drift, stable, asked))
    if drift.state == "None":
        return messages.mark(seen, DRIFT_DETECTED, False, Reason.NoDrift, _calm(seen, drift, stable, asked))
    at = rfc3339(drift.evaluated_time or seen.now)
    advice, fields = alarm_command(drift, answer)
    text = (
        f"{stable.model}: as of {at}, {drift.worst_feature} in {_rows(drift, asked)} is distributed otherwise than in "
        f"{_trained_on(seen, stable)}: the distance is {_distance(drift)}, where {asked.margin:g} is allowed. A false "
        f"alarm in all the time that a model serves has a probability of {asked.false_alarm_rate:g} at most. "
        f"{_what_follows(stable, at, answer)}"
    )
    return messages.mark(seen, DRIFT_DETECTED, True, Reason.DriftDetected, text, advice, **fields)


def _calm(seen: Observation, drift: DriftStatus, stable: RevisionStatus, asked: Drift) -> str:
    """No drift is shown: a distance over the margin is told with why it shows nothing."""
    far = f"the largest distance from {_trained_on(seen, stable)} is {_distance(drift)}"
    where = f"of {drift.worst_feature} in {_rows(drift, asked)}"
    if float(drift.score or 0) <= asked.margin:
        return f"{stable.model}: no drift is shown; {far}, {where}, and {asked.margin:g} is allowed"
    count = drift.window or drift.samples
    noise = f"{asked.margin:g} is allowed, and what is above it is within sampling noise for {count:,} rows"
    return f"{stable.model}: no drift is shown; {far}, {where}: {noise}"


def _rows(drift: DriftStatus, asked: Drift) -> str:
    """Which rows a score is of. A change is looked for in the newest ones too, once there are enough in all."""
    if not drift.window:
        return f"{drift.samples:,} rows served"
    if drift.window >= drift.samples:
        return f"all {drift.samples:,} rows served"
    counts = " (minSamples counts all of them)" if drift.window < asked.min_samples else ""
    return f"the newest {drift.window:,} of {drift.samples:,} rows served{counts}"


def _distance(drift: DriftStatus) -> str:
    return f"{drift.score or '0'} (Kolmogorov-Smirnov, from 0 to 1)"


def _too_few(drift: DriftStatus, stable: RevisionStatus, asked: Drift) -> str:
    needed = max(asked.min_samples, sequential.MIN_ROWS)
    is_anew = drift.acknowledged_time is not None
    anew, since = "counted since the last alarm was acknowledged", "including those answered as a canary"
    which = anew if is_anew else since
    if not drift.samples:
        return f"{stable.model}: its rows are not counted yet; the first verdict needs {needed:,} in all, {which}"
    return (
        f"{stable.model} has answered {drift.samples:,} of the {needed:,} rows that the first verdict needs in all, "
        f"{which}"
    )


def _trained_on(seen: Observation, stable: RevisionStatus) -> str:
    """What the rows served are compared with: the train rows, as the evaluator described them."""
    model = target.model_called(seen, stable.model)
    provenance = model.spec.provenance if model is not None else None
    data = provenance.dataset if provenance is not None else None
    return "the rows it was trained on" + (f" (version {data.version} of Dataset {data.name})" if data else "")


def alarm_command(drift: DriftStatus, answer: Answer | None) -> tuple[Reason | None, dict[str, str]]:
    """Whose next command helps with an alarm, and what fills it in: where retraining answers it, that of retraining."""
    if answer is not None:
        return answer.advice, answer.fields
    at = rfc3339(drift.evaluated_time) if drift.evaluated_time is not None else ""
    return None, {"revision": drift.revision or "", "time": at}


def _what_follows(stable: RevisionStatus, at: str, answer: Answer | None) -> str:
    """What becomes of an alarm, which is not evaluated again: its numbers are those of when it was raised."""
    stays = "The alarm is not evaluated again: it stays until another model serves, or"
    if answer is None:
        none = "no run starts by itself, as spec.retraining has no trigger for drift"
        return f"{stays} the next command ends it and counts rows anew; {none}"
    request = f"spec.actions.acknowledgeDrift (revision {stable.revision}, evaluatedTime {at})"
    return f"{answer.text}. {stays} {request} ends it and counts rows anew"


def _decimal(value: float, digits: int) -> str:
    return f"{value if math.isfinite(value) else 0.0:.{digits}f}"
