"""Who is woken by what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from millrace.api import keys, resources
from millrace.clients.clock import SystemClock
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store
from millrace.clients.world import World
from millrace.controller.routing import Controller, route
from millrace.decide.plan import Plan
from millrace.settings import Settings
from millrace_kit.manifests import make_manifest


async def _blind(world: World, namespace: str, name: str) -> None:
    """Sees nothing."""


def _idle(seen: object) -> Plan:
    return Plan()


def _all_deployments(world: World, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for found in world.store.list(resources.DEPLOYMENTS, manifest["metadata"]["namespace"]):
        yield found["metadata"]["namespace"], found["metadata"]["name"]


@pytest.fixture
def world() -> World:
    settings = Settings(namespace="default", trainer_image="t", server_image="s", router_image="r")
    return World(Store(), Kube(Credentials(server="http://127.0.0.1:1")), SystemClock(), settings)


CONTROLLERS = [
    Controller(resources.DATASETS, _blind, _idle),
    Controller(resources.TRAINING_RUNS, _blind, _idle),
    Controller(resources.MODELS, _blind, _idle),
    Controller(resources.DEPLOYMENTS, _blind, _idle, {resources.MODELS: _all_deployments}),
]


def _woken(world: World, resource: resources.ResourceType, manifest: Manifest) -> set[Key]:
    found: Iterable[Key] = route(CONTROLLERS, world, resource, manifest)
    return set(found)


def test_an_object_of_ours_wakes_itself(world: World) -> None:
    dataset = make_manifest(resources.DATASETS, "d")
    assert _woken(world, resources.DATASETS, dataset) == {Key(resources.DATASETS, "default", "d")}


def test_a_controlled_child_wakes_its_owner_and_not_whom_its_labels_name(world: World) -> None:
    run = make_manifest(resources.TRAINING_RUNS, "r")
    job = make_manifest(resources.JOBS, "r-1", owner=run, labels={keys.TRAINING_RUN: "r", keys.DATASET: "d"})
    assert _woken(world, resources.JOBS, job) == {Key(resources.TRAINING_RUNS, "default", "r")}


def test_a_pod_of_our_job_wakes_whom_its_labels_name(world: World) -> None:
    job = make_manifest(resources.JOBS, "r-1")
    pod = make_manifest(resources.PODS, "r-1-x", owner=job, labels={keys.TRAINING_RUN: "r"})
    assert _woken(world, resources.PODS, pod) == {Key(resources.TRAINING_RUNS, "default", "r")}


def test_a_model_wakes_itself_its_run_and_the_deployments_that_watch_models(world: World) -> None:
    world.store.put(resources.DEPLOYMENTS, make_manifest(resources.DEPLOYMENTS, "serve"))
    world.store.put(resources.DEPLOYMENTS, make_manifest(resources.DEPLOYMENTS, "other", namespace="elsewhere"))
    model = make_manifest(resources.MODELS, "m-1", labels={keys.TRAINING_RUN: "r"})
    assert _woken(world, resources.MODELS, model) == {
        Key(resources.MODELS, "default", "m-1"),
        Key(resources.TRAINING_RUNS, "default", "r"),
        Key(resources.DEPLOYMENTS, "default", "serve"),
    }


def test_the_workload_kind_that_is_also_called_deployment_is_not_ours(world: World) -> None:
    workload = make_manifest(resources.WORKLOADS, "x")
    replica_set = make_manifest(resources.WORKLOADS, "y", owner=workload)
    assert _woken(world, resources.WORKLOADS, workload) == set()
    assert _woken(world, resources.WORKLOADS, replica_set) == set()
