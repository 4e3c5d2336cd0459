r"""Deployment: from what is seen to what should be.

observed --> retiring, rollout --> who carries what --> children, deletes, nudges
             monitoring, retraining ----------------> a new TrainingRun
                                                \--> one status, its events, when to look again
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import datetime

from millrace import api
from millrace.api import conditions, resources
from millrace.api.deployment_status import AnalysisResult, DeploymentStatus, MonitoringStatus, RevisionStatus, Rollout
from millrace.api.keys import CONFIG_HASH
from millrace.decide.plan import Claim, Delete, Event, Manifest, Nudge, Plan
from millrace.decide.status import later
from millrace.render import budget, router, router_workload, server
from millrace.render.server import Bundle

from . import (
    actions,
    analysis,
    images,
    monitoring,
    progress,
    quarantine,
    retiring,
    retraining,
    rollout,
    signature,
    steps,
    summary,
    target,
    verdicts,
)
from .finding import Finding, Signal
from .moves import Transition
from .observation import Observation

__all__ = ["Observation", "decide"]

SOONEST_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 3.0
MOST_RESULTS = 24
CLAIMS = (
    Claim(field="retraining", kinds=frozenset({resources.TRAINING_RUNS}), blocked=retraining.BLOCKED),
    Claim(field="retiring", kinds=frozenset({resources.SERVICES, resources.WORKLOADS})),
)
NO_REVISION = "none"
"""Of a selector that selects no pod: an empty one would select all there are."""


def decide(seen: Observation) -> Plan:
    """What should be true after this pass. Pure and total."""
    now = seen.now.replace(microsecond=0)
    seen, told = _remembered(seen.model_copy(update={"now": now}))
    transition, finding, deletes = _moved(seen)
    state = transition.state
    drift = monitoring.report(seen, state)
    is_rolling = state.canary is not None or finding.signal in (Signal.WAITING, Signal.STUCK, Signal.HELD)
    retrained = retraining.retrain(seen, state, drift, finding if is_rolling else None)
    status = _status(seen, state, finding).model_copy(
        update={
            "monitoring": MonitoringStatus(drift=drift.status) if drift.status is not None else None,
            "retraining": retrained.status,
        }
    )
    overall = summary.summarise(seen, status, finding, retrained.concern)
    marks = [*overall.marks, *(mark for mark in (drift.mark, retrained.mark) if mark is not None)]
    merged = conditions.merge(seen.deployment.status.conditions, marks, seen.now, seen.deployment.metadata.generation)
    status = status.model_copy(update={"phase": overall.phase, "message": overall.message, "conditions": merged})
    # A crash between the router's files and the status leaves newer weights in the files: until a router has said what
    # it applies, the memory is not known to be the newer of the two, and the files stay as they are.
    config = {} if seen.no_router_has_answered() else dict(_files(rollout.router_config(seen, state)))
    children = tuple(_children(seen, state, config))
    return Plan(
        children=children,
        records=quarantine.unwritten(seen, state),
        creates=retrained.creates,
        deletes=(*deletes, *_unneeded(seen, children)),
        nudges=_nudges(seen, router.config_hash(config)) if config else (),
        status=status.wire(),
        claims=CLAIMS,
        events=(*told, *transition.events, *drift.events, *retrained.events, *overall.events),
        wake_after=_wake(seen, state, [finding.until, drift.until, retrained.until, *_deadlines(seen, state)]),
    )


def _remembered(seen: Observation) -> tuple[Observation, tuple[Event, ...]]:
    """The same with a memory whose laws hold and that knows what others have written, and what to tell of that."""
    state = signature.noted(seen, retiring.repaired(seen.deployment.status, seen.now))
    state, told = quarantine.merged(seen, state)
    return seen.model_copy(update={"deployment": seen.deployment.model_copy(update={"status": state})}), told


@functools.lru_cache(maxsize=4096)
def _files(config: router.RouterConfig) -> Mapping[str, str]:
    """The router's files. Writing YAML takes far longer than everything else here, and weights seldom change."""
    return router.config_map_data(config)


