"""Why there is no pod: from what the API server and the controllers leave behind to what decisions read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from millrace import errors
from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.observe import dataset, pods
from millrace.observe import jobs as reading
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
QUOTA = "is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=1, limited: cpu=1"
DATASET = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}


class Told:
    """An API server with these Events."""

    def __init__(self, *events: Manifest) -> None:
        self.events = events
        self.asked: list[Mapping[str, str] | None] = []

    async def list(self, resource: ResourceType, *_: Any, fields: Mapping[str, str] | None = None) -> list[Manifest]:
        assert resource is resources.EVENTS
        self.asked.append(fields)
        return [*self.events]


class Refusing(Told):
    """An API server that lets nobody read Events."""

    async def list(self, *_: Any, **__: Any) -> list[Manifest]:
        raise errors.Forbidden("events is forbidden", status=403)


def event(message: str, at: str) -> Manifest:
    return make_manifest(resources.EVENTS, f"e-{at}", namespace="ml", message=message, lastTimestamp=at)


def a_world(kube: Any, *, most: int = 4) -> World:
    settings = Settings("ml", "t", "s", "r", snapshots_at_a_time=most)
    return World(Store(), cast("Kube", kube), ManualClock(START), settings)


def put_job(world: World, name: str = "look", *, owner: str = "uid-churn", **status: Any) -> Manifest:
    labels = {keys.COMPONENT: "snapshot"}
    job = make_manifest(resources.JOBS, name, namespace="ml", labels=labels, status=status)
    job["metadata"]["creationTimestamp"] = "2026-11-21T08:00:00Z"
    reference = {"apiVersion": "millrace.dev/v1alpha1", "kind": "Dataset", "name": "churn", "uid": owner}
    job["metadata"]["ownerReferences"] = [{**reference, "controller": True}]
    world.store.put(resources.JOBS, job)
    return job


def put_pod(world: World, phase: str, created: str) -> None:
    pod = make_manifest(resources.PODS, f"p-{created}", namespace="ml", status={"phase": phase})
    pod["metadata"]["creationTimestamp"] = created
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "look", "uid": "uid-look", "controller": True}
    pod["metadata"]["ownerReferences"] = [reference]
    world.store.put(resources.PODS, pod)


async def refusal(world: World) -> str:
    (job,) = await reading.owned(world, "uid-churn", None)
    return job.refusal


def clock(world: World) -> ManualClock:
    return cast("ManualClock", world.clock)


async def test_the_events_of_a_job_are_read_once_it_has_had_no_pod_for_five_seconds() -> None:
    kube = Told(event(f'Error creating: pods "look-x2z4q" {QUOTA}', "2026-11-21T08:00:02Z"))
    world = a_world(kube)
    put_job(world)
    clock(world).advance(4)
    assert await refusal(world) == ""
    assert kube.asked == []
    clock(world).advance(1)
    assert await refusal(world) == f"pods look {QUOTA}"
    assert kube.asked == [{"involvedObject.uid": "uid-look", "reason": "FailedCreate"}]


async def test_the_newest_event_counts_and_reads_the_same_for_every_pod_that_is_refused() -> None:
    older = event('Error creating: pods "look-aaaaa" is forbidden: no memory', "2026-11-21T08:00:02Z")
    combined = f'(combined from similar events): Error creating: pods "look-bbbbb" {QUOTA}'
    world = a_world(Told(event(combined, "2026-11-21T08:00:09Z"), older))
    put_job(world)
    clock(world).advance(10)
    assert await refusal(world) == f"pods look {QUOTA}"


async def test_a_job_with_a_pod_and_one_that_has_ended_are_not_asked_about() -> None:
    kube = Told(event("Error creating: x", "2026-11-21T08:00:02Z"))
    world = a_world(kube)
    put_job(world)
    put_pod(world, "Pending", "2026-11-21T08:00:03Z")
    clock(world).advance(60)
    assert await refusal(world) == ""
    world = a_world(kube)
    put_job(world, conditions=[{"type": "Complete", "status": "True"}])
    clock(world).advance(60)
    assert await refusal(world) == ""
    assert kube.asked == []


async def test_what_was_refused_before_the_last_attempt_is_past() -> None:
    world = a_world(Told(event("Error creating: x", "2026-11-21T08:00:02Z")))
    put_job(world)
    put_pod(world, "Failed", "2026-11-21T08:00:30Z")
    clock(world).advance(60)
    assert await refusal(world) == "", "it waits between two attempts"


async def test_an_operator_whose_role_may_not_read_events_goes_on_without() -> None:
    world = a_world(Refusing())
    put_job(world)
    clock(world).advance(60)
    assert await refusal(world) == ""


def workload(**condition: str) -> Manifest:
    status = {"conditions": [{"type": "Progressing", "status": "True"}, condition]}
    return make_manifest(resources.WORKLOADS, "churn-1", namespace="ml", status=status)


@pytest.mark.parametrize(
    "message", [f'pods "churn-aabbccdd-6c9d-x2z4q" {QUOTA}', 'pods "c-x2z4q" violates PodSecurity']
)
def test_a_workload_whose_pods_are_refused_says_why(message: str) -> None:
    found = pods.refusal(workload(type="ReplicaFailure", status="True", reason="FailedCreate", message=message))
    assert found is not None
    assert found.reason == "FailedCreate"
    assert "x2z4q" not in found.message
    assert found.message.endswith(message.partition('" ')[2])
    assert pods.refusal(workload(type="ReplicaFailure", status="False", reason="FailedCreate")) is None
    assert pods.refusal(None) is None


def test_of_an_evicted_pod_and_its_successor_the_successor_speaks() -> None:
    evicted = make_manifest(resources.PODS, "a", status={"phase": "Failed", "reason": "Evicted", "message": "memory"})
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    waiting = make_manifest(resources.PODS, "b", status={"phase": "Pending", "conditions": [unscheduled]})
    evicted["metadata"]["creationTimestamp"] = "2026-11-21T08:00:00Z"
    waiting["metadata"]["creationTimestamp"] = "2026-11-21T07:00:00Z"
    found = pods.trouble([evicted, waiting])
    assert found is not None
    assert found.reason == "Unschedulable"
    alone = pods.trouble([evicted])
    assert alone is not None
    assert (alone.reason, alone.message) == ("Evicted", "memory")


def put_dataset(world: World, name: str, **status: Any) -> None:
    found = make_manifest(resources.DATASETS, name, namespace="ml", uid=f"uid-{name}", spec=DATASET, status=status)
    found["metadata"]["creationTimestamp"] = "2026-11-21T08:00:00Z"
    world.store.put(resources.DATASETS, found)


async def has_turn(world: World, name: str) -> bool:
    seen = await dataset.observe(world, "ml", name)
    assert seen is not None
    return seen.has_turn


async def test_only_so_many_looks_go_on_at_a_time_although_the_cache_shows_none_yet() -> None:
    world = a_world(Told(), most=2)
    for name in ("a", "b", "c"):
        put_dataset(world, name)
    assert [await has_turn(world, name) for name in ("a", "b", "c")] == [True, True, False]


async def test_looks_that_go_on_elsewhere_count_and_those_that_ended_do_not() -> None:
    world = a_world(Told(), most=1)
    put_dataset(world, "a")
    other = put_job(world, "other", owner="uid-z")
    assert not await has_turn(world, "a")
    ended = {**other, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    ended["metadata"] = {**other["metadata"], "resourceVersion": "2"}
    world.store.put(resources.JOBS, ended)
    assert await has_turn(world, "a")


def test_a_look_that_ends_wakes_those_that_have_waited_longest() -> None:
    world = a_world(Told(), most=1)
    put_dataset(world, "late", jobName="late-look", lastCheckTime="2026-11-21T08:00:20Z")
    put_dataset(world, "early", jobName="early-look", lastCheckTime="2026-11-21T08:00:10Z")
    put_dataset(world, "idle")
    going = put_job(world, "going", owner="uid-z")
    wakes = dataset.WATCHES[resources.JOBS]
    assert list(wakes(world, going)) == []
    ended = {**going, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert list(wakes(world, ended)) == [("ml", "early")]
    world.store.drop(resources.JOBS, "ml", "going")
    assert list(wakes(world, going)) == [("ml", "early")], "a Job that was deleted has ended too"
