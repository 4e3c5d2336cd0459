"""What a node would do: pods start, Jobs' pods answer as their task says, routers apply the files of their ConfigMap.

An answer depends on nothing but the task, so equal specs have equal ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from typing import Any

import aiohttp
import yaml

from millrace.api import keys, resources
from millrace.clients.scrape import ScrapeFailed
from millrace.clients.store import Store
from millrace.contract import environment, erasure, report, task
from millrace.contract.report import Measurement, SnapshotOutcome, SnapshotReport, TrainingOutcome, TrainingReport

from .client import Answer, Api
from .schema import Manifest

PERIOD_SECONDS = 0.2
LONGEST_VARIABLE = 128 * 1024
"""Bytes of one environment variable with its name: Linux starts no program with a longer one (MAX_ARG_STRLEN)."""
VALUES = {"rmse": "3.5", "mae": "2.5", "brier": "0.1", "log_loss": "0.4"}


class Node:
    """Starts every pod of a namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._started: set[str] = set()
        self._addresses = itertools.count(256)
        self.routers: dict[str, str] = {}
        """Address -> Deployment."""
        self.unstartable: list[str] = []
        """Pods that no kernel would start."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            fresh = [pod for pod in await self._list() if self._is_fresh(pod)]
            for pod in fresh:
                self._started.add(pod["metadata"]["uid"])
            await asyncio.gather(*(self._start(pod) for pod in fresh))
            await asyncio.sleep(PERIOD_SECONDS)

    async def _list(self) -> list[Manifest]:
        try:
            answer = await self._api.send("GET", self._pods, params={"resourceVersion": "0"})
        except (aiohttp.ClientError, TimeoutError):
            return []
        return answer.body.get("items") or []

    def _is_fresh(self, pod: Manifest) -> bool:
        return "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["uid"] not in self._started

    async def _start(self, pod: Manifest) -> None:
        metadata = pod["metadata"]
        if _longest_variable(pod) > LONGEST_VARIABLE:
            self.unstartable.append(metadata["name"])
        answered = ANSWERS.get(metadata["labels"].get(keys.COMPONENT, ""))
        status = _ended(pod, answered(_task(pod))) if answered is not None else self._running(pod)
        path = f"{self._pods}/{metadata['name']}/status"
        try:
            told = await self._api.send("PATCH", path, {"status": status}, content="application/merge-patch+json")
        except (aiohttp.ClientError, TimeoutError):
            told = Answer(503, {})
        if not told.ok and told.code != 404:
            self._started.discard(metadata["uid"])

    def _running(self, pod: Manifest) -> Manifest:
        number = next(self._addresses)
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        labels = pod["metadata"]["labels"]
        if labels.get(keys.COMPONENT) == "router":
            self.routers[address] = labels[keys.DEPLOYMENT]
        return {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {**_named(one), "ready": True, "state": {"running": {}}} for one in pod["spec"]["containers"]
            ],
        }


def _named(container: Manifest) -> Manifest:
    return {"name": container["name"], "image": "i", "imageID": "i", "ready": False, "restartCount": 0}


def _ended(pod: Manifest, message: str) -> Manifest:
    told = {"exitCode": 0, "reason": "Completed"}
    done = {"terminated": told}
    inits = pod["spec"].get("initContainers", ())
    return {
        "phase": "Succeeded",
        "initContainerStatuses": [{**_named(one), "state": done} for one in inits],
        "containerStatuses": [
            {**_named(one), "state": {"terminated": {**told, "message": message}}} for one in pod["spec"]["containers"]
        ],
    }


def _task(pod: Manifest) -> Manifest:
    found: Manifest = json.loads(task.unpack(pod["metadata"]["annotations"][task.ANNOTATION]))
    return found


def _longest_variable(pod: Manifest) -> int:
    containers = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    variables = (one for container in containers for one in container.get("env", ()))
    return max((len(f"{one['name']}={one.get('value', '')}".encode()) + 1 for one in variables), default=0)


def _snapshot(task: Manifest) -> str:
    """Frozen content that is a function of the spec, so the seed's content comes back with the seed."""
    asked = {name: value for name, value in task.items() if name != "previous"}
    digest = "sha256:" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    previous = task.get("previous") or {}
    outcome = SnapshotOutcome.UNCHANGED if previous.get("digest") == digest else SnapshotOutcome.FROZEN
    asked_to_forget = task.get("erasure") or {}
    erased = None
    if asked_to_forget.get("ids"):
        listed = erasure.of_list(asked_to_forget["field"], asked_to_forget["ids"])
        erased = erasure.ErasureReport(listed, ids=len(asked_to_forget["ids"]), rows=0)
    made = SnapshotReport(
        outcome, digest=digest, source_digest=digest, uri="s3://millrace/d/", rows=1000, bytes=9999, erasure=erased
    )
    return report.termination_message(made)


def _training(task: Manifest) -> str:
    tensor = report.Tensor("numeric", "FP32", (-1, 4))
    digest = "sha256:" + hashlib.sha256(task["runUid"].encode()).hexdigest()
    metrics = tuple(Measurement(name, VALUES.get(name, "0.8")) for name in task["evaluation"]["metrics"])
    made = TrainingReport(
        TrainingOutcome.SUCCEEDED,
        artifact=report.Artifact("s3://millrace/model.onnx", digest, 1234),
        signature=report.Signature((tensor,), (tensor,)),
        golden_set_uri="s3://millrace/golden.json",
        reference_profile_uri="s3://millrace/profile.json",
        metrics=metrics,
        champion_metrics=metrics if task.get("champion") else (),
    )
    return report.termination_message(made)


ANSWERS = {"snapshot": _snapshot, "training": _training}


class Routers:
    """Answers what Envoy with the files of its ConfigMap answers. Servers count nothing."""

    def __init__(self, node: Node, namespace: str) -> None:
        self._node = node
        self._namespace = namespace
        self.store: Store | None = None

    async def fetch(self, host: str, port: int, path: str) -> str:
        """A page. Raises ScrapeFailed for an address that is no router's."""
        name = self._node.routers.get(host)
        files = self._files(name) if name is not None and port == environment.ROUTER_STATS_PORT else None
        if files is None:
            raise ScrapeFailed("nobody answers there")
        if path == "/generation":
            hosts = yaml.safe_load(files["rds.yaml"])["resources"][0]["virtual_hosts"]
            route = next(host for host in hosts if host["name"] == "generation")["routes"][0]
            return str(route["direct_response"]["body"]["inline_string"])
        clusters = [one["name"] for one in yaml.safe_load(files["cds.yaml"])["resources"]]
        return "\n".join(f'envoy_cluster_membership_healthy{{envoy_cluster_name="{name}"}} 1' for name in clusters)

    def _files(self, name: str) -> dict[str, Any] | None:
        assert self.store is not None
        found = self.store.get(resources.CONFIG_MAPS, self._namespace, f"{name}-router")
        return found["data"] if found is not None else None
