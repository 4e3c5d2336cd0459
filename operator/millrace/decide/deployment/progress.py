"""Whether a rollout gets the pods it needs, since when it does not, and what keeps them away.

Infrastructure is not the model's fault: no free node, an image that cannot be pulled, a quota, a silent store or a lost
node hold a rollout, in the words of the API server and the kubelet, and release it by themselves. What has waited for
pods for longer than strategy.progressDeadline is stalled, as kstatus understands it, and still goes on by itself.
"""

from __future__ import annotations

from datetime import datetime

from millrace.api import conditions
from millrace.api.deployment import DEFAULT_PROGRESS_DEADLINE
from millrace.api.deployment_status import DeploymentStatus, Retiring, RevisionStatus, Rollout
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.job import REFUSED
from millrace.decide.status import later, stalled_from

from . import steps
from .finding import Awaits, Finding, Signal
from .moves import Transition
from .observation import Observation, Trouble
from .target import Target

AWAY = frozenset(
    {
        Reason.ServersNotReady,
        Reason.RoutersNotReady,
        Reason.WeightsNotApplied,
        Reason.PodNotStarted,
        Reason.PodRefused,
    }
)
"""Reasons of a wait for pods."""
AVAILABLE = "Available"
LINGER_SECONDS = 30.0
"""How long pods stay after every router was seen without their weight."""


def allowed(seen: Observation) -> str:
    """How long a rollout may wait for pods before it counts as stalled."""
    strategy = seen.deployment.spec.strategy
    return strategy.progress_deadline if strategy is not None else DEFAULT_PROGRESS_DEADLINE


def deadline(seen: Observation, state: DeploymentStatus, stalls: Reason = Reason.ProgressDeadlineExceeded) -> datetime:
    """When a rollout that waits is stalled, and for what reason, counted from when the wait was first seen."""
    since = state.rollout.unready_since if state.rollout is not None else None
    return due(seen, since, stalls) if since is not None else later(seen.now, seconds(allowed(seen)))


def due(seen: Observation, since: datetime, stalls: Reason = Reason.ProgressDeadlineExceeded) -> datetime:
    """When what has waited since then is stalled."""
    known = seen.deployment.status.conditions
    return stalled_from(known, stalls, since, seen.steady_since, seconds(allowed(seen)))


def is_available(seen: Observation, state: DeploymentStatus) -> bool:
    """Whether stable has as many ready servers as were asked for, and a router before them."""
    ready = seen.ready(state.stable.revision) if state.stable is not None else 0
    return ready >= seen.deployment.spec.replicas and seen.routers_ready >= 1


def short_until(seen: Observation, state: DeploymentStatus) -> datetime | None:
    """When stable's missing pods count as stalled, beside no canary; None where none is missing."""
    if state.stable is None or state.canary is not None or is_available(seen, state):
        return None
    known = conditions.find(seen.deployment.status.conditions, AVAILABLE)
    since = known.last_transition_time if known is not None and known.status == "False" else seen.now
    # Before it was stable it lacked nothing, however long the first model took to start.
    return due(seen, min(max(since, state.stable.since), seen.now))


def overdue(seen: Observation, state: DeploymentStatus) -> Retiring | None:
    """What should have gone long since: not every router says that it sends it nothing."""
    for one in state.retiring:
        gone = later(one.drained_time, LINGER_SECONDS) if one.drained_time is not None else one.since
        if seen.now >= due(seen, gone):
            return one
    return None


def is_short(seen: Observation, state: DeploymentStatus) -> bool:
    """Whether the canary has fewer ready servers than it needs."""
    return state.canary is not None and seen.ready(state.canary.revision) < steps.servers_wanted(seen, state)


def reason_of(trouble: Trouble | None, otherwise: Reason) -> Reason:
    """What a trouble of a pod is called."""
    if trouble is None:
        return otherwise
    return Reason.PodRefused if trouble.reason == REFUSED else Reason.PodNotStarted


def pods_missing(seen: Observation, state: DeploymentStatus, canary: RevisionStatus, weight: int) -> Finding | None:
    """What must be there before the canary may carry this weight."""
    wanted, ready = steps.need(seen, weight), seen.ready(canary.revision)
    if ready < wanted:
        trouble = seen.trouble(canary.revision)
        text = f"{wanted} ready server{'s' * (wanted != 1)} of {canary.model}, {ready} now{said(trouble)}"
        return _away(seen, state, reason_of(trouble, Reason.ServersNotReady), text)
    if not seen.healthy(canary.revision):
        return _routers(seen, state, f"every router to find a healthy server of {canary.model}")
    return None


def weights_missing(seen: Observation, state: DeploymentStatus) -> Finding:
    """Not every router applies the newest weights."""
    return _routers(seen, state, "every router to apply the new weights", Reason.WeightsNotApplied)


