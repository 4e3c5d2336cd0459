"""A Deployment's conditions, and the one sentence that sums them up.

Ready        the stable revision answers               Progressing   a canary is on its way; else how the last ended
Available    as many servers as wanted are ready       Reconciling   the operator works, or waits for what wakes it
Stalled      nothing will change until a person changes something
"""

from __future__ import annotations

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import READY, RECONCILING, STALLED, Mark
from millrace.api.deployment_status import DeploymentStatus, Rollout
from millrace.decide.plan import Event

from . import target
from .observation import Observation
from .rollout import HOPELESS, Finding, Signal

AVAILABLE = "Available"
PROGRESSING = "Progressing"
LONGEST = 1000


class Summary(Frozen):
    """The status of a Deployment as a whole."""

    phase: str
    message: str
    marks: tuple[Mark, ...]
    events: tuple[Event, ...] = ()


def summarise(seen: Observation, status: DeploymentStatus, finding: Finding) -> Summary:
    """All conditions but those of monitoring and retraining, and events for what no move of a rollout reported."""
    ready = _ready(seen, status, finding)
    available = _available(seen, status)
    progressing = _progressing(seen, status, finding)
    stalled = _stalled(status, finding)
    working = _reconciling(status, finding, progressing, available)
    phase = _phase(status, ready, stalled)
    message = _message(seen, status, ready, progressing, stalled)
    marks = (ready, available, progressing, stalled, working)
    return Summary(phase=phase, message=message[:LONGEST], marks=marks, events=_events(seen, ready, stalled))


def _mark(kind: str, holds: bool, reason: str, message: str) -> Mark:
    return Mark(type=kind, status="True" if holds else "False", reason=reason, message=message[:LONGEST])


def _pods(seen: Observation, component: str) -> str:
    metadata = seen.deployment.metadata
    labels = f"millrace.dev/deployment={metadata.name},millrace.dev/component={component}"
    return f"kubectl -n {metadata.namespace} describe pods -l {labels}"


def _ready(seen: Observation, status: DeploymentStatus, finding: Finding) -> Mark:
    if status.stable is None:
        return _first(status, finding)
    if seen.ready(status.stable.revision) < 1 and not _canary_carries_all(seen, status):
        text = f"no server of {status.stable.model} is ready{_why(seen, status.stable.revision)}. See: "
        return _mark(READY, False, "ServersNotReady", text + _pods(seen, "server"))
    if seen.routers_ready < 1:
        text = f"{status.stable.model} is ready but no router is. See: "
        return _mark(READY, False, "RoutersNotReady", text + _pods(seen, "router"))
    count = f"{seen.ready(status.stable.revision)} of {seen.deployment.spec.replicas}"
    return _mark(READY, True, "Serving", f"{status.stable.model} serves; {count} servers reproduced its golden set")


def _canary_carries_all(seen: Observation, status: DeploymentStatus) -> bool:
    canary = status.canary
    return canary is not None and canary.weight == 100 and seen.ready(canary.revision) >= 1


def _first(status: DeploymentStatus, finding: Finding) -> Mark:
    """Why nothing serves."""
    if status.canary is not None:
        text = f"{status.canary.model} is started; waiting for {finding.waiting_for or 'its servers'}"
        return _mark(READY, False, "Starting", text)
    if finding.reason:
        return _mark(READY, False, finding.reason, finding.message or f"waiting for {finding.waiting_for}")
    return _mark(READY, False, "NoApprovedModel", "no version of the model is approved")


def _why(seen: Observation, revision: str) -> str:
    server = seen.server(revision)
    trouble = server.trouble if server is not None else None
    return f": {trouble.reason}, {trouble.message}"[:400] if trouble is not None else ""


def _available(seen: Observation, status: DeploymentStatus) -> Mark:
    wanted = seen.deployment.spec.replicas
    ready = seen.ready(status.stable.revision) if status.stable is not None else 0
    if ready >= wanted and seen.routers_ready >= 1:
        return _mark(AVAILABLE, True, "AllReplicasReady", f"{ready} of {wanted} servers are ready")
    return _mark(AVAILABLE, False, "ServersNotReady", f"{ready} of {wanted} servers of the stable revision are ready")


def _progressing(seen: Observation, status: DeploymentStatus, finding: Finding) -> Mark:
    memory, canary = status.rollout, status.canary
    if canary is not None:
        where = f"{canary.model} (revision {canary.revision}) at {canary.weight} %, {_step(memory)}waits for "
        where += finding.waiting_for
        if finding.signal is Signal.INCONCLUSIVE:
            text = f"{where}: {finding.message}. To give it more time: {_command(seen, 'retry', canary.revision)}"
            return _mark(PROGRESSING, False, "AnalysisInconclusive", f"{text}; to stop it, say abort instead of retry")
        return _mark(PROGRESSING, True, finding.reason or "CanaryProgressing", where)
    if finding.signal is Signal.WAITING:
        return _mark(PROGRESSING, True, finding.reason, f"waiting for {finding.waiting_for}")
    if finding.reason:
        return _mark(PROGRESSING, False, finding.reason, finding.message)
    verdict = memory.last_verdict if memory is not None else None
    why = memory.last_verdict_reason if memory is not None else None
    return _mark(PROGRESSING, False, verdict or "Settled", why or "there is nothing to roll out")


