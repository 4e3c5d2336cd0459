"""From cached manifests to the Observation of a Deployment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace import api, errors
from millrace.api import keys, resources
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.decide.deployment import rollout
from millrace.decide.deployment.observation import Router, Scraped
from millrace.observe import deployment as observation
from millrace.observe import model as models
from millrace.observe import pods
from millrace.render import quarantine, server
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM, START, make_model

OWN = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}


class Live:
    """An API server that has these objects, answers a read of one of them, and knows of no quarantine."""

    def __init__(self, *manifests: Manifest) -> None:
        self.names = {(resources.of(one), one["metadata"]["name"]) for one in manifests}
        self.asked: list[str] = []

    async def get(self, resource: Any, namespace: str, name: str) -> Manifest:
        self.asked.append(f"{resource.plural}/{name}")
        if (resource, name) not in self.names:
            raise errors.NotFound(name, status=404)
        return {}

    async def list(self, resource: Any, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        return []


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
    settings = Settings(namespace="operator", watch="*", **PLATFORM.model_dump())
    kube: Any = Live()
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


async def test_the_runs_it_started_are_found_by_name_whatever_their_labels_say() -> None:
    start = {"trigger": "drifted", "cause": "aabbccdd", "time": "2026-11-21T08:00:00Z", "isMade": True}
    starts = [{"name": name, **start} for name in ("churn-a", "churn-gone")]
    stripped = run("churn-a")
    del stripped["metadata"]["labels"]
    labelled = run("churn-b")
    made = world_of(mdep(retraining={"starts": starts}), stripped, labelled)
    seen = await observation.observe(made, "ml", "churn")
    assert seen is not None
    assert [one.metadata.name for one in seen.runs] == ["churn-a"]
    assert list(observation.WATCHES[resources.TRAINING_RUNS](made, stripped)) == [("ml", "churn")]


@pytest.mark.parametrize(("ended", "expected"), [("", True), ("Failed", False), ("Stalled", False)])
async def test_a_run_under_way_that_makes_the_followed_model_is_seen(ended: str, expected: bool) -> None:
    gb = run("churn-gb")
    gb["status"] = {"conditions": [{"type": ended, "status": "True"}] if ended else []}
    seen = await observation.observe(world_of(mdep(), gb), "ml", "churn")
    assert seen is not None
    assert seen.is_in_training is expected


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


class LiveRecords:
    """A client that knows of a quarantine which the cache has not been shown."""

    def __init__(self, *records: Manifest) -> None:
        self.records = records
        self.asked: list[dict[str, str]] = []

    async def list(self, resource: Any, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        assert resource == resources.CONTROLLER_REVISIONS
        self.asked.append(labels)
        return [
            one for one in self.records if all(one["metadata"]["labels"].get(name) == labels[name] for name in labels)
        ]


def condemned(version: int) -> Manifest:
    fact = quarantine.condemned(
        "uid-before", START, digest=f"sha256:{version:064x}", model=f"churn-{version}", revision="bbbbbbbb",
        deployment="churn", reason="AnalysisFailed: errors", time=START,
    )  # fmt: skip
    return quarantine.manifest("ml", fact)


async def test_before_bytes_are_rolled_out_their_quarantine_is_read_live() -> None:
    """A Deployment that was made again remembers nothing, and a process that starts may be shown a list of the past."""
    world = world_of(mdep(), model(1), model(2))
    kube = world.kube = LiveRecords(condemned(2))  # type: ignore[assignment]
    seen = await observation.observe(world, "ml", "churn")
    assert seen is not None
    assert [fact.digest for fact in seen.records] == [f"sha256:{2:064x}"]
    assert rollout.about_to_start(seen) == f"sha256:{1:064x}", "the one before it is asked about as well"
    assert len(kube.asked) == 2


async def test_where_nothing_is_about_to_start_no_quarantine_is_asked_for() -> None:
    bundle = server.bundle(make_model("churn", 1), server.Template(image="server:1"))
    stable = {
        "revision": bundle.revision, "model": "churn-1", "version": 1, "digest": bundle.digest, "weight": 100,
        "since": "2026-11-21T07:00:00Z",
    }  # fmt: skip
    world = world_of(mdep(stable=stable), model(1))
    kube = world.kube = LiveRecords()  # type: ignore[assignment]
    await observation.observe(world, "ml", "churn")
    assert kube.asked == []


async def test_a_quarantine_wakes_whoever_could_serve_those_bytes() -> None:
    world = world_of(mdep(), model(2), condemned(2))
    (record,) = world.store.list(resources.CONTROLLER_REVISIONS, "ml")
    assert list(observation.WATCHES[resources.CONTROLLER_REVISIONS](world, record)) == [("ml", "churn")]
    assert list(models.WATCHES[resources.CONTROLLER_REVISIONS](world, record)) == [("ml", "churn-2")]


# --- images in place, a few Deployments at a time


def rolling(name: str, image: str, **stable: Any) -> Manifest:
    served = {"revision": "aaaaaaaa", "model": "churn-1", "version": 1, "digest": f"sha256:{1:064x}", "weight": 100}
    served |= {"since": "2026-11-21T08:00:00Z", "image": image, **stable}
    spec = {"modelSelector": {"modelName": "churn"}, "server": {"upgradePolicy": "Rolling"}}
    return make_manifest(resources.DEPLOYMENTS, name, namespace="ml", spec=spec, status={"stable": served})


def upgrades(*manifests: Manifest, most: int) -> World:
    made = world_of(*manifests)
    made.settings = Settings("ml", "t", "server:2", "r", upgrades_at_a_time=most)
    return made


async def may_upgrade(made: World, name: str) -> bool:
    seen = await observation.observe(made, "ml", name)
    assert seen is not None
    return seen.may_upgrade


async def test_only_a_few_deployments_take_a_newer_image_at_a_time() -> None:
    made = upgrades(*(rolling(name, "server:1") for name in "abc"), most=2)
    assert [await may_upgrade(made, name) for name in "abc"] == [True, True, False]


async def test_one_that_is_under_way_or_stuck_keeps_its_turn() -> None:
    going = rolling("going", "server:2", imageTime="2026-11-21T08:00:00Z", updatedReplicas=0)
    made = upgrades(going, rolling("a", "server:1"), most=1)
    assert await may_upgrade(made, "going")
    assert not await may_upgrade(made, "a")


async def test_an_upgrade_that_ends_wakes_those_that_wait() -> None:
    made = upgrades(rolling("a", "server:1"), rolling("b", "server:1"), rolling("done", "server:2"), most=1)
    wakes = observation.WATCHES[resources.DEPLOYMENTS]
    assert list(wakes(made, rolling("done", "server:2", imageTime="2026-11-21T08:00:00Z"))) == []
    assert list(wakes(made, rolling("done", "server:2"))) == [("ml", "a")]


async def test_pods_of_a_template_that_the_controller_has_not_seen_are_not_counted_as_updated() -> None:
    found = workload(1, replicas=2, readyReplicas=2, updatedReplicas=2, observedGeneration=1)
    found["metadata"]["generation"] = 2
    seen = await observation.observe(world_of(mdep(), model(1), found), "ml", "churn")
    assert seen is not None
    assert seen.servers[0].updated == 0
    found["status"]["observedGeneration"], found["metadata"]["resourceVersion"] = 2, "2"
    seen = await observation.observe(world_of(mdep(), model(1), found), "ml", "churn")
    assert seen is not None
    assert seen.servers[0].updated == 2


# --- what the status calls stable and nobody has


SERVED = {"revision": "aaaaaaaa", "model": "churn-1", "version": 1, "digest": f"sha256:{1:064x}", "weight": 100}
STABLE = {"stable": {**SERVED, "since": "2026-11-21T08:00:00Z"}}


async def test_the_api_server_is_asked_before_stable_counts_as_gone() -> None:
    made = world_of(mdep(**STABLE))
    live: Any = made.kube
    seen = await observation.observe(made, "ml", "churn")
    assert seen is not None
    assert seen.stable_is_gone
    assert live.asked == ["models/churn-1", "deployments/churn-aaaaaaaa"]
    live.names = {(resources.WORKLOADS, "churn-aaaaaaaa")}
    seen = await observation.observe(made, "ml", "churn")
    assert seen is not None
    assert not seen.stable_is_gone, "the cache was behind"


async def test_while_the_cache_has_the_model_or_its_servers_nobody_is_asked() -> None:
    made = world_of(mdep(**STABLE), model(1))
    seen = await observation.observe(made, "ml", "churn")
    assert seen is not None
    assert not seen.stable_is_gone
    assert made.kube.asked == []  # type: ignore[attr-defined]
