"""From manifests as the API server writes them to what decisions read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace.clients.world import PolicyStatus, World
from millrace.decide import dataset as decisions
from millrace.observe import dataset, jobs, model, policy, training_run
from millrace.settings import Settings

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
A = f"sha256:{'a' * 64}"


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Live:
    """The API server's own lists: what a watch has not shown yet."""

    def __init__(self) -> None:
        self.store = Store()
        self.asked: list[str] = []

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise errors.NotFound(name)
        return found

    async def list(
        self,
        resource: ResourceType,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        self.asked.append(resource.plural)
        found = self.store.list(resource, namespace, labels)
        return [one for one in found if not fields or one["involvedObject"]["uid"] == fields["involvedObject.uid"]]


@pytest.fixture
def live() -> Live:
    return Live()


@pytest.fixture
def world(live: Live) -> World:
    settings = Settings(namespace="ml", trainer_image="trainer:1", server_image="server:1", router_image="router:1")
    return World(store=Store(), kube=cast("Kube", live), clock=StoppedClock(), settings=settings)


def put(store: Store, resource: ResourceType, name: str, **more: Any) -> None:
    owner = more.pop("owner", None)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "ml",
        "uid": f"uid-{name}",
        "resourceVersion": more.pop("version", "1"),
        "labels": more.pop("labels", {}),
        "generation": 1,
        "creationTimestamp": "2026-11-21T08:00:00Z",
    }
    if owner is not None:
        kind = "Job" if resource == resources.PODS else "Dataset"
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": kind, "name": "o", "uid": owner, "controller": True}
        ]
    store.put(resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **more})


DATASET = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
RUN = {
    "author": "ada",
    "datasetRef": {"name": "churn"},
    "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
    "evaluation": {"metrics": ["roc_auc"]},
    "output": {"modelName": "churn"},
}
TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1]}
MODEL = {
    "modelName": "churn",
    "version": "7",
    "artifact": {"storageUri": "s3://millrace/7.onnx", "digest": A},
    "signature": {"inputs": [TENSOR], "outputs": [TENSOR]},
    "goldenSetUri": "s3://millrace/g",
    "referenceProfileUri": "s3://millrace/p",
}
RESOLVED = {"dataset": {"name": "churn", "version": 1, "digest": A}, "datasetUri": "s3://millrace/d/"}
DONE = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T08:00:05Z"}]}


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Completed", "message": message}}


async def test_what_is_gone_is_none(world: World) -> None:
    assert await dataset.observe(world, "ml", "churn") is None
    assert await training_run.observe(world, "ml", "gb") is None
    assert await model.observe(world, "ml", "churn-7") is None


