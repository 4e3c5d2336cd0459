"""What the burst does not show: the writes of a TrainingRun, and how long nobody writes once the leader was killed."""

from __future__ import annotations

import asyncio
import functools
import signal
import time
from typing import Any

from millrace import errors
from millrace.api import keys, resources
from millrace.clients.kube import JSON, MERGE, Kube
from millrace.contract import report as reports
from millrace.contract.report import (
    Measurement,
    SnapshotOutcome,
    SnapshotReport,
    TrainingOutcome,
    TrainingReport,
)
from millrace_cluster.failure import ClusterError
from millrace_scale import audit, contenders
from millrace_scale.contenders import Manifest
from millrace_scale.plane import running
from millrace_scale.run import Bench, until

DIGEST = f"sha256:{1:064x}"
WHOLE = next(one for one in contenders.ALL if one.name == "millrace")
RUNS = 10
SECONDS = 60.0


async def measure(bench: Bench, *, kills: int) -> dict[str, float]:
    """All of it. Raises ClusterError if something does not happen within a minute."""
    return {**await training_runs(bench), **await failover(bench, kills)}


async def training_runs(bench: Bench, namespace: str = "runs") -> dict[str, float]:
    """Writes of ours for a TrainingRun, from apply to done; Jobs' pods say what real ones would, stage by stage."""
    bench.plane.namespace(namespace)
    command, environment = WHOLE.start(bench.plane, namespace)
    async with Kube(bench.identity) as kube:
        with running(bench.plane, "millrace", command, **environment):
            await kube.create(resources.DATASETS, _dataset(namespace))
            await _play(kube, namespace, {keys.DATASET: "data"}, [_done(snapshot=_frozen())])
            await until(lambda: _holds(kube, resources.DATASETS, namespace, "data", "Ready"), "the Dataset is frozen")
            await asyncio.sleep(3)
            log = audit.Log(bench.plane.audit_log)
            for number in range(RUNS):
                name = f"run-{number}"
                await kube.create(resources.TRAINING_RUNS, _run(namespace, name))
                stages = [_states("Pending", fetch=_ENDED, train=_RUNNING),
                          _states("Running", fetch=_ENDED, train=_ENDED, evaluate=_RUNNING),
                          _done(fetch="", train="", evaluate=_measured(number))]  # fmt: skip
                await _play(kube, namespace, {keys.TRAINING_RUN: name}, stages)
                done = functools.partial(_holds, kube, resources.TRAINING_RUNS, namespace, name, "Complete")
                await until(done, f"{name} is over")
            await asyncio.sleep(3)
            own = audit.of(log.read(), "millrace", namespace)
    ours = [one for one in own if one.resource in ("trainingruns", "jobs") or (one.makes and one.resource == "models")]
    events = [one for one in own if one.resource == audit.EVENTS]
    return {
        "writes for a TrainingRun, from apply to done": len(ours) / RUNS,
        "Events for a TrainingRun and its Model": len(events) / RUNS,
        "further writes, the Model's own status": (len(own) - len(ours) - len(events)) / RUNS,
    }


async def failover(bench: Bench, kills: int, namespace: str = "failover") -> dict[str, float]:
    """Seconds from SIGKILL of the leader to the first child that its successor writes."""
    bench.plane.namespace(namespace)
    command, environment = WHOLE.start(bench.plane, namespace)
    waits = []
    async with Kube(bench.identity) as kube:
        log = audit.Log(bench.plane.audit_log)
        leader = bench.plane.spawn("millrace", command, **environment)
        await until(lambda: _any(log, namespace, audit.LEASES), "somebody leads")
        for number in range(kills):
            standby = bench.plane.spawn("millrace", command, **environment)
            await asyncio.sleep(6)  # its cache is complete and it has seen the lease
            leader.send_signal(signal.SIGKILL)
            leader.wait()
            killed = time.time()
            await kube.create(resources.DEPLOYMENTS, contenders.deployment(number, namespace))
            log.read()
            await until(lambda: _any(log, namespace, "deployments"), "the successor writes")
            waits.append(time.time() - killed)
            leader = standby
        bench.plane.stop(leader)
    waits.sort()
    return {
        f"leader killed to next write, s, median of {kills}": waits[len(waits) // 2],
        f"leader killed to next write, s, worst of {kills}": waits[-1],
    }


def _any(log: audit.Log, namespace: str, resource: str) -> bool:
    return any(one.user == "millrace" and one.namespace == namespace and one.resource == resource and one.is_effective
               for one in log.read())  # fmt: skip


async def _holds(kube: Kube, resource: Any, namespace: str, name: str, kind: str) -> bool:
    found = await kube.get(resource, namespace, name)
    held = (found.get("status") or {}).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == "True" for one in held)


async def _play(kube: Kube, namespace: str, labels: dict[str, str], stages: list[Manifest]) -> None:
    """Be the kubelet of a Job's one pod."""

    async def pod() -> Manifest | None:
        found = await kube.list(resources.PODS, namespace, labels)
        return found[0] if found else None

    found = await until(pod, f"a pod with {labels}")
    for status in stages:
        path = resources.PODS.path(namespace, found["metadata"]["name"], "status")
        try:
            await kube._request("PATCH", path, {}, {"status": status}, MERGE, {"Accept": JSON})
        except errors.NotFound as error:
            raise ClusterError("a pod went before it was done", str(error)) from error
        await asyncio.sleep(1.0)


_ENDED: Manifest = {"terminated": {"exitCode": 0, "reason": "Completed"}}
_RUNNING: Manifest = {"running": {}}


def _states(phase: str, **states: Manifest) -> Manifest:
    told = [{"name": name, "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}
            for name, state in states.items()]  # fmt: skip
    main = "evaluate" if "fetch" in states else "snapshot"
    return {
        "phase": phase,
        "initContainerStatuses": [one for one in told if one["name"] != main],
        "containerStatuses": [one for one in told if one["name"] == main],
    }


def _done(**words: str) -> Manifest:
    ended = {name: {"terminated": {**_ENDED["terminated"], "message": text}} for name, text in words.items()}
    return _states("Succeeded", **ended)


def _frozen() -> str:
    return SnapshotReport(
        SnapshotOutcome.FROZEN, digest=DIGEST, source_digest=DIGEST, uri="s3://millrace/d/", rows=100, bytes=999
    ).to_json()


def _measured(number: int) -> str:
    tensor = reports.Tensor("numeric", "FP32", (-1, 4))
    return TrainingReport(
        TrainingOutcome.SUCCEEDED,
        artifact=reports.Artifact("s3://millrace/model.onnx", f"sha256:{number:064x}", 1234),
        signature=reports.Signature((tensor,), (tensor,)),
        golden_set_uri="s3://millrace/golden.json",
        reference_profile_uri="s3://millrace/profile.json",
        metrics=(Measurement("roc_auc", "0.7"),),
    ).to_json()


def _dataset(namespace: str) -> Manifest:
    spec = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
    return _object("Dataset", namespace, "data", spec)


def _run(namespace: str, name: str) -> Manifest:
    spec = {
        "author": "maker",
        "datasetRef": {"name": "data"},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {"metrics": ["roc_auc"]},
        "output": {"modelName": name},
    }
    return _object("TrainingRun", namespace, name, spec)


def _object(kind: str, namespace: str, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": keys.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