def weights_unknown(seen: Observation, state: DeploymentStatus) -> Finding:
    """No router has said which weights it applies, so none may be changed."""
    waits = _routers(seen, state, "a router to answer which weights it applies", Reason.WeightsNotApplied)
    return held(seen, state, waits)


def missing(seen: Observation, state: DeploymentStatus, choice: Target) -> Finding:
    """There is no revision such as the spec asks for."""
    until, awaits = None, choice.awaits
    if awaits is Awaits.ANYBODY:
        end = deadline(seen, state, choice.reason or Reason.NoApprovedModel)
        awaits, until = (Awaits.PERSON, None) if seen.now >= end else (awaits, end)
    return Finding(
        signal=Signal.SETTLED, reason=choice.reason, why=choice.why, fields=choice.fields, awaits=awaits, until=until
    )


def held(seen: Observation, state: DeploymentStatus, found: Finding) -> Finding:
    """The same, or that it waits for pods which have not come in time."""
    if found.signal is not Signal.WAITING or found.reason not in AWAY or seen.now < deadline(seen, state):
        return found
    why = (
        f"{found.waiting_for}. It has waited for longer than strategy.progressDeadline ({allowed(seen)}), and goes on "
        "by itself when they are there"
    )
    changes = {"signal": Signal.STUCK, "reason": Reason.ProgressDeadlineExceeded, "why": why, "until": None}
    return found.model_copy(update={**changes, "advice": found.advice or found.reason})


def blocked_by_leaving(seen: Observation, state: DeploymentStatus, model: str) -> Finding:
    """A revision that left is wanted again, or too many leave: it waits for their pods to go."""
    late = overdue(seen, state)
    if late is None:
        what = f"earlier pods of {state.retiring[0].model} to go before {model} starts"
        return Finding(signal=Signal.WAITING, reason=Reason.Retiring, waiting_for=what)
    why, advice = f"{model} cannot start: {cannot_go(seen, late)}", Reason.RoutersNotReady
    return Finding(signal=Signal.STUCK, reason=Reason.ProgressDeadlineExceeded, why=why, advice=advice)


def cannot_go(seen: Observation, late: Retiring) -> str:
    """Why pods stay that should have gone."""
    return (
        f"the earlier pods of {late.model} stay, as not every router has said that it sends them nothing for longer "
        f"than strategy.progressDeadline ({allowed(seen)}); they go by themselves when all have"
    )


def resumed(seen: Observation, state: DeploymentStatus, canary: RevisionStatus, found: Finding) -> Finding:
    """An analysis whose time ended while its servers were away has not been given its time."""
    if found.signal is not Signal.INCONCLUSIVE:
        return found
    if is_short(seen, state):
        return pods_missing(seen, state, canary, steps.wanted_weight(seen, state)) or found
    was_away = state.rollout is not None and state.rollout.unready_since is not None
    return Finding(signal=Signal.RESUMED, results=found.results) if was_away else found


def noted(seen: Observation, transition: Transition, found: Finding) -> Transition:
    """The same, with the moment since when the rollout waits for pods, or for a Model."""
    state, rollout = transition.state, transition.state.rollout or Rollout()
    waits = found.reason in AWAY or found.signal is Signal.STUCK or is_short(seen, state)
    if state.canary is None:
        was_waiting = rollout.unready_since is not None
        waits = found.awaits is Awaits.ANYBODY or (found.awaits is Awaits.PERSON and was_waiting)
    since = (rollout.unready_since or seen.now) if waits else None
    if since == rollout.unready_since:
        return transition
    return transition.then(rollout=rollout.model_copy(update={"unready_since": since}))


def said(trouble: Trouble | None) -> str:
    """What the API server or the kubelet says, to be put behind a sentence."""
    if trouble is None:
        return ""
    return f": {trouble.reason}, {trouble.message}" if trouble.message else f": {trouble.reason}"


def _routers(
    seen: Observation, state: DeploymentStatus, what: str, otherwise: Reason = Reason.RoutersNotReady
) -> Finding:
    reason = reason_of(seen.router_trouble, otherwise)
    found = _away(seen, state, reason, f"{what}{said(seen.router_trouble)}")
    return found.model_copy(update={"advice": advice_of_routers(reason)})


def advice_of_routers(reason: Reason) -> Reason | None:
    """Whose next command shows the router pods that do not start."""
    return Reason.RoutersNotReady if reason is Reason.PodNotStarted else None


def _away(seen: Observation, state: DeploymentStatus, reason: Reason, what: str) -> Finding:
    return Finding(signal=Signal.WAITING, reason=reason, waiting_for=what, until=deadline(seen, state))
