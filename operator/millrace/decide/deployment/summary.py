"""A Deployment's conditions, and the one sentence that sums them up.

Ready        the stable revision answers               Progressing   a canary is on its way; else how the last ended
Available    as many servers as wanted are ready       Reconciling   the operator works, or waits for what wakes it
Stalled      nothing will change until a person changes something
"""

from __future__ import annotations

from pydantic import Field

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import READY, RECONCILING, STALLED, Mark
from millrace.api.deployment_status import DeploymentStatus, Rollout
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event

from . import messages, target
from .finding import Finding, Signal
from .observation import Observation
from .rollout import HOPELESS

AVAILABLE = "Available"
PROGRESSING = "Progressing"


class Summary(Frozen):
    """The status of a Deployment as a whole."""

    phase: str
    message: str
    marks: tuple[Mark, ...]
    events: tuple[Event, ...] = ()


class Statement(Frozen):
    """A condition before its message is written; `why` is what there is to add to the reason."""

    kind: str
    holds: bool
    reason: Reason
    why: str = ""
    advice: Reason | None = None
    fields: dict[str, str] = Field(default_factory=dict)

    def mark(self, seen: Observation) -> Mark:
        """The condition."""
        return messages.mark(seen, self.kind, self.holds, self.reason, self.why, self.advice, **self.fields)

    def message(self, seen: Observation, why: str = "") -> str:
        """The condition's message, with `why` in place of its own."""
        return messages.message(seen, self.reason, why or self.why, self.advice, **self.fields)


def summarise(seen: Observation, status: DeploymentStatus, finding: Finding) -> Summary:
    """All conditions but those of monitoring and retraining, and events for what no move of a rollout reported."""
    ready = _ready(seen, status, finding)
    available = _available(seen, status)
    progressing = _progressing(status, finding)
    stalled = _stalled(status, finding)
    working = _reconciling(status, finding, progressing, available)
    marks = tuple(one.mark(seen) for one in (ready, available, progressing, stalled, working))
    return Summary(
        phase=_phase(status, ready, stalled),
        message=_message(seen, status, ready, progressing, stalled),
        marks=marks,
        events=_events(seen, ready, stalled),
    )


def _ready(seen: Observation, status: DeploymentStatus, finding: Finding) -> Statement:
    stable = status.stable
    if stable is None:
        return _first(status, finding)
    if seen.ready(stable.revision) < 1 and not _canary_carries_all(seen, status):
        why = f"no server of {stable.model} is ready{_trouble(seen, stable.revision)}"
        return Statement(kind=READY, holds=False, reason=Reason.ServersNotReady, why=why)
    if seen.routers_ready < 1:
        why = f"{stable.model} is ready but no router is"
        return Statement(kind=READY, holds=False, reason=Reason.RoutersNotReady, why=why)
    count = f"{seen.ready(stable.revision)} of {seen.deployment.spec.replicas}"
    why = f"{stable.model} serves; {count} servers reproduced its golden set"
    return Statement(kind=READY, holds=True, reason=Reason.Serving, why=why)


def _canary_carries_all(seen: Observation, status: DeploymentStatus) -> bool:
    canary = status.canary
    return canary is not None and canary.weight == 100 and seen.ready(canary.revision) >= 1


def _first(status: DeploymentStatus, finding: Finding) -> Statement:
    """Why nothing serves."""
    if status.canary is not None:
        why = f"{status.canary.model} is started; waiting for {finding.waiting_for or 'its servers'}"
        return Statement(kind=READY, holds=False, reason=Reason.Starting, why=why)
    if finding.reason is not None:
        return Statement(kind=READY, holds=False, reason=finding.reason, why=_why(finding), fields=finding.fields)
    return Statement(kind=READY, holds=False, reason=Reason.NoApprovedModel)


def _why(finding: Finding) -> str:
    return finding.why or f"waiting for {finding.waiting_for}"


def _trouble(seen: Observation, revision: str) -> str:
    server = seen.server(revision)
    trouble = server.trouble if server is not None else None
    return f": {trouble.reason}, {trouble.message}"[:400] if trouble is not None else ""


def _available(seen: Observation, status: DeploymentStatus) -> Statement:
    wanted = seen.deployment.spec.replicas
    ready = seen.ready(status.stable.revision) if status.stable is not None else 0
    if ready >= wanted and seen.routers_ready >= 1:
        why = f"{ready} of {wanted} servers are ready"
        return Statement(kind=AVAILABLE, holds=True, reason=Reason.AllReplicasReady, why=why)
    why = f"{ready} of {wanted} servers of the stable revision are ready"
    return Statement(kind=AVAILABLE, holds=False, reason=Reason.ServersNotReady, why=why)


