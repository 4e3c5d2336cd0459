"""A cluster made of dictionaries for the reconcile of a Deployment: servers that get ready, routers that lag, crashes.

`pass_once` is what the operator does: observe, decide, write. Everything else is what happens around it. Nothing here
imitates the API server: objects are kept as they are written.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace import api
from millrace.api import keys
from millrace.contract.router import RevisionTraffic
from millrace.decide import deployment as decision
from millrace.decide.deployment.observation import Observation, RevisionDrift, Router, Scraped, Server, Trouble
from millrace.decide.plan import Event, Plan
from millrace.observe.counting import Look, Windows
from millrace.render import quarantine
from millrace.render import server as servers
from millrace.render.pod import Platform
from millrace_kit.routers import Envoy

Manifest = dict[str, Any]
START = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
PLATFORM = Platform(
    trainer_image="trainer:1",
    server_image="server:1",
    router_image="router:1",
    store_uri="s3://millrace",
    store_secret="store",
)


def make_model(
    name: str, version: int, *, approved: bool = True, digest: str = "", inputs: int = 2, **provenance: Any
) -> api.Model:
    """`<name>-<version>`, approved by default, of one input tensor of so many features; `provenance` is the spec's."""
    digest = digest or f"sha256:{version:064x}"
    uri = f"s3://millrace/models/ml/{name}/{version}"
    return api.Model.model_validate(
        {
            "metadata": {"name": f"{name}-{version}", "namespace": "ml", "uid": f"uid-{name}-{version}"},
            "spec": {
                "modelName": name,
                "version": str(version),
                "artifact": {"storageUri": f"{uri}/model.onnx", "digest": digest},
                "signature": {
                    "inputs": [{"name": "numeric", "datatype": "FP32", "shape": [-1, inputs]}],
                    "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
                },
                "goldenSetUri": f"{uri}/golden.json",
                "referenceProfileUri": f"{uri}/profile.json",
                "provenance": provenance or None,
            },
            "status": {"conditions": [_approved(approved)]},
        }
    )


def _approved(truth: bool) -> Manifest:
    return {
        "type": "Approved",
        "status": "True" if truth else "False",
        "reason": "QuorumReached" if truth else "PendingApproval",
        "lastTransitionTime": "2026-11-21T00:00:00Z",
    }


def make_deployment(
    spec: Mapping[str, Any] | None = None, *, name: str = "churn", uid: str = "uid-churn", **more: Any
) -> api.Deployment:
    """A Deployment that follows the model `churn`; `more` are fields of the spec in their wire names."""
    wanted = dict(spec) if spec is not None else {"modelSelector": {"modelName": "churn"}}
    return api.Deployment.model_validate(
        {
            "metadata": {"name": name, "namespace": "ml", "uid": uid, "generation": 1},
            "spec": {**wanted, **more},
        }
    )


def _traffic(requests: int, errors: float, slow: float, refused: float) -> RevisionTraffic:
    """Counters of a revision whose servers answer their health check."""
    fast = requests - round(requests * slow)
    return RevisionTraffic(
        attempts=requests,
        healthy=1,
        completed=requests,
        saved=round(requests * errors),
        refused=round(requests * refused),
        latency_ms={10.0: fast, 1000.0: requests, float("inf"): requests},
    )


class Crash(Exception):
    """The operator died between two writes."""


