"""A cluster made of dictionaries for the reconcile of a Deployment: servers that get ready, routers that lag, crashes.

`pass_once` is what the operator does: observe, decide, write. Everything else is what happens around it. Nothing here
imitates the API server: objects are kept as they are written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from millrace import api
from millrace.api import keys
from millrace.decide import deployment as decision
from millrace.decide.deployment.analysis import Tally
from millrace.decide.deployment.observation import Observation, RevisionDrift, Router, Scraped, Server, Traffic, Trouble
from millrace.decide.plan import Event, Plan
from millrace.render import server as servers
from millrace.render.pod import Platform

Manifest = dict[str, Any]
START = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
PLATFORM = Platform(
    trainer_image="trainer:1",
    server_image="server:1",
    router_image="router:1",
    store_uri="s3://millrace",
    store_secret="store",
)


def make_model(name: str, version: int, *, approved: bool = True, digest: str = "", **provenance: Any) -> api.Model:
    """`<name>-<version>`, approved by default; `provenance` is that of the spec."""
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
                    "inputs": [{"name": "numeric", "datatype": "FP32", "shape": [-1, 2]}],
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


def make_deployment(spec: Mapping[str, Any] | None = None, **more: Any) -> api.Deployment:
    """A Deployment `churn` that follows the model `churn`; `more` are fields of the spec in their wire names."""
    wanted = dict(spec) if spec is not None else {"modelSelector": {"modelName": "churn"}}
    return api.Deployment.model_validate(
        {
            "metadata": {"name": "churn", "namespace": "ml", "uid": "uid-churn", "generation": 1},
            "spec": {**wanted, **more},
        }
    )


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> list[Any]:
    found: list[Any] = yaml.safe_load(text)["resources"]
    return found


@dataclass
class Envoy:
    """A router pod: what its files say, and what it counted."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    annotation: str | None = None

    @property
    def weights(self) -> dict[str, int]:
        """Percent by revision, as its route file says."""
        hosts = self._resources("rds.yaml")[0]["virtual_hosts"] if self.files else []
        found: dict[str, int] = {}
        for route in itertools.chain.from_iterable(host["routes"] for host in hosts):
            for one in route.get("route", {}).get("weighted_clusters", {}).get("clusters", ()):
                found[one["name"].removesuffix("-route")] = one["weight"]
        return found

    @property
    def clusters(self) -> set[str]:
        """Revisions it has a cluster for."""
        return {one["name"] for one in self._resources("cds.yaml") if not one["name"].endswith("-route")}

    @property
    def generation(self) -> str | None:
        """What it answers when asked which weights it applies."""
        if not self.files:
            return None
        hosts = self._resources("rds.yaml")[0]["virtual_hosts"]
        answer = next(host for host in hosts if host["name"] == "generation")["routes"][0]["direct_response"]
        return str(answer["body"]["inline_string"])

    def _resources(self, name: str) -> list[Any]:
        return _parsed(self.files[name]) if self.files else []


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
    broken: dict[str, Trouble] = field(default_factory=dict)
    """By digest: what its servers say instead of getting ready."""
    slow: set[str] = field(default_factory=set)
    """Digests whose servers do not get ready."""
    routers: list[Envoy] = field(default_factory=lambda: [Envoy("router-0")])
    tallies: dict[str, Tally] = field(default_factory=dict)
    baselines: dict[tuple[str, datetime | None], Tally] = field(default_factory=dict)
    counted: dict[tuple[str, datetime | None], datetime] = field(default_factory=dict)
    drift: RevisionDrift | None = None
    policy_in_force: bool | None = True
    platform: Platform = PLATFORM
    run: api.TrainingRun | None = None
    dataset: api.Dataset | None = None
    runs: list[api.TrainingRun] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    """Revisions whose servers are gone."""
    created: list[Manifest] = field(default_factory=list)
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
            self.ready[bundle.revision] = found["spec"]["replicas"] if able else 0

    def sync(self, *routers: Envoy) -> None:
        """These routers, by default all, read the ConfigMap."""
        found = self.objects.get(("ConfigMap", "churn-router"))
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

    def serve(self, requests: int, *, errors: float = 0.0, slow: float = 0.0) -> None:
        """So many requests reach the canary, if it has any weight; these shares of them fail or take a second."""
        canary = self.status.canary
        if canary is None or not any(router.weights.get(canary.revision) for router in self.routers):
            return
        before = self.tallies.get(canary.revision, Tally())
        latency = dict(before.latency_ms)
        fast = latency.get(10.0, 0) + requests - round(requests * slow)
        total = latency.get(float("inf"), 0) + requests
        self.tallies[canary.revision] = Tally(
            before.attempts + requests,
            before.completed + requests,
            before.failed + round(requests * errors),
            ((10.0, fast), (1000.0, total), (float("inf"), total)),
        )

    # --- the operator

    @property
    def status(self) -> api.DeploymentStatus:
        return self.deployment.status

    def observe(self) -> Observation:
        """What a pass sees: the objects as they are, the routers as they were when they were asked last."""
        self._mark_baselines()
        annotations = {router.name: router.annotation for router in self.routers}
        asked = {one.pod: one for one in self.scraped}
        return Observation(
            now=self.now,
            steady_since=self.steady_since,
            deployment=self.deployment,
            platform=self.platform,
            models=tuple(self.models.values()),
            servers=tuple(self._servers()),
            routers=tuple(
                asked.get(one.name, Router(pod=one.name)).model_copy(update={"config_hash": annotations[one.name]})
                for one in self.routers
            ),
            routers_ready=sum(1 for one in self.routers if one.files),
            budgets=tuple(
                (name, found["metadata"]["uid"])
                for (kind, name), found in self.objects.items()
                if kind == "PodDisruptionBudget"
            ),
            scraped=Scraped(traffic=tuple(self._traffic()), drift=self.drift),
            policy_in_force=self.policy_in_force,
            run=self.run,
            dataset=self.dataset,
            runs=tuple(self.runs),
            runs_are_live=True,
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
        return [*plan.creates, *plan.deletes, *self._changes(plan)]

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
                    trouble=self.broken.get(bundle.digest) if bundle.revision in self.ready else None,
                )
            )
        return found

    def _mark_baselines(self) -> None:
        """As the scrapes do: remember the counters when a rollout or a step is first seen."""
        rollout, canary = self.status.rollout, self.status.canary
        if rollout is not None and canary is not None:
            for moment in (rollout.started_time, rollout.step_started_time):
                tally = self.tallies.get(canary.revision, Tally())
                self.baselines.setdefault((canary.revision, moment), tally)
                self.counted.setdefault((canary.revision, moment), self.now)

    def _traffic(self) -> list[Traffic]:
        rollout, canary = self.status.rollout, self.status.canary
        if rollout is None or canary is None:
            return []
        tally = self.tallies.get(canary.revision, Tally())
        start, step = rollout.started_time, rollout.step_started_time
        return [
            Traffic(
                revision=canary.revision,
                rollout=start,
                step=step,
                counted_since=self.counted[canary.revision, step],
                since_rollout=tally.minus(self.baselines[canary.revision, start]),
                since_step=tally.minus(self.baselines[canary.revision, step]),
            )
        ]

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

    def _create(self, manifest: Manifest) -> None:
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
                self.tallies.pop(revision, None)

    def _nudge(self, pod: str, value: str) -> None:
        for router in self.routers:
            if router.name == pod:
                router.annotation = value

    def _write_status(self, plan: Plan) -> None:
        status = api.DeploymentStatus.model_validate(plan.status)
        self.deployment = self.deployment.model_copy(update={"status": status})
        self.events += plan.events