def _moved(seen: Observation) -> tuple[Transition, Finding, tuple[Delete, ...]]:
    """The status after every move and retirement that this observation allows."""
    state = actions.handled(seen, seen.deployment.status)
    wanted = target.choose(seen, state).bundle
    state = retiring.adopt(seen, state, wanted.revision if wanted is not None else None)
    transition, finding = rollout.advance(seen, state)
    if seen.no_router_has_answered() and _weights(transition.state) != _weights(state):
        # The files stay as they are (see `decide`), so nothing may be claimed that they would have to say.
        finding = progress.weights_unknown(seen, state)
        transition = progress.noted(seen, Transition(state=state), finding)
    transition = images.settled(seen, transition)
    state, deletes = retiring.retire(seen, transition.state)
    return transition.at(state), finding, deletes


def _weights(state: DeploymentStatus) -> dict[str, int]:
    return {one.revision: one.weight for one in (state.stable, state.canary) if one is not None and one.weight}


def _children(seen: Observation, state: DeploymentStatus, config: dict[str, str]) -> list[Manifest]:
    """The router first: it is ready by the time the servers are. Revisions that retire are left as they are."""
    owner, spec = seen.deployment.metadata, seen.deployment.spec
    count = router_workload.replicas(spec.replicas)
    children = [
        *([router_workload.config_map(owner, config)] if config else []),
        router_workload.workload(owner, count, seen.platform),
        router_workload.service(owner),
    ]
    for served, replicas in ((state.stable, spec.replicas), (state.canary, steps.servers_wanted(seen, state))):
        bundle = _bundle(seen, served) if served is not None else None
        if bundle is not None:
            children += [server.service(owner, bundle), server.workload(owner, bundle, replicas, seen.platform)]
    stable = state.stable.revision if state.stable is not None else None
    return [*children, *budget.budgets(owner, spec.replicas, stable)]


def _unneeded(seen: Observation, children: Iterable[Manifest]) -> tuple[Delete, ...]:
    """Budgets of a Deployment that was scaled down to single pods."""
    kind, namespace = resources.BUDGETS.kind, seen.deployment.metadata.namespace
    wanted = {one["metadata"]["name"] for one in children if one["kind"] == kind}
    return tuple(
        Delete(resource=resources.BUDGETS, namespace=namespace, name=name, uid=uid)
        for name, uid in seen.budgets
        if name not in wanted
    )


def _bundle(seen: Observation, served: RevisionStatus) -> Bundle | None:
    """How a revision is served: as the spec says if that is the same revision, else as its workload says, and with the
    image that is its own.

    A workload that somebody deleted is made again from its Model, under the resources of today if need be: the right
    model under other resources is better than none.
    """
    model, found = target.model_called(seen, served.model), seen.server(served.revision)
    if model is not None and model.spec.artifact.digest == served.digest:
        bundle = server.bundle(model, target.template(seen))
        if bundle.revision != served.revision:
            bundle = found.bundle if found is not None else bundle.model_copy(update={"revision": served.revision})
    elif found is not None:
        bundle = found.bundle
    else:
        return None
    template = bundle.template.model_copy(update={"image": served.image or bundle.template.image})
    return bundle.model_copy(update={"template": template})


def _nudges(seen: Observation, config_hash: str) -> tuple[Nudge, ...]:
    namespace = seen.deployment.metadata.namespace
    return tuple(
        Nudge(namespace=namespace, pod=one.pod, annotation=CONFIG_HASH, value=config_hash)
        for one in seen.routers
        if one.config_hash != config_hash
    )


