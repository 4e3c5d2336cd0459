"""From cached manifests to the Observation of a Deployment."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from millrace import api
from millrace.api import keys, resources
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift, Router, Scraped
from millrace.observe import deployment as observation
from millrace.observe import pods
from millrace.render import server
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM, make_model

OWN = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}


class LiveRuns:
    """A client whose list has one run that the cache has not."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def list(self, resource: Any, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        self.asked.append((resource, namespace, labels))
        return [run("churn-live")]


def run(name: str) -> Manifest:
    spec = {
        "author": "ada",
        "datasetRef": {"name": "customers"},
        "trainer": {"builtin": {"estimator": "sklearn.svm.SVC", "task": "Classification"}},
        "evaluation": {"metrics": ["f1"]},
        "output": {"modelName": "churn"},
    }
    return make_manifest(
        resources.TRAINING_RUNS, name, namespace="ml", spec=spec, labels={keys.DEPLOYMENT_UID: "uid-churn"}
    )


def world_of(*manifests: Manifest, scrapes: Any = None) -> World:
    store = Store()
    for manifest in manifests:
        store.put(resources.of(manifest), manifest)
    settings = SimpleNamespace(**PLATFORM.model_dump())
    kube: Any = LiveRuns()
    return World(store, kube, ManualClock(), settings, scrapes=scrapes)  # type: ignore[arg-type]


def mdep(**status: Any) -> Manifest:
    spec = {
        "modelSelector": {"modelName": "churn"},
        "monitoring": {"drift": {}},
        "retraining": {
            "trainingRunRef": {"name": "churn-gb"},
            "triggers": [{"name": "drifted", "drift": {}}],
            "limits": {},
        },
    }
    return make_manifest(resources.DEPLOYMENTS, "churn", namespace="ml", spec=spec, status=status)


def model(version: int, **change: Any) -> Manifest:
    made = make_model("churn", version).model_copy(update=change)
    wire = made.wire()
    wire["metadata"]["resourceVersion"] = "1"
    return {**wire, "apiVersion": "millrace.dev/v1alpha1", "kind": "Model"}


def workload(version: int, **status: int) -> Manifest:
    bundle = server.bundle(make_model("churn", version), server.Template(image="server:1"))
    owner = api.Deployment.model_validate(mdep()).metadata
    made = server.workload(owner, bundle, 2, PLATFORM)
    metadata = {**made["metadata"], "uid": f"w-{version}", "resourceVersion": "1"}
    return {**made, "metadata": metadata, "status": status}


def pod(name: str, component: str, revision: str = "", **status: Any) -> Manifest:
    labels = {**OWN, keys.COMPONENT: component, keys.DEPLOYMENT: "churn"}
    if revision:
        labels[keys.REVISION] = revision
    return make_manifest(resources.PODS, name, namespace="ml", labels=labels, status=status)


RUNNING = {"containerStatuses": [{"name": "router", "state": {"running": {}}}], "podIP": "10.0.0.9"}


async def test_a_deployment_that_is_gone_is_not_observed() -> None:
    assert await observation.observe(world_of(), "ml", "churn") is None


async def test_servers_are_found_by_their_owner_with_what_they_were_made_from() -> None:
    seen = await observation.observe(
        world_of(mdep(), model(1), workload(1, replicas=2, readyReplicas=1)), "ml", "churn"
    )
    assert seen is not None
    (found,) = seen.servers
    assert (found.bundle.model, found.replicas, found.ready, found.uid) == ("churn-1", 2, 1, "w-1")
    assert [one.metadata.name for one in seen.models] == ["churn-1"]


