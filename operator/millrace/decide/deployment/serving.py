"""What is said of what serves: whether it answers, and which pods it lacks."""

from __future__ import annotations

from millrace.api.conditions import READY, STALLED
from millrace.api.deployment_status import DeploymentStatus
from millrace.api.reasons.deployment import DeploymentReason as Reason

from . import progress
from .finding import Finding
from .observation import Observation, Trouble
from .progress import AVAILABLE
from .statement import HELD_UP, Statement, missing


def ready(seen: Observation, status: DeploymentStatus, finding: Finding) -> Statement:
    """Whether what serves answers, and how much of it."""
    stable = status.stable
    if stable is None:
        return _first(status, finding)
    if seen.ready(stable.revision) < 1 and not _canary_carries_all(seen, status):
        trouble = seen.trouble(stable.revision)
        why = f"no server of {stable.model} is ready{progress.said(trouble)}"
        return Statement(kind=READY, holds=False, reason=progress.reason_of(trouble, Reason.ServersNotReady), why=why)
    if seen.routers_ready < 1:
        why = f"{stable.model} is ready but no router is{progress.said(seen.router_trouble)}"
        reason = progress.reason_of(seen.router_trouble, Reason.RoutersNotReady)
        advice = progress.advice_of_routers(reason)
        return Statement(kind=READY, holds=False, reason=reason, why=why, advice=advice)
    trouble, count = _what_is_short(seen, stable.revision), f"{seen.ready(stable.revision)} of {_wanted(seen)}"
    why = f"{stable.model} serves; {count} servers reproduced its golden set{progress.said(trouble)}"
    return Statement(kind=READY, holds=True, reason=Reason.Serving, why=why)


def _wanted(seen: Observation) -> int:
    return seen.deployment.spec.replicas


def _what_is_short(seen: Observation, revision: str) -> Trouble | None:
    """What keeps servers away, where there are fewer than were asked for."""
    return seen.trouble(revision) if seen.ready(revision) < _wanted(seen) else None


def _canary_carries_all(seen: Observation, status: DeploymentStatus) -> bool:
    canary = status.canary
    return canary is not None and canary.weight == 100 and seen.ready(canary.revision) >= 1


def _first(status: DeploymentStatus, finding: Finding) -> Statement:
    """Why nothing serves."""
    if status.canary is not None:
        why = f"{status.canary.model} is started; waiting for {finding.why or finding.waiting_for or 'its servers'}"
        reason = finding.reason if finding.reason in HELD_UP else Reason.Starting
        advice = finding.advice or (finding.reason if finding.reason in progress.AWAY else None)
        return Statement(kind=READY, holds=False, reason=reason, why=why, advice=advice)
    if finding.reason is not None:
        return missing(READY, finding, holds=False)
    return Statement(kind=READY, holds=False, reason=Reason.NoApprovedModel)


def available(seen: Observation, status: DeploymentStatus) -> Statement:
    """Whether all pods of what serves are there."""
    wanted, stable = _wanted(seen), status.stable
    if stable is None:
        advice = Reason.NoStable if status.canary is None else None
        why = "nothing serves yet"
        return Statement(kind=AVAILABLE, holds=False, reason=Reason.ServersNotReady, why=why, advice=advice)
    there = seen.ready(stable.revision)
    if progress.is_available(seen, status):
        why = f"{there} of {wanted} servers are ready"
        return Statement(kind=AVAILABLE, holds=True, reason=Reason.AllReplicasReady, why=why)
    if there >= wanted:
        reason = progress.reason_of(seen.router_trouble, Reason.RoutersNotReady)
        why = f"{there} of {wanted} servers are ready, but no router is{progress.said(seen.router_trouble)}"
        advice = progress.advice_of_routers(reason)
        return Statement(kind=AVAILABLE, holds=False, reason=reason, why=why, advice=advice)
    trouble = _what_is_short(seen, stable.revision)
    why = f"{there} of {wanted} servers of the stable revision are ready{progress.said(trouble)}"
    reason = progress.reason_of(trouble, Reason.ServersNotReady)
    return Statement(kind=AVAILABLE, holds=False, reason=reason, why=why)


def lacking(seen: Observation, status: DeploymentStatus, short: Statement) -> Statement:
    """Stable has had too few pods for longer than a rollout may wait for them."""
    model = status.stable.model if status.stable is not None else seen.deployment.metadata.name
    why = (
        f"{model} has lacked pods for longer than strategy.progressDeadline ({progress.allowed(seen)}), and goes on by "
        "itself when they are there"
    )
    advice = short.advice or short.reason
    return Statement(kind=STALLED, holds=True, reason=Reason.ProgressDeadlineExceeded, why=why, advice=advice)
