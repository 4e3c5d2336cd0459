"""A node for the pods of one namespace: starts them, lets them say what they have to say, and lets them go.

What a pod does follows from its own specification and from the `Script`: a snapshot reads the `Source` at its URI, a
training run does what its `spec.parameters` say (`auc`, `crash`, `refuse`, `hang`), one that erases says that it has, a
server does what `Behaviour` says of its digest. A pod that is made again does the same again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from millrace import errors
from millrace.api import keys, resources
from millrace.clients.clock import Clock
from millrace.clients.kube import JSON, MERGE, Kube
from millrace.clients.store import Manifest
from millrace.contract import report
from millrace.contract.environment import SnapshotTask, TrainingTask
from millrace.contract.removal import EraseOutcome, EraseReport, EraseTask
from millrace.contract.report import (
    FailedRule,
    Measurement,
    SnapshotOutcome,
    SnapshotReport,
    StageFailure,
    TrainingOutcome,
    TrainingReport,
)

from .envoy import Behaviour, Envoys, environment_of, task_of

NODE: Final = "harness"
MANAGED: Final = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}
JOBS: Final = ("snapshot", "training", "retention")
"""Components whose pods do something and end."""
JOB_NAME: Final = "batch.kubernetes.io/job-name"
ROWS: Final = 1000
KILLED: Final = 137
Pulse = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Source:
    """What lies at a URI: some bytes, or a reason why a snapshot refuses them."""

    content: str = ""
    problem: str = ""
    """A reason of `millrace.contract.reasons`."""
    shape: str = "old"
    """Which rows a model trained on it knows: see `envoy.SHAPES`."""
    quality: str = ""
    """The area under the curve of every model trained on it; empty: as the run says."""
    hangs: bool = False
    """Reading it never ends."""


@dataclass
class Script:
    """What the world outside the cluster is like. Where no source lies, nothing does."""

    sources: dict[str, Source] = field(default_factory=dict)
    frozen: dict[str, Source] = field(default_factory=dict)
    """What every frozen version was read from, by digest."""


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds."""

    poll: float = 0.25
    start: float = 0.4
    """From a pod to its being ready."""
    stage: float = 0.4
    """Each container of a Job's pod."""
    stop: float = 0.4
    """From a pod's deletion to its end."""
    lag: float = 0.3
    """From a volume's change to a router's applying it."""
    patience: float = 900.0
    """How long people wait for what they expect."""


def digest_of(*parts: str) -> str:
    """A digest that follows from what it is of."""
    return f"sha256:{hashlib.sha256('/'.join(parts).encode()).hexdigest()}"