async def test_a_workload_that_is_being_deleted_is_gone_already() -> None:
    going = workload(1)
    going["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    seen = await observation.observe(world_of(mdep(), going), "ml", "churn")
    assert seen is not None
    assert seen.servers == ()


async def test_the_reason_a_server_left_behind_is_its_trouble() -> None:
    made = workload(1)
    revision = made["metadata"]["labels"][keys.REVISION]
    said = json.dumps({"stage": "serve", "reason": "GoldenSetMismatch", "message": "row 3 differs"})
    ended = {"terminated": {"exitCode": 1, "message": said}}
    status = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    crashed = pod("s-0", "server", revision, containerStatuses=[status])
    pulling = pod("s-1", "server", revision, containerStatuses=[{"state": {"waiting": {"reason": "ErrImagePull"}}}])
    seen = await observation.observe(world_of(mdep(), made, pulling, crashed), "ml", "churn")
    assert seen is not None
    assert seen.servers[0].trouble is not None
    assert (seen.servers[0].trouble.reason, seen.servers[0].trouble.message) == ("GoldenSetMismatch", "row 3 differs")


def test_a_ready_pod_has_no_trouble_whatever_happened_before() -> None:
    ended = {"terminated": {"exitCode": 1, "message": ""}}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"lastState": ended}]}
    assert pods.trouble([pod("s-0", "server", "aaaaaaaa", **ready)]) is None


def test_a_pod_that_finds_no_node_says_so() -> None:
    waits = {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}]
    }
    found = pods.trouble([pod("s-0", "server", "aaaaaaaa", **waits)])
    assert found is not None
    assert (found.reason, found.message) == ("Unschedulable", "no cpu")


async def test_every_router_that_runs_is_seen_and_one_that_did_not_answer_has_no_generation() -> None:
    class Said:
        def router(self, namespace: str, name: str, uid: str) -> Router | None:
            return Router(pod=uid, generation="abc", healthy={"aaaaaaaa": 2}) if uid == "uid-r-0" else None

        def scraped(self, deployment: api.Deployment) -> Scraped:
            return Scraped()

    starting = pod("r-2", "router", containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])
    made = world_of(mdep(), pod("r-0", "router", **RUNNING), pod("r-1", "router", **RUNNING), starting, scrapes=Said())
    seen = await observation.observe(made, "ml", "churn")
    assert seen is not None
    assert [(one.pod, one.generation) for one in seen.routers] == [("r-0", "abc"), ("r-1", None)]
    assert not seen.reported("abc")
    assert not seen.healthy("aaaaaaaa")


async def test_the_runs_are_read_live_once_there_is_drift() -> None:
    class Drifting:
        def scraped(self, deployment: api.Deployment) -> Scraped:
            return Scraped(drift=RevisionDrift(revision="aaaaaaaa", verdict=Verdict("Drifted")))

        def router(self, namespace: str, name: str, uid: str) -> Router | None:
            return None

    quiet = await observation.observe(world_of(mdep(), run("churn-gb")), "ml", "churn")
    assert quiet is not None
    assert (quiet.runs_are_live, [one.metadata.name for one in quiet.runs]) == (False, ["churn-gb"])
    drifting = await observation.observe(world_of(mdep(), run("churn-gb"), scrapes=Drifting()), "ml", "churn")
    assert drifting is not None
    assert (drifting.runs_are_live, [one.metadata.name for one in drifting.runs]) == (True, ["churn-live"])


async def test_a_malformed_model_is_left_to_its_own_reconcile() -> None:
    broken = make_manifest(resources.MODELS, "churn-2", namespace="ml", spec={"modelName": "churn"})
    seen = await observation.observe(world_of(mdep(), model(1), broken), "ml", "churn")
    assert seen is not None
    assert [one.metadata.name for one in seen.models] == ["churn-1"]


@pytest.mark.parametrize("resource", [resources.MODELS, resources.DATASETS, resources.TRAINING_RUNS])
def test_models_datasets_and_runs_wake_the_deployments_they_matter_to(resource: Any) -> None:
    dataset = make_manifest(resources.DATASETS, "customers", namespace="ml")
    gb = run("churn-gb")
    changed = {resources.MODELS: model(3), resources.DATASETS: dataset, resources.TRAINING_RUNS: gb}[resource]
    made = world_of(mdep(), gb, dataset)
    assert list(observation.WATCHES[resource](made, changed)) == [("ml", "churn")]
    elsewhere = {**changed, "metadata": {**changed["metadata"], "namespace": "other"}}
    assert list(observation.WATCHES[resource](made, elsewhere)) == []