def _progressing(status: DeploymentStatus, finding: Finding) -> Statement:
    memory, canary = status.rollout, status.canary
    if canary is not None:
        fields = {"revision": canary.revision}
        where = f"{canary.model} (revision {canary.revision}) at {canary.weight} %, {_step(memory)}"
        if finding.signal is Signal.INCONCLUSIVE:
            why = f"{where}{finding.why}; spec.actions.retry gives it more time, spec.actions.abort ends it"
            return Statement(kind=PROGRESSING, holds=False, reason=Reason.AnalysisInconclusive, why=why, fields=fields)
        why = f"{where}waits for {finding.waiting_for}"
        reason = finding.reason or Reason.CanaryProgressing
        return Statement(kind=PROGRESSING, holds=True, reason=reason, why=why, fields=fields)
    if finding.reason is not None:
        waits = finding.signal is Signal.WAITING
        return Statement(kind=PROGRESSING, holds=waits, reason=finding.reason, why=_why(finding), fields=finding.fields)
    if memory is None or memory.last_verdict is None:
        return Statement(kind=PROGRESSING, holds=False, reason=Reason.Settled, why="there is nothing to roll out")
    return _ended(status, memory, Reason[memory.last_verdict])


def _ended(status: DeploymentStatus, memory: Rollout, verdict: Reason) -> Statement:
    """How the last rollout ended."""
    revision, why = memory.last_verdict_revision or "", memory.last_verdict_reason or ""
    is_quarantined = any(one.revision == revision for one in status.quarantined)
    advice = Reason.Quarantined if is_quarantined else None
    fields = {"revision": revision}
    return Statement(kind=PROGRESSING, holds=False, reason=verdict, why=why, advice=advice, fields=fields)


def _step(memory: Rollout | None) -> str:
    if memory is None or not memory.steps:
        return ""
    index = memory.current_step_index or 0
    return f"step {index + 1} of {memory.steps}, " if index < memory.steps else "past its last step, "


def _stalled(status: DeploymentStatus, finding: Finding) -> Statement:
    fields = {"revision": status.canary.revision} if status.canary is not None else finding.fields
    stalls = finding.signal is Signal.INCONCLUSIVE or finding.reason is Reason.PolicyNotInForce
    if finding.reason is not None and (stalls or (status.stable is None and finding.reason is Reason.Quarantined)):
        return Statement(kind=STALLED, holds=True, reason=finding.reason, why=finding.why, fields=fields)
    return Statement(kind=STALLED, holds=False, reason=Reason.Settled, why="nothing waits for a person")


def _reconciling(status: DeploymentStatus, finding: Finding, progressing: Statement, available: Statement) -> Statement:
    if status.canary is not None and finding.signal is Signal.INCONCLUSIVE:
        return progressing.model_copy(update={"kind": RECONCILING})
    if progressing.holds:
        return progressing.model_copy(update={"kind": RECONCILING})
    if status.retiring:
        gone = ", ".join(one.model for one in status.retiring)
        why = f"the pods of {gone} wait until every caller has left them"
        return Statement(kind=RECONCILING, holds=True, reason=Reason.Retiring, why=why)
    if status.stable is None and finding.reason is Reason.NoApprovedModel:
        return progressing.model_copy(update={"kind": RECONCILING, "holds": True})
    if status.stable is not None and not available.holds:
        return available.model_copy(update={"kind": RECONCILING, "holds": True})
    return Statement(kind=RECONCILING, holds=False, reason=Reason.Settled)


def _phase(status: DeploymentStatus, ready: Statement, stalled: Statement) -> str:
    if stalled.holds:
        return "Stalled" if status.canary is None else "Held"
    if status.stable is None:
        return "Starting" if status.canary is not None else "Waiting"
    if status.canary is not None:
        return "Canary"
    return "Serving" if ready.holds else "Degraded"


def _message(
    seen: Observation, status: DeploymentStatus, ready: Statement, progressing: Statement, stalled: Statement
) -> str:
    """The one thing to know: what is wrong first, then what is under way, then what serves."""
    if not ready.holds:
        return ready.message(seen)
    if progressing.reason is Reason.AnalysisInconclusive or stalled.holds:
        return (progressing if status.canary is not None else stalled).message(seen)
    if status.canary is not None:
        rest = status.stable.model if status.stable else "nothing"
        return progressing.message(seen, f"{progressing.why}; {rest} serves the rest")
    if progressing.reason in (Reason.Quarantined, Reason.RolledBack, Reason.Aborted):
        return progressing.message(seen, f"{ready.why}. {progressing.why}")
    return _revoked(seen, status) or ready.message(seen)


def _revoked(seen: Observation, status: DeploymentStatus) -> str:
    """The message when the model that serves is not approved any more: serving does not stop by itself."""
    if status.stable is None:
        return ""
    model = target.model_called(seen, status.stable.model)
    if target.may_stay(model):
        return ""
    what = "is gone" if model is None else "is not approved any more"
    why = f"{status.stable.model} {what} and keeps serving until another version is approved"
    return messages.message(seen, Reason.ApprovalRevoked, why)


def _events(seen: Observation, ready: Statement, stalled: Statement) -> tuple[Event, ...]:
    """Verdicts that are no move: readiness lost or gained, a held analysis, nothing to serve."""
    before = seen.deployment.status.conditions
    events = []
    for one, warns in ((ready, not ready.holds), (stalled, stalled.holds)):
        known = conditions.find(before, one.kind)
        mark = one.mark(seen)
        changed = known is None or (known.status, known.reason) != (mark.status, mark.reason)
        is_reported_elsewhere = mark.reason in HOPELESS or one.reason is Reason.Starting
        if changed and not is_reported_elsewhere and (one is ready or one.holds):
            events.append(messages.event_of(mark, warns=warns))
    unique = {(event.reason, event.message): event for event in events}
    return tuple(unique.values())
