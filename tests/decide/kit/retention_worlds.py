"""A namespace whose Dataset keeps only so much: its runs, Models and Deployments, the files of all, and an operator.

Passes are the operator's own: observed through a cache, decided, carried out in the order of the executor; it may die
after each of its writes. Around it are a kubelet that looks at the source and erases, and people.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.api import keys, resources
from millrace.api.base import rfc3339
from millrace.api.dataset import Dataset
from millrace.api.resources import ResourceType
from millrace.clients.store import Store
from millrace.clients.world import World
from millrace.contract import places, task
from millrace.contract.environment import SnapshotTask
from millrace.contract.removal import EraseOutcome, EraseReport, EraseTask
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import dataset as decisions
from millrace.decide.plan import Plan
from millrace.observe import dataset as observing
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM, Crash
from observed_worlds import _Live

NAMESPACE, STORE = "ml", PLATFORM.store_uri
Manifest = dict[str, Any]
Name = tuple[ResourceType, str]
KEEP = {"mode": "Delete", "gracePeriod": "1m", "versionHistoryLimit": 3, "modelHistoryLimit": 3}


def digest(content: str) -> str:
    """Of a version that was frozen of that content."""
    return f"sha256:{content.encode().hex():0<64}"[:71]


def is_true(kind: str, reason: str = "x") -> Manifest:
    return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2026-11-21T00:00:00Z"}


@dataclass
class Namespace:
    """The Dataset `churn`, and whatever is made of it."""

    objects: dict[Name, Manifest] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    """URIs in the store."""
    now: datetime = field(default_factory=lambda: datetime.fromisoformat("2026-11-21T08:00:00+00:00"))
    steady_since: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    """Since when the clock has not been set."""
    content: str = "v1"
    """What lies at the source."""
    writes: int = 0
    dies_after: int | None = None
    """The operator dies after that many writes."""
    log: list[str] = field(default_factory=list)
    """What was done, in order: `delete Model churn-1`, `erase <folder>`."""
    before_write: Callable[[Namespace, str], None] = lambda _, __: None
    """What people do just before a write of the operator; it is told what is written."""
    stale: dict[Name, Manifest] = field(default_factory=dict)
    """What the cache still shows in place of an object."""
    unseen: set[Name] = field(default_factory=set)
    """What the cache does not show yet."""
    erasing_fails: EraseReport | None = None
    elsewhere: list[Manifest] = field(default_factory=list)
    """Objects of other namespaces."""

    # --- objects

    def put(
        self, resource: ResourceType, name: str, spec: Manifest, status: Manifest | None = None, **more: Any
    ) -> Manifest:
        version = str(1 + max((int(one["metadata"]["resourceVersion"]) for one in self.objects.values()), default=0))
        made = make_manifest(
            resource, name, namespace=NAMESPACE, spec=spec, status=status or {}, version=version, **more
        )
        made["metadata"]["creationTimestamp"] = rfc3339(self.now)
        self.objects[resource, name] = made
        return made

    def touch(self, resource: ResourceType, name: str, **parts: Any) -> None:
        """Change top-level parts of an object, as a write to it does."""
        known = self.objects[resource, name]
        version = str(1 + max(int(one["metadata"]["resourceVersion"]) for one in self.objects.values()))
        metadata = {**known["metadata"], "resourceVersion": version}
        self.objects[resource, name] = {**known, **copy.deepcopy(parts), "metadata": metadata}

    def dataset(self, retention: Manifest | None = KEEP, **spec: Any) -> None:
        """It is created, or its spec changes."""
        filled = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV", **spec}
        if retention is not None:
            filled["retention"] = retention
        if (resources.DATASETS, "churn") not in self.objects:
            self.put(resources.DATASETS, "churn", filled)
            return
        known = self.objects[resources.DATASETS, "churn"]
        known["metadata"]["generation"] += 1
        self.touch(resources.DATASETS, "churn", spec=filled)

    @property
    def status(self) -> Manifest:
        found: Manifest = self.objects[resources.DATASETS, "churn"].get("status") or {}
        return found

    @property
    def retention(self) -> Manifest:
        found: Manifest = self.status.get("retention") or {}
        return found

    def planned(self) -> list[str]:
        return [f"{one['kind']} {one['name']}" for one in self.retention.get("planned") or ()]

    def names(self, resource: ResourceType) -> list[str]:
        return sorted(name for kind, name in self.objects if kind is resource)

    def versions(self) -> list[int]:
        known = [*(self.status.get("versions") or ()), *(self.status.get("olderVersions") or ())]
        return sorted(one["version"] for one in known)

    def pruned(self) -> tuple[str, str]:
        found = next((one for one in self.status["conditions"] if one["type"] == "Pruned"), {})
        return found.get("status", ""), found.get("reason", "")

    def freeze(self, count: int) -> None:
        """So many versions are frozen, one after another, by hand: what a look answers is another story."""
        for _ in range(count):
            number = 1 + max(self.versions(), default=0)
            made = self._version(number, f"v{number}")
            versions = [made, *(self.status.get("versions") or ())][:20]
            status = {**self.status, "current": made, "versions": versions}
            self.touch(resources.DATASETS, "churn", status=status)
            self.files |= {f"{made['uri']}{name}" for name in ("manifest.json", "train.parquet")}

    def _version(self, number: int, content: str) -> Manifest:
        uri = places.version(STORE, NAMESPACE, "churn", digest(content))
        return {
            "version": number, "digest": digest(content), "uri": uri, "rows": 100, "bytes": 1000,
            "createdTime": rfc3339(self.now),
        }  # fmt: skip

    def run(self, number: int, *, on: int | None = None, ends: str = "Complete", **more: Any) -> str:
        """A run that has ended, with its files, and the Model that it made: `churn-<number>`, not approved."""
        name, uid = f"run-{number}", f"uid-run-{number}"
        on = number if on is None else on
        folder = places.run(STORE, NAMESPACE, "churn", uid)
        resolved: Manifest = {
            "dataset": {"name": "churn", "version": on, "digest": digest(f"v{on}")},
            "datasetUri": places.version(STORE, NAMESPACE, "churn", digest(f"v{on}")),
        }
        champion = more.pop("champion", None)
        if champion:
            resolved["champion"] = {"name": champion, "digest": digest(champion), "storageUri": "s3://x/y"}
        status: Manifest = {"resolved": resolved}
        if ends:
            ended = rfc3339(self.now + timedelta(seconds=number))
            status |= {"completionTime": ended, "conditions": [is_true(ends)]}
        if ends == "Complete":
            status |= {"modelRef": {"name": f"churn-{number}"}}
        spec = {"datasetRef": {"name": "churn"}, "output": {"modelName": "churn"}}
        self.put(resources.TRAINING_RUNS, name, spec, status, uid=uid)
        if ends:
            self.files |= {f"{folder}/model.onnx", f"{folder}/golden.json"}
        if ends == "Complete":
            self.model(number, run=name, run_uid=uid, on=on, folder=folder, **more)
        return name

    def model(
        self, number: int, *, run: str = "", run_uid: str = "", on: int = 0, folder: str = "", **more: Any
    ) -> str:
        """A Model; `more` are parts of its spec, `status` is its status."""
        name = f"churn-{number}"
        status = more.pop("status", {"conditions": [{**is_true("Approved"), "status": "False"}]})
        folder = folder or f"s3://elsewhere/{name}"
        provenance: Manifest = {}
        if run:
            provenance["trainingRunRef"] = {"name": run}
        if on:
            provenance["dataset"] = {"name": "churn", "version": on, "digest": digest(f"v{on}")}
        spec = {
            "modelName": "churn",
            "version": str(number),
            "artifact": {"storageUri": f"{folder}/model.onnx", "digest": digest(name)},
            "goldenSetUri": f"{folder}/golden.json",
            "referenceProfileUri": f"{folder}/profile.json",
            "provenance": provenance,
            "approvalPolicy": {"required": 1, "distinctFromAuthor": True},
            **more,
        }
        labels = {keys.TRAINING_RUN_UID: run_uid} if run_uid else {}
        self.put(resources.MODELS, name, spec, status, labels=labels)
        return name

    def change_model(self, number: int, *, status: Manifest | None = None, **spec: Any) -> None:
        known = self.objects[resources.MODELS, f"churn-{number}"]
        parts = {"spec": {**known["spec"], **spec}, "status": status if status is not None else known["status"]}
        self.touch(resources.MODELS, f"churn-{number}", **parts)

    def approve(self, number: int, decision: str = "Approve") -> None:
        """A person says so; the operator has not counted it yet."""
        known = self.objects[resources.MODELS, f"churn-{number}"]["spec"]
        entry = {"user": "bob", "decision": decision, "digest": known["artifact"]["digest"]}
        self.change_model(number, approvals=[*known.get("approvals", ()), entry])

    def deployment(self, spec: Manifest | None = None, status: Manifest | None = None, name: str = "d") -> None:
        self.put(resources.DEPLOYMENTS, name, spec or {"modelSelector": {"modelName": "churn"}}, status)

    # --- the operator

    def world(self) -> World:
        cached, live = Store(), Store()
        for (resource, name), manifest in self.objects.items():
            live.put(resource, manifest)
            if (resource, name) not in self.unseen:
                cached.put(resource, self.stale.get((resource, name), manifest))
        for manifest in self.elsewhere:
            cached.put(resources.of(manifest), manifest)
        settings = Settings(namespace="millrace-system", watch=NAMESPACE, **PLATFORM.model_dump())
        world = World(cached, _Live(live), ManualClock(self.now), settings)
        world.steadiness._since = self.steady_since
        return world

    def plan(self) -> Plan:
        """What a pass decides."""
        seen = asyncio.run(observing.observe(self.world(), NAMESPACE, "churn"))
        assert seen is not None
        return decisions.decide(seen)

    def pass_once(self) -> Plan:
        """Observe, decide, write. Raises Crash when it is time to die."""
        plan = self.plan()
        for child in plan.children:
            self._write(f"create {child['kind']} {child['metadata']['name']}", lambda one=child: self._create(one))
        for delete in plan.deletes:
            if not self._delete(delete):
                return plan
        if plan.status is not None and plan.status != self.status:
            status = plan.status
            self._write("status", lambda: self.touch(resources.DATASETS, "churn", status=status))
        return plan

    def _delete(self, delete: Any) -> bool:
        what = f"delete {delete.resource.kind} {delete.name}"
        self.before_write(self, what)
        live = self.objects.get((delete.resource, delete.name))
        if live is None or live["metadata"]["uid"] != delete.uid:
            return True
        if delete.resource_version not in ("", live["metadata"]["resourceVersion"]):
            return False
        if delete.resource is not resources.JOBS:
            self.log.append(what)
        self._write(what, lambda: self.objects.pop((delete.resource, delete.name)), told=True)
        return True

    def _write(self, what: str, act: Callable[[], object], *, told: bool = False) -> None:
        if not told:
            self.before_write(self, what)
        act()
        self.writes += 1
        if self.writes == self.dies_after:
            self.dies_after = None
            raise Crash(what)

    def _create(self, child: Manifest) -> None:
        if (resources.JOBS, child["metadata"]["name"]) in self.objects:
            return
        made = copy.deepcopy(child)
        made["metadata"] |= {"uid": f"uid-{child['metadata']['name']}", "resourceVersion": "1"}
        made["metadata"]["creationTimestamp"] = rfc3339(self.now)
        made["status"] = {}
        self.objects[resources.JOBS, child["metadata"]["name"]] = made

    # --- what happens around it

    def kubelet(self) -> None:
        """Every Job that has not ended does its work and ends."""
        jobs = {name: one for (kind, name), one in self.objects.items() if kind is resources.JOBS}
        for job in [
            one for name, one in jobs.items() if not one["status"] and (resources.JOBS, name) not in self.unseen
        ]:
            text = task.unpack(job["spec"]["template"]["metadata"]["annotations"][task.ANNOTATION])
            component = job["metadata"]["labels"][keys.COMPONENT]
            said = self._erase(EraseTask.from_json(text)) if component == "retention" else self._look(text)
            self._end(job, said.to_json())

    def _end(self, job: Manifest, said: str) -> None:
        name = job["metadata"]["name"]
        ended = {"terminated": {"exitCode": 0, "message": said}}
        container = job["spec"]["template"]["spec"]["containers"][0]["name"]
        uid = job["metadata"]["uid"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        pod = make_manifest(
            resources.PODS, f"{name}-x", namespace=NAMESPACE, spec={"containers": [{"name": container}]},
            status={"phase": "Succeeded", "containerStatuses": [{"name": container, "state": ended}]},
            labels={"batch.kubernetes.io/job-name": name},
        )  # fmt: skip
        pod["metadata"]["ownerReferences"] = [owner]
        self.objects[resources.PODS, f"{name}-x"] = pod
        done = {"type": "Complete", "status": "True"}
        self.touch(resources.JOBS, name, status={"conditions": [done], "completionTime": rfc3339(self.now)})

    def _erase(self, told: EraseTask) -> EraseReport:
        if self.erasing_fails is not None:
            return self.erasing_fails
        gone = {uri for uri in self.files for folder in told.folders if places.is_in(uri, folder)}
        self.files -= gone
        self.log += [f"erase {folder}" for folder in told.folders]
        return EraseReport(EraseOutcome.ERASED, objects=len(gone), bytes=10 * len(gone))

    def _look(self, text: str) -> SnapshotReport:
        told, frozen = SnapshotTask.from_json(text), digest(self.content)
        if told.previous is not None and told.previous.digest == frozen:
            return SnapshotReport(SnapshotOutcome.UNCHANGED, digest=frozen, rows=100)
        uri = places.version(STORE, NAMESPACE, "churn", frozen)
        self.files |= {f"{uri}{name}" for name in ("manifest.json", "train.parquet")}
        return SnapshotReport(SnapshotOutcome.FROZEN, digest=frozen, uri=uri, rows=100, bytes=1000)

    def collect(self) -> None:
        """The garbage collector: pods go with their Job."""
        there = {one["metadata"]["uid"] for one in self.objects.values()}
        for key in [key for key in self.objects if key[0] is resources.PODS]:
            owner = self.objects[key]["metadata"]["ownerReferences"][0]["uid"]
            if owner not in there:
                del self.objects[key]

    def settle(self, passes: int = 60, seconds: float = 20.0) -> None:
        """Pass after pass, the operator started again where it dies, until a pass writes nothing and no Job goes on."""
        for _ in range(passes):
            before = self.writes
            try:
                self.pass_once()
            except Crash:
                before = -1
            self.kubelet()
            self.collect()
            self.now += timedelta(seconds=seconds)
            waits = self.retention.get("planned") and self.spec_retention().get("mode") == "Delete"
            going = self.retention.get("deletion") or any(kind is resources.JOBS for kind, _ in self.objects)
            if self.writes == before and not waits and not going:
                return
        raise AssertionError(f"it does not come to rest: {self.log[-5:]} {self.retention}")

    def settle_looks(self, passes: int = 20) -> None:
        """Pass after pass at one moment, until the source was looked at and nothing is left of it."""
        for _ in range(passes):
            self.pass_once()
            looks = [name for kind, name in self.objects if kind is resources.JOBS and "-snapshot-" in name]
            self.collect()
            if self.status.get("current") and not self.status.get("jobName") and not looks:
                return
            self.kubelet()
        raise AssertionError("the source is not looked at to the end")

    def spec_retention(self) -> Manifest:
        found: Manifest = self.objects[resources.DATASETS, "churn"]["spec"].get("retention") or {}
        return found

    def typed(self) -> Dataset:
        return Dataset.model_validate(self.objects[resources.DATASETS, "churn"])

    def end(self) -> Manifest:
        """What is there, times aside."""
        kept = {name: self.retention.get(name) for name in ("planned", "kept", "deletion", "deleted", "bytesFreed")}
        names = sorted(f"{kind.kind} {name}" for kind, name in self.objects)
        return {"objects": names, "versions": self.versions(), "files": sorted(self.files), "told": kept}
