"""The end of a revision: its pods and its cluster go 30 seconds after every router was seen without its weight.

Servers that have no role, because a pass died before it wrote the status, are deleted the same way.
"""

from __future__ import annotations

from datetime import datetime

from millrace.api import resources
from millrace.api.deployment_status import DeploymentStatus, Retiring, Rollout
from millrace.decide.plan import Delete
from millrace.decide.status import later, not_after
from millrace.render import names

from . import progress
from .monitoring import DRIFT_DETECTED
from .moves import MOST_LEAVING
from .observation import Observation, Server
from .rollout import router_config


def repaired(state: DeploymentStatus, now: datetime) -> DeploymentStatus:
    """The status with its invariants restored: one role a revision, weights that add up to 100, no time in the future,
    none missing of a canary.

    Somebody may have edited it, or set the clock back.
    """
    stable, canary = state.stable, state.canary
    if canary is not None and stable is not None and canary.revision == stable.revision:
        canary = None
    if canary is not None and stable is None and canary.weight != 100:
        canary = canary.model_copy(update={"weight": 0})
    if stable is not None:
        stable = stable.model_copy(update={"weight": 100 - (canary.weight if canary is not None else 0)})
        stable = not_after(stable, now, "image_time")
    taken = {one.revision for one in (stable, canary) if one is not None}
    retiring: dict[str, Retiring] = {}
    for one in state.retiring:
        if one.revision not in taken:
            retiring.setdefault(one.revision, not_after(one, now, "since", "drained_time"))
    changes = {"stable": stable, "canary": canary, "retiring": tuple(retiring.values()), **_waits(state, now)}
    return state.model_copy(update=changes)


def _waits(state: DeploymentStatus, now: datetime) -> dict[str, object]:
    """The times from which a canary, a drift trigger, the next drift report and retraining's limits are counted."""
    rollout, monitoring, retraining = state.rollout, state.monitoring, state.retraining
    if state.canary is not None:
        rollout = _begun(rollout or Rollout(), now)
    if rollout is not None:
        rollout = not_after(rollout, now, "started_time", "step_started_time", "unready_since")
    # By the time at which it was raised an alarm is acknowledged: that is its name, and nothing is counted from it.
    if monitoring is not None and monitoring.drift is not None and monitoring.drift.state != "Drifted":
        monitoring = monitoring.model_copy(update={"drift": not_after(monitoring.drift, now, "evaluated_time")})
    if retraining is not None:
        starts = tuple(not_after(one, now, "time") for one in retraining.starts)
        retraining = retraining.model_copy(update={"starts": starts})
    conditions = tuple(
        not_after(one, now, "last_transition_time") if one.type == DRIFT_DETECTED else one for one in state.conditions
    )
    return {"rollout": rollout, "monitoring": monitoring, "retraining": retraining, "conditions": conditions}


def _begun(rollout: Rollout, now: datetime) -> Rollout:
    """With the moments that its requests are counted from: without them none would ever be."""
    missing = {name: now for name in ("started_time", "step_started_time") if getattr(rollout, name) is None}
    return rollout.model_copy(update=missing) if missing else rollout


def adopt(seen: Observation, state: DeploymentStatus, wanted: str | None) -> DeploymentStatus:
    """Let servers that have no role retire, but not those of the revision that is about to start."""
    known = {one.revision for one in (state.stable, state.canary, *state.retiring) if one is not None}
    unclaimed = [one for one in seen.servers if one.bundle.revision not in known | {wanted}]
    fresh = tuple(
        Retiring(revision=one.bundle.revision, model=one.bundle.model, digest=one.bundle.digest, since=seen.now)
        for one in unclaimed
    )
    return state.model_copy(update={"retiring": (*state.retiring, *fresh)[:MOST_LEAVING]}) if fresh else state


def retire(seen: Observation, state: DeploymentStatus) -> tuple[DeploymentStatus, tuple[Delete, ...]]:
    """Note which revisions every router has left, and delete those that were left long enough ago."""
    generation = router_config(seen, state).generation
    kept: list[Retiring] = []
    deletes: list[Delete] = []
    for one in state.retiring:
        left = seen.reported(generation, after=one.since)
        drained = one.drained_time or (seen.now if left else None)
        if left and drained is not None and seen.now >= later(drained, progress.LINGER_SECONDS):
            deletes += _parts(seen, one.revision)
        else:
            kept.append(one if drained == one.drained_time else one.model_copy(update={"drained_time": drained}))
    return state.model_copy(update={"retiring": tuple(kept)}), tuple(deletes)


def _parts(seen: Observation, revision: str) -> list[Delete]:
    server = seen.server(revision)
    if server is None:
        return []
    owner = seen.deployment.metadata
    name = names.server(owner.name, revision)
    workload = Delete(resource=resources.WORKLOADS, namespace=owner.namespace, name=name, uid=server.uid)
    # The Service first: it is found by its workload, and would stay for ever if a crash came between the two.
    return [*_service(seen, server, name), workload]


def _service(seen: Observation, server: Server, name: str) -> list[Delete]:
    if server.service_uid is None:
        return []
    namespace = seen.deployment.metadata.namespace
    return [Delete(resource=resources.SERVICES, namespace=namespace, name=name, uid=server.service_uid)]
