"""The Deployment and ReplicaSet controllers: pods of workloads, replaced one by one when their template changes."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

from millrace.api import resources
from millrace.api.resources import ResourceType

from .desk import Desk, condition, controller_of, is_going, is_ready, reference
from .server import REPLICA_SETS, ApiServer
from .storage import Change, Manifest

DELAY_SECONDS: Final = 0.02
HASH: Final = "pod-template-hash"
KINDS: Final = {"Deployment": resources.WORKLOADS, "ReplicaSet": REPLICA_SETS}


class WorkloadController:
    """Deployments to ReplicaSets, ReplicaSets to pods, and how many are ready back again."""

    def __init__(self, server: ApiServer) -> None:
        self._desk = Desk(server, DELAY_SECONDS, self._sync)
        server.subscribe(self._saw)

    def _saw(self, change: Change) -> None:
        if change.resource in {resources.WORKLOADS, REPLICA_SETS}:
            self._desk.soon(change.resource, change.namespace, change.name)
        if change.resource in {REPLICA_SETS, resources.PODS}:
            owner = controller_of(change.manifest)
            kind = KINDS.get(owner["kind"]) if owner is not None and owner["apiVersion"] == "apps/v1" else None
            if owner is not None and kind is not None:
                self._desk.soon(kind, change.namespace, owner["name"])

    def _sync(self, resource: ResourceType, namespace: str, name: str) -> None:
        found = self._desk.get(resource, namespace, name)
        if found is None or is_going(found):
            return
        if resource is REPLICA_SETS:
            self._sync_set(found)
        else:
            self._sync_deployment(found)

    def _sync_set(self, found: Manifest) -> None:
        pods = [one for one in self._desk.owned(resources.PODS, found) if _is_active(one)]
        wanted = found["spec"]["replicas"]
        for _ in range(wanted - len(pods)):
            self._start(found)
        # What is not ready goes first, then the youngest.
        pods.sort(key=lambda one: (is_ready(one), -int(one["metadata"]["uid"][-12:], 16)))
        for pod in pods[: max(0, len(pods) - wanted)]:
            self._desk.delete(resources.PODS, pod)
        ready = sum(is_ready(one) for one in pods)
        counts = {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        self._desk.status(REPLICA_SETS, found, {**counts, "observedGeneration": found["metadata"]["generation"]})

    def _start(self, found: Manifest) -> None:
        template, metadata = found["spec"]["template"], found["metadata"]
        self._desk.create(
            resources.PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "namespace": metadata["namespace"],
                    "generateName": f"{metadata['name']}-",
                    "ownerReferences": [reference(REPLICA_SETS, found)],
                },
                "spec": template["spec"],
            },
        )

    def _sync_deployment(self, found: Manifest) -> None:
        sets = self._desk.owned(REPLICA_SETS, found)
        name = f"{found['metadata']['name']}-{_hash(found['spec']['template'])}"
        new = next((one for one in sets if one["metadata"]["name"] == name), None)
        if new is None:
            self._add_set(found, name)
            return
        old = [one for one in sets if one is not new]
        self._roll(found, new, old)
        self._say(found, new, old)

    def _add_set(self, found: Manifest, name: str) -> None:
        metadata, template = found["metadata"], found["spec"]["template"]
        mark = {HASH: name.rsplit("-", 1)[1]}
        labels = {**(template["metadata"].get("labels") or {}), **mark}
        self._desk.create(
            REPLICA_SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": labels,
                    "ownerReferences": [reference(resources.WORKLOADS, found)],
                },
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {**found["spec"]["selector"]["matchLabels"], **mark}},
                    "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
                },
            },
        )

    def _roll(self, found: Manifest, new: Manifest, old: list[Manifest]) -> None:
        """Grow the new set as far as the surge allows, shrink the old ones as far as enough pods are ready."""
        wanted, strategy = found["spec"]["replicas"], found["spec"]["strategy"]
        rolling = strategy.get("rollingUpdate") or {}
        surge = _count(rolling.get("maxSurge", "25%"), wanted, up=True)
        missing = _count(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        running = sum(one["spec"]["replicas"] for one in old)
        if strategy["type"] == "Recreate":
            grown = wanted if not any((one.get("status") or {}).get("replicas") for one in old) else 0
            spare = running
        else:
            held = new["spec"]["replicas"]
            grown = wanted if held > wanted else max(held, min(wanted, wanted + max(surge, 1 - missing) - running))
            ready = sum((one.get("status") or {}).get("availableReplicas", 0) for one in (new, *old))
            sick = sum(one["spec"]["replicas"] - (one.get("status") or {}).get("availableReplicas", 0) for one in old)
            spare = max(0, ready - (wanted - missing)) + max(0, sick)
        self._scale(new, grown)
        for one in old:
            less = min(spare, one["spec"]["replicas"])
            spare -= less
            self._scale(one, one["spec"]["replicas"] - less)
            if not one["spec"]["replicas"] and not (one.get("status") or {}).get("replicas"):
                self._forget(found, old)

    def _forget(self, found: Manifest, old: list[Manifest]) -> None:
        """Keep as many empty sets as the history may be long."""
        empty = [one for one in old if not one["spec"]["replicas"] and not (one.get("status") or {}).get("replicas")]
        empty.sort(key=lambda one: one["metadata"]["uid"])
        for one in empty[: max(0, len(empty) - found["spec"]["revisionHistoryLimit"])]:
            self._desk.delete(REPLICA_SETS, one)

    def _scale(self, found: Manifest, replicas: int) -> None:
        if found["spec"]["replicas"] != replicas:
            self._desk.patch(REPLICA_SETS, found, {"spec": {"replicas": replicas}})

    def _say(self, found: Manifest, new: Manifest, old: list[Manifest]) -> None:
        def total(field: str, *sets: Manifest) -> int:
            return sum((one.get("status") or {}).get(field, 0) for one in sets)

        ready, wanted = total("readyReplicas", new, *old), found["spec"]["replicas"]
        status: Manifest = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": total("replicas", new, *old),
            "updatedReplicas": total("replicas", new),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
        }
        truth = "True" if ready >= wanted else "False"
        held = (found.get("status") or {}).get("conditions") or []
        if not held or held[0]["status"] != truth:
            reason = "MinimumReplicasAvailable" if truth == "True" else "MinimumReplicasUnavailable"
            held = [condition("Available", self._desk.server.clock.now(), reason, status=truth)]
        self._desk.status(resources.WORKLOADS, found, {**status, "conditions": held})


def _is_active(pod: Manifest) -> bool:
    return not is_going(pod) and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}


def _count(value: Any, wanted: int, *, up: bool) -> int:
    """A number, or a percentage of the wanted pods."""
    if isinstance(value, int):
        return value
    share = wanted * float(str(value).rstrip("%")) / 100
    return math.ceil(share) if up else math.floor(share)


def _hash(template: Manifest) -> str:
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