@dataclass
class SimulatedCluster:
    """The world of one Deployment."""

    deployment: api.Deployment = field(default_factory=make_deployment)
    models: dict[str, api.Model] = field(default_factory=dict)
    now: datetime = START
    steady_since: datetime | None = None
    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    """Ready servers by revision, as the kubelet has it."""
    broken_images: dict[str, Trouble] = field(default_factory=dict)
    """By image: what servers of it say instead of getting ready."""
    broken: dict[str, Trouble] = field(default_factory=dict)
    """By digest: what its servers say instead of getting ready."""
    router_trouble: Trouble | None = None
    slow: set[str] = field(default_factory=set)
    """Digests whose servers do not get ready."""
    routers: list[Envoy] = field(default_factory=lambda: [Envoy("router-0")])
    windows: Windows = field(default_factory=Windows)
    """What the scrapes have counted; a new one is what they know after a restart."""
    drift: RevisionDrift | None = None
    policy_in_force: bool | None = True
    is_in_training: bool = False
    may_upgrade: bool = True
    running: dict[str, list[str]] = field(default_factory=dict)
    """Images of the servers of a revision: the workload controller replaces one each time the kubelet works."""
    platform: Platform = PLATFORM
    run: api.TrainingRun | None = None
    dataset: api.Dataset | None = None
    runs: list[api.TrainingRun] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    """Revisions whose servers are gone."""
    created: list[Manifest] = field(default_factory=list)
    records: dict[str, Manifest] = field(default_factory=dict)
    """What is written of quarantines, by name: it belongs to no Deployment."""
    scraped: list[Router] = field(default_factory=list)
    uids: itertools.count[int] = field(default_factory=itertools.count)

    # --- what happens around the operator

    def add(self, *models: api.Model) -> None:
        """Models appear, or are replaced."""
        for model in models:
            self.models[model.metadata.name] = model

    def change(self, **spec: Any) -> None:
        """A person edits the spec; fields by wire name, None removes one."""
        wanted = {**self.deployment.spec.wire(), **spec}
        kept = {name: value for name, value in wanted.items() if value is not None}
        self.deployment = make_deployment(kept).model_copy(
            update={
                "status": self.deployment.status,
                "metadata": self.deployment.metadata.model_copy(
                    update={"generation": self.deployment.metadata.generation + 1}
                ),
            }
        )

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    def kubelet(self) -> None:
        """Pods of every server workload get ready, unless they are broken or slow."""
        for (kind, _), found in self.objects.items():
            bundle = servers.read(found) if kind == "Deployment" else None
            if bundle is None:
                continue
            able = bundle.digest not in self.broken and bundle.digest not in self.slow
            up = self._replaced(bundle.revision, bundle.template.image, found["spec"]["replicas"])
            self.ready[bundle.revision] = up if able else 0

    def _replaced(self, revision: str, image: str, replicas: int) -> int:
        """One server of another image goes for one that reproduces the golden set under this one; how many answer."""
        images = self.running.setdefault(revision, [])
        images[:] = (images + [image] * replicas)[:replicas]
        old = next((index for index, one in enumerate(images) if one != image), None)
        if old is not None and image not in self.broken_images:
            images[old] = image
        return sum(one not in self.broken_images for one in images)

    def sync(self, *routers: Envoy) -> None:
        """These routers, by default all, read the ConfigMap."""
        found = self.objects.get(("ConfigMap", f"{self.deployment.metadata.name}-router"))
        for router in routers or tuple(self.routers):
            if found is not None:
                router.files = dict(found["data"])

    def scrape(self) -> None:
        """The operator asks every router."""
        self.scraped = [
            Router(
                pod=one.name,
                generation=one.generation,
                asked=self.now,
                healthy={revision: 1 for revision in one.clusters if self.ready.get(revision, 0) > 0},
            )
            for one in self.routers
        ]

    def serve(
        self, requests: int, *, errors: float = 0.0, slow: float = 0.0, refused: float = 0.0, everywhere: float = 0.0
    ) -> None:
        """So many requests reach the canary, if it has any weight, and as many stable as its weight says.

        These shares fail (stable saves them), take a second, or are refused by the canary; `everywhere` is the share
        that both refuse: what a caller who sends nonsense gets.
        """
        canary, stable = self.status.canary, self.status.stable
        weights = next((one.weights for one in self.routers if canary and one.weights.get(canary.revision)), None)
        if canary is None or weights is None:
            return
        page = {canary.revision: _traffic(requests, errors, slow, refused + everywhere)}
        if stable is not None:
            beside = requests * weights.get(stable.revision, 0) // weights[canary.revision]
            page[stable.revision] = _traffic(beside, 0.0, 0.0, everywhere)
        self.windows.add([Look(str(sorted(weights.items())), page, page)])

    # --- the operator

    @property
    def status(self) -> api.DeploymentStatus:
        return self.deployment.status

    def observe(self) -> Observation:
        """What a pass sees: the objects as they are, the routers as they were when they were asked last."""
        self.windows.follow(self.status, self.now)
        annotations = {router.name: router.annotation for router in self.routers}
        asked = {one.pod: one for one in self.scraped}
        return Observation(
            now=self.now,
            steady_since=self.steady_since,
            deployment=self.deployment,
            platform=self.platform,
            models=tuple(self.models.values()),
            servers=tuple(self._servers()),
            stable_is_gone=self._stable_is_gone(),
            routers=tuple(
                asked.get(one.name, Router(pod=one.name)).model_copy(update={"config_hash": annotations[one.name]})
                for one in self.routers
            ),
            routers_ready=sum(1 for one in self.routers if one.files),
            router_trouble=self.router_trouble,
            budgets=tuple(
                (name, found["metadata"]["uid"])
                for (kind, name), found in self.objects.items()
                if kind == "PodDisruptionBudget"
            ),
            scraped=Scraped(traffic=self.windows.traffic(self.status), drift=self.drift),
            records=tuple(fact for fact in map(quarantine.read, self.records.values()) if fact is not None),
            policy_in_force=self.policy_in_force,
            is_in_training=self.is_in_training,
            may_upgrade=self.may_upgrade,
            run=self.run,
            dataset=self.dataset,
            runs=tuple(run for run in self.runs if run.metadata.name in self._started()),
        )

    def pass_once(self, crash_after: int | None = None) -> Plan:
        """Observe, decide, write. Raises Crash after that many writes."""
        plan = decision.decide(self.observe())
        for count, write in enumerate(self._writes(plan)):
            if count == crash_after:
                raise Crash
            write()
        return plan

    def settle(self, passes: int = 40, *, seconds: float = 2.0) -> None:
        """Let everything work for a while: pods start, routers read, the operator passes."""
        for _ in range(passes):
            self.kubelet()
            self.sync()
            self.scrape()
            self.pass_once()
            self.tick(seconds)

    def pending(self) -> list[Any]:
        """What another pass would write: nothing, if the last one was right."""
        plan = decision.decide(self.observe())
        return [*plan.records, *plan.creates, *plan.deletes, *self._changes(plan)]

    # --- bookkeeping

    def _servers(self) -> list[Server]:
        found = []
        for (kind, name), manifest in sorted(self.objects.items()):
            bundle = servers.read(manifest) if kind == "Deployment" else None
            if bundle is None:
                continue
            service = self.objects.get(("Service", name))
            replicas = manifest["spec"]["replicas"]
            found.append(
                Server(
                    bundle=bundle,
                    uid=manifest["metadata"]["uid"],
                    service_uid=service["metadata"]["uid"] if service is not None else None,
                    replicas=replicas,
                    ready=self.ready.get(bundle.revision, 0),
                    updated=self.running.get(bundle.revision, []).count(bundle.template.image),
                    trouble=self._trouble(bundle) if bundle.revision in self.ready else None,
                )
            )
        return found

    def _stable_is_gone(self) -> bool:
        stable = self.status.stable
        served = {server.bundle.revision for server in self._servers()}
        return stable is not None and stable.model not in self.models and stable.revision not in served

    def _trouble(self, bundle: servers.Bundle) -> Trouble | None:
        return self.broken.get(bundle.digest) or self.broken_images.get(bundle.template.image)

    def _changes(self, plan: Plan) -> Any:
        for child in plan.children:
            if self._stored(child) != child:
                yield ("child", child)
        for nudge in plan.nudges:
            router = next((one for one in self.routers if one.name == nudge.pod), None)
            if router is not None and router.annotation != nudge.value:
                yield ("nudge", nudge)
        if plan.status is not None and plan.status != self.status.wire():
            now = self.status.wire()
            yield ("status", {k: (now.get(k), v) for k, v in plan.status.items() if now.get(k) != v}, plan.events)

    def _stored(self, child: Manifest) -> Manifest | None:
        found = self.objects.get((child["kind"], child["metadata"]["name"]))
        if found is None:
            return None
        return {**found, "metadata": {k: v for k, v in found["metadata"].items() if k != "uid"}}

    def _writes(self, plan: Plan) -> Any:
        """The plan's writes in the order in which `apply` makes them."""
        for manifest in plan.records:
            yield lambda manifest=manifest: self.records.setdefault(manifest["metadata"]["name"], manifest)
        for child in plan.children:
            if self._stored(child) != child:
                yield lambda child=child: self._apply(child)
        for manifest in plan.creates:
            yield lambda manifest=manifest: self._create(manifest)
        for delete in plan.deletes:
            yield lambda delete=delete: self._delete(delete.resource.kind, delete.name, delete.uid)
        for nudge in plan.nudges:
            yield lambda nudge=nudge: self._nudge(nudge.pod, nudge.value)
        if plan.status is not None and plan.status != self.status.wire():
            yield lambda: self._write_status(plan)

    def _apply(self, child: Manifest) -> None:
        key = (child["kind"], child["metadata"]["name"])
        found = self.objects.get(key)
        uid = found["metadata"]["uid"] if found is not None else f"uid-{next(self.uids)}"
        self.objects[key] = {**child, "metadata": {**child["metadata"], "uid": uid}}

    def _started(self) -> set[str]:
        known = self.status.retraining
        return {one.name for one in known.starts} if known is not None else set()

    def _create(self, manifest: Manifest) -> None:
        if any(run.metadata.name == manifest["metadata"]["name"] for run in self.runs):
            return  # the name is taken
        self.created.append(manifest)
        metadata = {**manifest["metadata"], "uid": f"uid-{next(self.uids)}", "creationTimestamp": self.now}
        self.runs.append(api.TrainingRun.model_validate({**manifest, "metadata": metadata}))

    def _delete(self, kind: str, name: str, uid: str) -> None:
        found = self.objects.get((kind, name))
        if found is not None and found["metadata"]["uid"] == uid:
            del self.objects[kind, name]
            if kind == "Deployment":
                revision = found["metadata"]["labels"][keys.REVISION]
                self.deleted.append(revision)
                self.ready.pop(revision, None)

    def _nudge(self, pod: str, value: str) -> None:
        for router in self.routers:
            if router.name == pod:
                router.annotation = value

    def _write_status(self, plan: Plan) -> None:
        status = api.DeploymentStatus.model_validate(plan.status)
        self.deployment = self.deployment.model_copy(update={"status": status})
        self.events += plan.events