def _step(memory: Rollout | None) -> str:
    if memory is None or not memory.steps:
        return ""
    index = memory.current_step_index or 0
    return f"step {index + 1} of {memory.steps}, " if index < memory.steps else "past its last step, "


def _stalled(status: DeploymentStatus, finding: Finding) -> Mark:
    if finding.signal is Signal.INCONCLUSIVE:
        return _mark(STALLED, True, "AnalysisInconclusive", finding.message)
    if finding.reason == "PolicyNotInForce":
        text = "the admission policies that guard approvals are not in force, so nothing is promoted. See: "
        return _mark(STALLED, True, "PolicyNotInForce", f"{text}kubectl get validatingadmissionpolicies")
    if status.stable is None and finding.reason == "Quarantined":
        return _mark(STALLED, True, "Quarantined", finding.message)
    return _mark(STALLED, False, "Settled", "")


def _reconciling(status: DeploymentStatus, finding: Finding, progressing: Mark, available: Mark) -> Mark:
    if status.canary is not None and finding.signal is Signal.INCONCLUSIVE:
        return _mark(RECONCILING, False, "AnalysisInconclusive", "")
    if progressing.status == "True":
        return _mark(RECONCILING, True, progressing.reason, progressing.message)
    if status.retiring:
        gone = ", ".join(one.model for one in status.retiring)
        return _mark(RECONCILING, True, "Retiring", f"the pods of {gone} wait until every caller has left them")
    if status.stable is None and finding.reason == "NoApprovedModel":
        return _mark(RECONCILING, True, finding.reason, finding.message)
    if status.stable is not None and available.status == "False":
        return _mark(RECONCILING, True, available.reason, available.message)
    return _mark(RECONCILING, False, "Settled", "")


def _phase(status: DeploymentStatus, ready: Mark, stalled: Mark) -> str:
    if stalled.status == "True":
        return "Stalled" if status.canary is None else "Held"
    if status.stable is None:
        return "Starting" if status.canary is not None else "Waiting"
    if status.canary is not None:
        return "Canary"
    return "Serving" if ready.status == "True" else "Degraded"


def _message(seen: Observation, status: DeploymentStatus, ready: Mark, progressing: Mark, stalled: Mark) -> str:
    """The one thing to know: what is wrong first, then what is under way, then what serves."""
    if ready.status == "True" and (progressing.reason == "AnalysisInconclusive" or stalled.status == "True"):
        return progressing.message if status.canary is not None else stalled.message
    if ready.status == "True" and status.canary is not None:
        return f"{progressing.message}; {status.stable.model if status.stable else 'nothing'} serves the rest"
    if ready.status == "True" and progressing.reason in ("Quarantined", "RolledBack", "Aborted"):
        return f"{ready.message}. {progressing.message}"
    return (_revoked(seen, status) if ready.status == "True" else "") or ready.message


def _revoked(seen: Observation, status: DeploymentStatus) -> str:
    """What to say when the model that serves is not approved any more: serving does not stop by itself."""
    if status.stable is None:
        return ""
    model = target.model_called(seen, status.stable.model)
    if target.may_stay(model):
        return ""
    what = "is gone" if model is None else "is not approved any more"
    namespace = seen.deployment.metadata.namespace
    return (
        f"{status.stable.model} {what} and keeps serving until another version is approved. "
        f"See: kubectl -n {namespace} get mmd"
    )


def _command(seen: Observation, action: str, revision: str) -> str:
    return target.action_command(seen, action, revision)


def _events(seen: Observation, ready: Mark, stalled: Mark) -> tuple[Event, ...]:
    """Verdicts that are no move: readiness lost or gained, a held analysis, nothing to serve."""
    before = seen.deployment.status.conditions
    events = []
    for mark, bad in ((ready, "False"), (stalled, "True")):
        known = conditions.find(before, mark.type)
        old = (known.status, known.reason) if known is not None else ("", "")
        quiet = mark.type == STALLED and mark.status == "False"
        told = mark.reason in HOPELESS or mark.reason == "Starting"
        if old != (mark.status, mark.reason) and not quiet and not told:
            warns = mark.status == bad
            events.append(Event(type="Warning" if warns else "Normal", reason=mark.reason, message=mark.message))
    unique = {(event.reason, event.message): event for event in events}
    return tuple(unique.values())