async def test_a_dataset_is_seen_with_its_jobs_and_their_pods(world: World, live: Live) -> None:
    put(world.store, resources.DATASETS, "churn", spec=DATASET, status={"jobName": "look"})
    put(world.store, resources.JOBS, "look", owner="uid-churn", status={"startTime": "2026-11-21T08:00:00Z"})
    put(world.store, resources.JOBS, "strange", owner="another", status={})
    statuses = [{"name": "snapshot", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
    put(world.store, resources.PODS, "p", owner="uid-look", status={"phase": "Pending", "containerStatuses": statuses})
    seen = await dataset.observe(world, "ml", "churn")
    assert seen is not None
    (job,) = seen.jobs
    assert (job.name, job.is_finished) == ("look", False)
    assert job.trouble == "ImagePullBackOff: no such image"
    assert seen.platform.trainer_image == "trainer:1"
    assert live.asked == []


def trained_on(name: str) -> dict[str, Any]:
    return {**MODEL, "provenance": {"dataset": {"name": name, "version": 1, "digest": A}}}


FORGETTING = {
    **DATASET,
    "erasure": {"field": "customer", "keyRef": {"name": "key"}, "ids": {f"0f7a41c2-{'a' * 64}": ""}},
}


async def test_a_dataset_that_is_to_forget_somebody_sees_the_models_of_its_versions(world: World) -> None:
    for name, spec in (("churn-7", trained_on("churn")), ("other-1", trained_on("other")), ("imported-1", MODEL)):
        put(world.store, resources.MODELS, name, spec=spec)
    for version, spec, wanted in (("1", DATASET, []), ("2", FORGETTING, [("churn-7", A)])):
        put(world.store, resources.DATASETS, "churn", spec=spec, status={}, version=version)
        seen = await dataset.observe(world, "ml", "churn")
        assert seen is not None
        assert [(one.model, one.digest) for one in seen.models] == wanted


@pytest.mark.parametrize("spec, woken", [(FORGETTING, [("ml", "churn")]), (DATASET, [])])
def test_a_model_wakes_the_dataset_that_has_to_say_who_holds_somebody(
    world: World, spec: dict[str, Any], woken: list[tuple[str, str]]
) -> None:
    put(world.store, resources.DATASETS, "churn", spec=spec)
    made = {"metadata": {"name": "churn-7", "namespace": "ml"}, "spec": trained_on("churn")}
    assert list(dataset.WATCHES[resources.MODELS](world, made)) == woken


async def test_the_answer_of_a_finished_look_is_read_live(world: World, live: Live) -> None:
    """The Job's watch may be ahead of the pods'."""
    put(world.store, resources.DATASETS, "churn", spec=DATASET, status={})
    name = decisions.looks_at((await _seen(world)).dataset, NOW)
    put(world.store, resources.JOBS, str(name), owner="uid-churn", status=DONE)
    labels = {jobs.JOB_NAME: str(name)}
    statuses = [{"name": "snapshot", "state": ended(0, "{}")}]
    put(
        live.store,
        resources.PODS,
        "p",
        owner=f"uid-{name}",
        labels=labels,
        status={"phase": "Succeeded", "containerStatuses": statuses},
    )
    put(live.store, resources.PODS, "q", owner="an older job", labels=labels, status={})
    (job,) = (await _seen(world)).jobs
    assert job.state == "Succeeded"
    assert [pod.name for pod in job.pods] == ["p"]
    assert job.finished == datetime(2026, 11, 21, 8, 0, 5, tzinfo=UTC)


async def _seen(world: World) -> Any:
    return await dataset.observe(world, "ml", "churn")


async def test_a_waiting_run_sees_its_dataset_and_the_models_in_the_cache(world: World, live: Live) -> None:
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={})
    put(world.store, resources.DATASETS, "churn", spec=DATASET, status={})
    put(world.store, resources.MODELS, "churn-7", spec=MODEL, status={"aliases": ["champion"]})
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.dataset is not None
    assert seen.models[0].aliases == ("champion",)
    assert not seen.models_are_live
    assert live.asked == []


async def test_a_run_whose_job_succeeded_counts_models_at_the_api_server(world: World, live: Live) -> None:
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={"resolved": RESOLVED, "jobName": "gb-1"})
    put(world.store, resources.JOBS, "gb-1", owner="uid-gb", status=DONE)
    put(live.store, resources.MODELS, "churn-7", spec=MODEL, labels={"millrace.dev/training-run-uid": "uid-gb"})
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.models_are_live
    assert (seen.models[0].version, seen.models[0].run_uid) == (7, "uid-gb")
    assert live.asked == ["pods", "models"]


async def test_a_run_that_ended_asks_nobody(world: World, live: Live) -> None:
    complete = {"type": "Complete", "status": "True", "reason": "X", "lastTransitionTime": "2026-11-21T08:00:00Z"}
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={"resolved": RESOLVED, "conditions": [complete]})
    put(world.store, resources.JOBS, "gb-1", owner="uid-gb", status=DONE)
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.job is None
    assert live.asked == []


async def test_a_running_job_asks_nobody(world: World, live: Live) -> None:
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={"resolved": RESOLVED, "jobName": "gb-1"})
    put(world.store, resources.JOBS, "gb-1", owner="uid-gb", status={})
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.job is not None
    assert live.asked == []


@pytest.mark.parametrize(
    "spec, version", [({}, 0), ({"version": "x"}, 0), ({"version": "12"}, 12), ({"artifact": None}, 0)]
)
def test_a_model_of_any_shape_can_be_counted(spec: dict[str, Any], version: int) -> None:
    assert training_run.view({"metadata": {"name": "m"}, "spec": spec}).version == version


def test_a_dataset_wakes_the_runs_that_wait_for_it_and_no_other(world: World) -> None:
    put(world.store, resources.TRAINING_RUNS, "waits", spec=RUN)
    put(world.store, resources.TRAINING_RUNS, "runs", spec=RUN, status={"resolved": RESOLVED})
    put(world.store, resources.TRAINING_RUNS, "other", spec={**RUN, "datasetRef": {"name": "other"}})
    woken = training_run.WATCHES[resources.DATASETS](world, {"metadata": {"name": "churn", "namespace": "ml"}})
    assert list(woken) == [("ml", "waits")]


