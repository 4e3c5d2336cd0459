"""Reading Pods: whose they are, where they answer, and why they do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from millrace.api import resources
from millrace.clients.store import Manifest, Store
from millrace.contract.record import MalformedRecord
from millrace.contract.report import StageFailure
from millrace.decide.deployment.observation import Trouble
from millrace.decide.deployment.rollout import HOPELESS
from millrace.decide.job import REFUSED
from millrace.render import router_workload, server

WAITING_IN_PEACE = frozenset({"PodInitializing", "ContainerCreating"})
LONGEST = 400
_COMBINED = "(combined from similar events): "
_POD_NAME = re.compile(r"""(pods?) ["']([-a-z0-9.]*?)-?[a-z0-9]{5}["']""")
LOST_AFTER = timedelta(seconds=30)
"""Beyond its grace period a pod that still is there has a kubelet that says nothing: its node is lost."""


def routers(store: Store, namespace: str, deployment: str, now: datetime) -> list[Manifest]:
    """Router pods whose container runs, terminating ones too: they still answer callers, unless their node is lost."""
    found = [
        one
        for one in store.list(resources.PODS, namespace, router_workload.selector(deployment))
        if not is_lost(one, now)
    ]
    return [one for one in found if any("running" in (part.get("state") or {}) for part in _statuses(one))]


def servers(store: Store, namespace: str, deployment: str, revision: str) -> list[Manifest]:
    """Server pods of a revision that are not being deleted."""
    found = store.list(resources.PODS, namespace, server.selector(deployment, revision))
    return [one for one in found if not is_going(one)]


def uid(pod: Manifest) -> str:
    """The pod's identity; another pod of the same name has another."""
    return str(pod["metadata"].get("uid") or pod["metadata"]["name"])


def address(pod: Manifest) -> str:
    """The pod's IP address, empty before it has one."""
    return str((pod.get("status") or {}).get("podIP") or "")


def began(pod: Manifest) -> datetime:
    """When its kubelet took it up; before that, when it was made."""
    return datetime.fromisoformat((pod.get("status") or {}).get("startTime") or pod["metadata"]["creationTimestamp"])


def is_going(pod: Manifest) -> bool:
    """Whether somebody deleted it."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_lost(pod: Manifest, now: datetime) -> bool:
    """Whether it should be gone long since (deletionTimestamp includes the grace period) and is not ready."""
    due = pod["metadata"].get("deletionTimestamp")
    return bool(due) and now > datetime.fromisoformat(due) + LOST_AFTER and not is_ready(pod)


def is_ready(pod: Manifest) -> bool:
    """Whether its Ready condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def trouble(found: Iterable[Manifest]) -> Trouble | None:
    """Why these pods do not get ready: what no retry can help with first, then what the newest pods say."""
    newest = sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True)
    # An evicted pod stays until it is collected; its successor knows better.
    newest.sort(key=lambda pod: _phase(pod) == "Failed")
    troubles = [one for pod in newest if not is_ready(pod) for one in _troubles(pod)]
    return next((one for one in troubles if one.reason in HOPELESS), troubles[0] if troubles else None)


def refusal(workload: Manifest | None) -> Trouble | None:
    """Why the API server takes no pod of an apps/v1 Deployment: a quota, a limit range, Pod Security."""
    for one in ((workload or {}).get("status") or {}).get("conditions") or ():
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True":
            return Trouble(reason=str(one.get("reason") or REFUSED), message=words(str(one.get("message") or "")))
    return None


def words(text: str) -> str:
    """What a controller says of a pod that was refused, the same for every pod that is refused for the same reason."""
    plain = text.removeprefix(_COMBINED).removeprefix("Error creating: ")
    return _POD_NAME.sub(r"\1 \2", plain)[:LONGEST]


def _troubles(pod: Manifest) -> Iterator[Trouble]:
    status = pod.get("status") or {}
    if status.get("reason"):  # Evicted, NodeLost
        yield Trouble(reason=str(status["reason"]), message=str(status.get("message") or "")[:LONGEST])
    for part in (*_statuses(pod, "initContainerStatuses"), *_statuses(pod)):
        for state in (part.get("state") or {}, part.get("lastState") or {}):
            ended = state.get("terminated")
            if ended and ended.get("exitCode"):
                yield _ended(part, ended)
        waiting = (part.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in WAITING_IN_PEACE:
            yield Trouble(reason=str(waiting["reason"]), message=str(waiting.get("message") or "")[:LONGEST])
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            yield Trouble(
                reason=str(one.get("reason") or "Unschedulable"), message=str(one.get("message") or "")[:LONGEST]
            )


def _ended(part: Mapping[str, Any], ended: Mapping[str, Any]) -> Trouble:
    """Why a container ended: its termination message, if it wrote one."""
    text = str(ended.get("message") or "")
    try:
        said = StageFailure.from_json(text)
        return Trouble(reason=said.reason, message=said.message[:LONGEST])
    except MalformedRecord:
        reason = str(ended.get("reason") or "Error")
        return Trouble(reason=reason, message=f"container {part.get('name')}: {text.strip()[-200:]}".strip())


def _phase(pod: Manifest) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def _statuses(pod: Manifest, kind: str = "containerStatuses") -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get(kind) or ())