def _status(seen: Observation, state: DeploymentStatus, finding: Finding) -> DeploymentStatus:
    """Everything but conditions, monitoring and retraining."""
    metadata = seen.deployment.metadata
    root = f"http://{metadata.name}.{metadata.namespace}.svc"
    bundle = _bundle(seen, state.stable) if state.stable is not None else None
    roles = [
        _counted(seen, state.stable, seen.deployment.spec.replicas),
        _counted(seen, state.canary, steps.servers_wanted(seen, state)),
    ]
    # What `kubectl scale` and an autoscaler count is what spec.replicas is about: neither a canary nor what is leaving.
    scaled = roles[0] or roles[1]
    return state.model_copy(
        update={
            "observed_generation": metadata.generation,
            "replicas": scaled.replicas if scaled is not None else 0,
            "ready_replicas": scaled.ready_replicas if scaled is not None else 0,
            "selector": server.pods_of(metadata.name, scaled.revision if scaled is not None else NO_REVISION),
            "url": f"{root}/v2/models/{bundle.model_name}/infer" if bundle is not None else None,
            "address": api.deployment.Address(rest_url=root),
            "stable": roles[0],
            "canary": roles[1],
            "rollout": _rollout(seen, state, finding),
            "analysis": _analysis(seen, state, finding),
            "quarantined": quarantine.shown(state.quarantined),
        }
    )


def _counted(seen: Observation, served: RevisionStatus | None, wanted: int) -> RevisionStatus | None:
    if served is None:
        return None
    return served.model_copy(update={"replicas": wanted, "ready_replicas": seen.ready(served.revision)})


def _rollout(seen: Observation, state: DeploymentStatus, finding: Finding) -> Rollout | None:
    if state.rollout is None:
        return None
    changes: dict[str, object] = {"waiting_for": finding.waiting_for[:256] or None}
    if state.canary is not None:
        count, index = len(steps.steps_of(seen, state)), steps.index_of(seen, state)
        step = f"{min(index + 1, count)} of {count}" if count else None
        changes |= {"steps": count, "current_step_index": index, "step": step}
    return state.rollout.model_copy(update=changes)


def _analysis(seen: Observation, state: DeploymentStatus, finding: Finding) -> tuple[AnalysisResult, ...]:
    """The results now; one that says the same about roughly as many requests as before stays as it was."""
    if state.canary is None:
        return state.analysis[:MOST_RESULTS]  # as the last canary ended, until another one starts
    found = {(one.name, one.threshold, one.samples): one for one in finding.results}
    results = [found.get((one.name, one.threshold, one.samples), one) for one in verdicts.judged(seen, state)]
    was = seen.deployment.status.canary
    before = seen.deployment.status.analysis if was is not None and was.revision == state.canary.revision else ()
    kept = []
    for place, one in enumerate(results[:MOST_RESULTS]):
        known = before[place] if place < len(before) else one
        same = (known.name, known.phase, known.threshold) == (one.name, one.phase, one.threshold)
        kept.append(known if same and analysis.rounded(known.samples) == analysis.rounded(one.samples) else one)
    return tuple(kept)


def _deadlines(seen: Observation, state: DeploymentStatus) -> list[datetime | None]:
    """When what has waited too long is stalled; what is stalled already changes by no time."""
    short = progress.short_until(seen, state)
    return [images.due(seen, state), short if short is not None and short > seen.now else None]


def _wake(seen: Observation, state: DeploymentStatus, moments: list[datetime | None]) -> float | None:
    """Seconds until time alone may change something; what should have changed by now is looked at again soon.

    An answer of a router that only confirms what was known triggers no pass, so a pass that waits for one schedules the
    next.
    """
    due = [moment for moment in moments if moment is not None]
    due += [
        later(one.drained_time or seen.now, progress.LINGER_SECONDS if one.drained_time else 0)
        for one in state.retiring
    ]
    waits = [(moment - seen.now).total_seconds() for moment in due]
    return min(max(SOONEST_SECONDS, wait) if wait > 0 else LOOK_AGAIN_SECONDS for wait in waits) if waits else None