class Kubelet:
    """`run` is its whole life. Writes only what changed."""

    def __init__(
        self, kube: Kube, namespace: str, clock: Clock, script: Script, envoys: Envoys, pace: Pace, pulse: Pulse
    ) -> None:
        self.kube, self.namespace, self.clock = kube, namespace, clock
        self.script, self.envoys, self.pace, self.pulse = script, envoys, pace, pulse
        self.frozen: set[str] = set()
        """Components whose pods do not start: nothing is said of them until they are taken out."""
        self._born: dict[str, float] = {}
        self._doomed: dict[str, float] = {}
        self._said: dict[str, Manifest] = {}
        self._addresses: dict[str, str] = {}

    async def run(self) -> None:
        """Look after the pods until cancelled."""
        while True:
            try:
                busy = await self.look()
            except errors.ApiError:
                busy = True
            await self.pulse(self.pace.poll if busy else 4 * self.pace.poll)

    async def look(self) -> bool:
        """One look at every pod; whether something is under way."""
        pods = await self.kube.list(resources.PODS, self.namespace, MANAGED)
        files = await self.kube.list(resources.CONFIG_MAPS, self.namespace, MANAGED)
        known = {pod["metadata"]["uid"] for pod in pods}
        for memory in (self._born, self._doomed, self._said, self._addresses):
            for uid in [uid for uid in memory if uid not in known]:
                del memory[uid]
        mounted = {one["metadata"]["name"] for one in files}
        moving = False
        for pod in sorted(pods, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"])):
            moving = await self._tend(pod, pods, mounted) or moving
        self.envoys.look(pods, files, self.clock.monotonic())
        return moving or not self.envoys.is_settled()

    async def _tend(self, pod: Manifest, pods: list[Manifest], mounted: set[str]) -> bool:
        """One pod, one step; whether it has more to do."""
        uid, now = pod["metadata"]["uid"], self.clock.monotonic()
        if "deletionTimestamp" in pod["metadata"]:
            due = self._doomed.setdefault(uid, now + self.pace.stop)
            if now >= due:
                await self._end(pod)
            return True
        if not pod["spec"].get("nodeName"):
            await self._bind(pod)
            return True
        component = _label(pod, keys.COMPONENT)
        volumes = [one["configMap"]["name"] for one in pod["spec"].get("volumes") or () if "configMap" in one]
        if component in self.frozen or not set(volumes) <= mounted:
            return True
        age = now - self._born.setdefault(uid, now)
        status, done = self._status(pod, component, age, pods)
        if self._said.get(uid) != status:
            await self._say(pod, status)
            self._said[uid] = status
        return not done

    def _status(self, pod: Manifest, component: str, age: float, pods: list[Manifest]) -> tuple[Manifest, bool]:
        """What is true of a pod of that age, and whether that is the end of it."""
        if component in JOBS:
            return self._job_status(pod, component, age, pods)
        address = self._addresses.setdefault(pod["metadata"]["uid"], self._free_address())
        behaviour = self.envoys.behaviour(environment_of(pod).get("MILLRACE_DIGEST", ""))
        if age < self.pace.start:
            return _running(pod, address, ready=False), False
        if component == "server" and behaviour.trouble:
            return _crashing(pod, address, behaviour), True
        return _running(pod, address, ready=True), True

    def _free_address(self) -> str:
        taken = set(self._addresses.values())
        return next(one for one in (f"10.9.{n // 250}.{n % 250 + 2}" for n in range(60000)) if one not in taken)

    def _job_status(self, pod: Manifest, component: str, age: float, pods: list[Manifest]) -> tuple[Manifest, bool]:
        names = [one["name"] for key in ("initContainers", "containers") for one in pod["spec"].get(key) or ()]
        script = self._script(pod, component, pods)
        states: dict[str, Manifest] = {}
        for index, name in enumerate(names):
            code, message, hangs = script.get(name, (0, "", False))
            if age < (index + 1) * self.pace.stage or hangs:
                return _job_pod(pod, {**states, name: {"running": {}}}, names), False
            states[name] = _ended(code, message)
            if code:
                return _job_pod(pod, states, names, "Failed"), True
        return _job_pod(pod, states, names, "Succeeded"), True

    def _script(self, pod: Manifest, component: str, pods: list[Manifest]) -> dict[str, tuple[int, str, bool]]:
        """By container: its exit code, what it says, and whether it never ends."""
        if component == "retention":
            folders = EraseTask.from_json(task_of(pod)).folders
            done = EraseReport(EraseOutcome.ERASED, objects=len(folders), bytes=ROWS * len(folders))
            return {"erase": (0, done.to_json(), False)}
        return self._snapshot(pod) if component == "snapshot" else self._training(pod, pods)

    def _snapshot(self, pod: Manifest) -> dict[str, tuple[int, str, bool]]:
        task = SnapshotTask.from_json(task_of(pod))
        source = self.script.sources.get(task.spec.source.storage_uri, Source(problem="SourceNotFound"))
        return {"snapshot": (0, self._snapshot_report(task, source).to_json(), source.hangs)}

    def _snapshot_report(self, task: SnapshotTask, source: Source) -> SnapshotReport:
        if source.problem:
            broken = (FailedRule("enough", "3", "There are 3 rows."),) if source.problem == "RuleViolated" else ()
            words = f"It is refused: {source.problem}."
            return SnapshotReport(
                SnapshotOutcome.REJECTED, source.problem, words, rules_failed=len(broken), failed_rules=broken, rows=3
            )
        read = digest_of("source", source.content)
        if task.previous is not None and task.previous.source_digest == read:
            return SnapshotReport(SnapshotOutcome.UNCHANGED, source_digest=read, rows=ROWS)
        frozen = digest_of("dataset", source.content)
        self.script.frozen[frozen] = source
        uri = f"{task.store_uri}/datasets/{task.namespace}/{task.name}/{frozen[7:23]}/"
        return SnapshotReport(
            SnapshotOutcome.FROZEN, digest=frozen, source_digest=read, uri=uri, rows=ROWS, bytes=64 * ROWS
        )

    def _training(self, pod: Manifest, pods: list[Manifest]) -> dict[str, tuple[int, str, bool]]:
        task = TrainingTask.from_json(task_of(pod))
        told = {name: str(value) for name, value in task.spec.parameters.items()}
        if "refuse" in told:
            words = StageFailure("train", told["refuse"], "The trainer refuses its parameters.").to_json()
            return {"train": (report.EXIT_VERDICT, words, False)}
        if "hang" in told:
            return {told["hang"]: (0, "", True)}
        if _failed_before(pod, pods) < int(told.get("crash", "0")):
            return {"train": (1, "Killed by the script.", False)}
        return {"evaluate": (0, self._training_report(task, told).to_json(), False)}

    def _training_report(self, task: TrainingTask, told: dict[str, str]) -> TrainingReport:
        """The same data and parameters make the same model."""
        name = task.spec.output.model_name
        made = digest_of("model", name, task.dataset.digest, *(f"{key}={told[key]}" for key in sorted(told)))
        source = self.script.frozen.get(task.dataset.digest, Source())
        self.envoys.behaviours.setdefault(made, Behaviour(reference=source.shape))
        root = f"{task.store_uri}/models/{task.namespace}/{name}/{task.run_uid}"
        tensor = report.Tensor("numeric", "FP32", (-1, 4))
        compared = (Measurement("roc_auc", "0.7"),) if task.champion is not None else ()
        return TrainingReport(
            TrainingOutcome.SUCCEEDED,
            artifact=report.Artifact(f"{root}/model.onnx", made, 1234),
            signature=report.Signature((tensor,), (report.Tensor("label", "INT64", (-1,)),)),
            golden_set_uri=f"{root}/golden.json",
            reference_profile_uri=f"{root}/profile.json",
            metrics=(Measurement("roc_auc", source.quality or told.get("auc", "0.7")),),
            champion_metrics=compared,
        )

    async def _bind(self, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = resources.PODS.path(self.namespace, name, "binding")
        try:
            await self.kube._call("create", resources.PODS, "POST", path, {}, binding, JSON, repeatable=False)
        except (errors.NotFound, errors.Conflict):
            return  # it went, or somebody was faster: the next look shows

    async def _say(self, pod: Manifest, status: Manifest) -> None:
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        path = resources.PODS.path(self.namespace, metadata["name"], "status")
        try:
            await self.kube._call("patch_status", resources.PODS, "PATCH", path, {}, body, MERGE)
        except (errors.NotFound, errors.Conflict):
            return

    async def _end(self, pod: Manifest) -> None:
        """Its containers are killed, and nothing is left of it. A Job counts one that had not ended as failed."""
        names = [one["name"] for one in pod["spec"]["containers"]]
        phase = (pod.get("status") or {}).get("phase")
        if _label(pod, keys.COMPONENT) in JOBS and phase not in ("Succeeded", "Failed"):
            await self._say(pod, _job_pod(pod, {name: _ended(KILLED, "") for name in names}, names, "Failed"))
        uid, path = pod["metadata"]["uid"], resources.PODS.path(self.namespace, pod["metadata"]["name"])
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self.kube._call("delete", resources.PODS, "DELETE", path, {}, body)
        except (errors.NotFound, errors.Conflict):
            return


def _failed_before(pod: Manifest, pods: list[Manifest]) -> int:
    """Pods of the same Job that failed already."""
    job = _label(pod, JOB_NAME)
    found = [one for one in pods if _label(one, JOB_NAME) == job and one["metadata"]["uid"] != pod["metadata"]["uid"]]
    return sum((one.get("status") or {}).get("phase") == "Failed" for one in found)


def _label(pod: Manifest, name: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(name, ""))


def _ended(code: int, message: str) -> Manifest:
    return {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}


def _container(name: str, state: Manifest, **more: Any) -> Manifest:
    return {"name": name, "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state, **more}


def _conditions(ready: bool) -> list[Manifest]:
    return [{"type": kind, "status": "True" if ready else "False"} for kind in ("ContainersReady", "Ready")]


def _scheduled(ready: bool) -> list[Manifest]:
    return [{"type": "PodScheduled", "status": "True"}, *_conditions(ready)]


def _running(pod: Manifest, address: str, *, ready: bool) -> Manifest:
    init = [_container(one["name"], _ended(0, "")) for one in pod["spec"].get("initContainers") or ()]
    parts = [_container(one["name"], {"running": {}}, ready=ready) for one in pod["spec"]["containers"]]
    return _up(address, ready) | {"initContainerStatuses": init, "containerStatuses": parts}


def _crashing(pod: Manifest, address: str, behaviour: Behaviour) -> Manifest:
    """It reads the model, says what is wrong, and is started again in vain."""
    words = StageFailure("serve", behaviour.trouble, "The script says so.").to_json()
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    init = [_container(one["name"], _ended(0, "")) for one in pod["spec"].get("initContainers") or ()]
    last = {"lastState": _ended(1, words), "restartCount": 1}
    parts = [_container(one["name"], waiting, **last) for one in pod["spec"]["containers"]]
    return _up(address, ready=False) | {"initContainerStatuses": init, "containerStatuses": parts}


def _up(address: str, ready: bool) -> Manifest:
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _scheduled(ready),
    }


def _job_pod(pod: Manifest, states: dict[str, Manifest], names: list[str], phase: str = "") -> Manifest:
    init = [one["name"] for one in pod["spec"].get("initContainers") or ()]
    waiting = {"waiting": {"reason": "PodInitializing"}}
    told = {name: _container(name, states.get(name, waiting)) for name in names}
    began = any(name not in init for name in states)
    return {
        "phase": phase or ("Running" if began else "Pending"),
        "conditions": _scheduled(ready=False),
        "initContainerStatuses": [told[name] for name in names if name in init],
        "containerStatuses": [told[name] for name in names if name not in init],
    }


async def forever(seconds: float) -> None:
    """The pulse of a tier that cannot say when something changed."""
    await asyncio.sleep(seconds)