def guard(live: Live, generation: int = 1, changed: str = "2026-11-21T07:00:00Z") -> None:
    """The policies over approvals and runs, and their bindings, each changed so often."""
    for name in policy.GUARDS:
        for kind in resources.WITNESSED:
            noted = [{"manager": "helm", "time": changed}, {"subresource": "status", "time": "2026-11-21T07:59:00Z"}]
            metadata = {"name": name, "uid": f"{kind.plural}-{name}", "resourceVersion": str(generation)}
            made = {"creationTimestamp": "2026-11-21T06:00:00Z", "generation": generation, "managedFields": noted}
            live.store._kinds.setdefault(kind, {})["", name] = {"metadata": {**metadata, **made}}


async def in_force(world: World) -> PolicyStatus:
    """What was found out when the policies were last tried."""
    read = await policy.epoch(world)
    assert read is not None
    return PolicyStatus(True, "tried", *read)


async def test_a_model_sees_who_serves_it_and_whether_approvals_are_checked(world: World, live: Live) -> None:
    guard(live)
    world.policy = await in_force(world)
    assert world.policy.since == datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
    put(world.store, resources.MODELS, "churn-7", spec=MODEL)
    put(live.store, resources.MODELS, "churn-7", spec=MODEL)
    served = {"model": "churn-7", "digest": A, "weight": 75}
    put(
        world.store,
        resources.DEPLOYMENTS,
        "live",
        status={"stable": served, "canary": {"model": "churn-8", "digest": A}},
    )
    put(world.store, resources.DEPLOYMENTS, "empty")
    seen = await model.observe(world, "ml", "churn-7")
    assert seen is not None
    assert [(use.deployment, use.role, use.weight) for use in seen.uses] == [("live", "Stable", 75)]
    assert seen.policy_in_force is True
    assert seen.policy_epoch == world.policy.epoch


def test_a_deployment_wakes_the_models_it_serves_and_those_it_left(world: World) -> None:
    put(world.store, resources.MODELS, "churn-6", spec=MODEL, status={"deployedIn": [{"name": "live"}]})
    put(world.store, resources.MODELS, "churn-7", spec=MODEL)
    put(world.store, resources.MODELS, "churn-8", spec=MODEL)
    deployment = {"metadata": {"name": "live", "namespace": "ml"}, "status": {"stable": {"model": "churn-7"}}}
    assert list(model.WATCHES[resources.DEPLOYMENTS](world, deployment)) == [("ml", "churn-6"), ("ml", "churn-7")]


def make_pod(**status: Any) -> dict[str, Any]:
    spec = {"initContainers": [{"name": "fetch"}, {"name": "train"}], "containers": [{"name": "evaluate"}]}
    return {"metadata": {"name": "p", "creationTimestamp": "2026-11-21T08:00:00Z"}, "spec": spec, "status": status}


def view(job_status: dict[str, Any], *pods: dict[str, Any]) -> Any:
    return jobs.view({"metadata": {"name": "j", "uid": "u"}, "status": job_status}, pods)


def test_the_container_that_has_the_turn_is_the_first_that_has_not_ended_well() -> None:
    statuses = [{"name": "train", "state": {"running": {}}}, {"name": "fetch", "state": ended(0)}]
    job = view({}, make_pod(phase="Pending", initContainerStatuses=statuses))
    assert [one.name for one in job.pods[0].containers] == ["fetch", "train", "evaluate"]
    assert job.live.current.name == "train"
    assert job.live.trouble == ""


def test_a_failure_that_is_only_announced_has_not_happened() -> None:
    job = view({"conditions": [{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "False"}]})
    assert job.state == "Active"


def test_a_failed_job_says_why_and_when() -> None:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "DeadlineExceeded",
        "lastTransitionTime": "2026-11-21T08:10:00Z",
    }
    job = view({"conditions": [condition], "failed": 2})
    assert (job.state, job.reason, job.failed) == ("Failed", "DeadlineExceeded", 2)
    assert job.finished == datetime(2026, 11, 21, 8, 10, tzinfo=UTC)


def test_a_pod_that_no_node_takes_says_so() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"}
    assert view({}, make_pod(phase="Pending", conditions=[condition])).trouble == "Unschedulable: Insufficient cpu"


def test_a_pod_that_was_scheduled_has_no_trouble() -> None:
    assert view({}, make_pod(phase="Running", conditions=[{"type": "PodScheduled", "status": "True"}])).trouble == ""


def test_pods_are_sorted_by_age_and_odd_times_do_no_harm() -> None:
    old, young, odd = make_pod(), make_pod(), make_pod()
    old["metadata"] = {"name": "z", "creationTimestamp": "2026-11-21T07:00:00Z"}
    odd["metadata"] = {"name": "y", "creationTimestamp": "yesterday"}
    odder = {"metadata": {"name": "x"}, "spec": {}, "status": {}}
    assert [pod.name for pod in view({}, young, old, odd, odder).pods] == ["x", "y", "z", "p"]
