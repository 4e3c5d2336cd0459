"""Dataset, TrainingRun and Model against a real API server and Job controller; the pods' words are the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from apiserver_kit import planes, shell
from apiserver_kit.operators import running, until

from millrace import wiring
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.contract import report as reports
from millrace.contract.report import (
    Measurement,
    SnapshotOutcome,
    SnapshotReport,
    StageFailure,
    TrainingOutcome,
    TrainingReport,
)
from millrace.controller.routing import Controller
from millrace.decide import dataset as dataset_decisions
from millrace.decide import model as model_decisions
from millrace.decide import training_run as run_decisions
from millrace.observe import dataset, model, policy, training_run
from millrace.settings import Settings
from millrace_cluster.control_plane import ControlPlane

NAMESPACE = "pipeline"
BOUND = {"alice": "millrace-edit", "bob": "millrace-approver"}
KINDS = (
    Controller(resources.DATASETS, dataset.observe, dataset_decisions.decide, dataset.WATCHES),
    Controller(resources.TRAINING_RUNS, training_run.observe, run_decisions.decide, training_run.WATCHES),
    Controller(resources.MODELS, model.observe, model_decisions.decide, model.WATCHES),
)
DIGEST = f"sha256:{'c' * 64}"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with planes.with_controllers(tmp_path_factory.mktemp("plane"), NAMESPACE, BOUND) as started:
        yield started


@pytest.fixture
async def operator(plane: ControlPlane) -> AsyncIterator[wiring.Operator]:
    settings = Settings(
        namespace=NAMESPACE, trainer_image="trainer:1", server_image="s", router_image="r", metrics_port=0, workers=4
    )
    cred = credentials.from_kubeconfig(plane.kubeconfig_for("operator"))
    one = wiring.Operator(settings, cred, KINDS, children=(resources.JOBS, resources.PODS), tasks=policies)
    async with running(one):
        yield one


def policies(world: World) -> tuple[list[Any], list[Any]]:
    async def watch() -> None:
        await policy.watch(world)

    return [], [watch]


async def live_pod(kube: Kube, labels: dict[str, str], avoid: tuple[str, ...] = ()) -> Manifest:
    """The pod that the Job controller made, not counting those known already."""

    async def found() -> Manifest | None:
        pods = await kube.list(resources.PODS, NAMESPACE, labels)
        fresh = [pod for pod in pods if pod["metadata"]["name"] not in avoid]
        return fresh[0] if fresh else None

    pod: Manifest = await until(found, f"a pod with {labels}")
    return pod


async def write_pod_status(plane: ControlPlane, pod: Manifest, phase: str, **states: Any) -> None:
    """What a kubelet would write: states of containers, by name."""
    init = [one["name"] for one in pod["spec"].get("initContainers") or ()]
    told = {name: {"name": name, "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}
            for name, state in states.items()}  # fmt: skip
    status = {
        "phase": phase,
        "initContainerStatuses": [one for name, one in told.items() if name in init],
        "containerStatuses": [one for name, one in told.items() if name not in init],
    }
    command = ("patch", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--subresource=status", "--type=merge")
    await asyncio.to_thread(plane.kubectl, *command, "-p", json.dumps({"status": status}))


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}}


RUNNING: dict[str, Any] = {"running": {}}


async def standing(kube: Kube, resource: ResourceType, name: str, kind: str, reason: str) -> Manifest:
    """The object once its condition is True for this reason."""

    async def found() -> Manifest | None:
        one = await kube.get(resource, NAMESPACE, name)
        held = (one.get("status") or {}).get("conditions") or ()
        wanted = ("True", reason)
        return one if any(c["type"] == kind and (c["status"], c["reason"]) == wanted for c in held) else None

    one: Manifest = await until(found, f"{name} {kind}/{reason}")
    return one


def make_dataset(name: str) -> Manifest:
    spec = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "Dataset", "metadata": named(name), "spec": spec}


def make_run(name: str, dataset_name: str, model_name: str) -> Manifest:
    spec = {
        "author": "alice",
        "datasetRef": {"name": dataset_name},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {
            "metrics": ["roc_auc"],
            "gates": [
                {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}},
                {"name": "not-worse", "metric": "roc_auc", "baseline": {"maxRegression": 0.01}},
            ],
        },
        "output": {"modelName": model_name},
    }
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "TrainingRun", "metadata": named(name), "spec": spec}


def named(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE}


async def apply(plane: ControlPlane, manifest: Manifest, user: str = "alice") -> None:
    await asyncio.to_thread(plane.kubectl, "create", "-f", "-", user=user, stdin=json.dumps(manifest))


def frozen() -> str:
    return SnapshotReport(
        SnapshotOutcome.FROZEN, digest=DIGEST, source_digest=DIGEST, uri="s3://millrace/d/", rows=100, bytes=999
    ).to_json()


def measured(auc: str = "0.7") -> str:
    tensor = reports.Tensor("numeric", "FP32", (-1, 4))
    return TrainingReport(
        TrainingOutcome.SUCCEEDED,
        artifact=reports.Artifact("s3://millrace/model.onnx", DIGEST, 1234),
        signature=reports.Signature((tensor,), (tensor,)),
        golden_set_uri="s3://millrace/golden.json",
        reference_profile_uri="s3://millrace/profile.json",
        metrics=(Measurement("roc_auc", auc),),
    ).to_json()


async def frozen_dataset(plane: ControlPlane, kube: Kube, name: str) -> None:
    await apply(plane, make_dataset(name))
    pod = await live_pod(kube, {"millrace.dev/dataset": name})
    await write_pod_status(plane, pod, "Succeeded", snapshot=ended(0, frozen()))
    await standing(kube, resources.DATASETS, name, "Ready", "VersionAvailable")


@pytest.mark.usefixtures("operator")
async def test_from_a_source_to_a_model_that_a_person_approved(plane: ControlPlane, kube: Kube) -> None:
    await apply(plane, make_run("churn-lr", "churn", "churn"))
    await standing(kube, resources.TRAINING_RUNS, "churn-lr", "Reconciling", "DatasetNotFound")
    await frozen_dataset(plane, kube, "churn")
    await until(lambda: no_jobs(kube, "churn"), "the answered snapshot Job is gone")

    pod = await live_pod(kube, {"millrace.dev/training-run": "churn-lr"})
    await write_pod_status(plane, pod, "Pending", fetch=ended(0), train=RUNNING)
    await standing(kube, resources.TRAINING_RUNS, "churn-lr", "Reconciling", "Training")
    await write_pod_status(plane, pod, "Running", fetch=ended(0), train=ended(0), evaluate=RUNNING)
    await standing(kube, resources.TRAINING_RUNS, "churn-lr", "Reconciling", "Evaluating")
    await write_pod_status(plane, pod, "Succeeded", fetch=ended(0), train=ended(0), evaluate=ended(0, measured()))
    run = await standing(kube, resources.TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")
    assert run["status"]["modelRef"] == {"name": "churn-1"}
    assert run["status"]["gates"][1]["message"] == "holds, as there was no champion to compare with"

    made = await standing(kube, resources.MODELS, "churn-1", "Stalled", "PendingApproval")
    assert "ownerReferences" not in made["metadata"]
    shown = made["status"]["message"].rpartition(" Next: ")[2]
    forgery = shown.replace("$(kubectl auth whoami -o jsonpath={.status.userInfo.username})", "bob")
    forged = await asyncio.to_thread(shell.run, plane, forgery, user="alice")
    assert forged.code != 0
    approved = await asyncio.to_thread(shell.run, plane, shown, user="bob")
    assert approved.code == 0, approved.err
    await standing(kube, resources.MODELS, "churn-1", "Ready", "QuorumReached")
    for kind in ("mds/churn", "mtr/churn-lr", "mmd/churn-1"):
        await asyncio.to_thread(plane.kubectl, "wait", kind, "-n", NAMESPACE, "--for=condition=Ready", "--timeout=5s")


async def no_jobs(kube: Kube, name: str) -> bool:
    return not await kube.list(resources.JOBS, NAMESPACE, {"millrace.dev/dataset": name})


@pytest.mark.usefixtures("operator")
async def test_a_verdict_ends_the_run_at_the_first_attempt(plane: ControlPlane, kube: Kube) -> None:
    await frozen_dataset(plane, kube, "verdict")
    await apply(plane, make_run("verdict-lr", "verdict", "verdict"))
    pod = await live_pod(kube, {"millrace.dev/training-run": "verdict-lr"})
    words = StageFailure("train", "UnknownParameter", "There is no parameter depth.").to_json()
    await write_pod_status(plane, pod, "Failed", fetch=ended(0), train=ended(reports.EXIT_VERDICT, words))
    run = await standing(kube, resources.TRAINING_RUNS, "verdict-lr", "Failed", "UnknownParameter")
    assert "There is no parameter depth." in run["status"]["message"]
    assert len(await kube.list(resources.PODS, NAMESPACE, {"millrace.dev/training-run": "verdict-lr"})) == 1
    assert not await kube.list(resources.MODELS, NAMESPACE, {"millrace.dev/model-name": "verdict"})


@pytest.mark.usefixtures("operator")
async def test_a_run_that_hangs_says_in_which_stage_after_its_pod_is_gone(plane: ControlPlane, kube: Kube) -> None:
    await frozen_dataset(plane, kube, "hangs")
    run = make_run("hangs-lr", "hangs", "hangs")
    run["spec"]["activeDeadlineSeconds"] = 4
    await apply(plane, run)
    pod = await live_pod(kube, {"millrace.dev/training-run": "hangs-lr"})
    await write_pod_status(plane, pod, "Pending", fetch=ended(0), train=RUNNING)
    failed = await standing(kube, resources.TRAINING_RUNS, "hangs-lr", "Failed", "DeadlineExceeded")
    assert "it hung in stage Training" in failed["status"]["message"]


@pytest.mark.usefixtures("operator")
async def test_a_refused_first_version_stalls_and_a_changed_spec_looks_again(plane: ControlPlane, kube: Kube) -> None:
    await apply(plane, make_dataset("refused"))
    pod = await live_pod(kube, {"millrace.dev/dataset": "refused"})
    words = SnapshotReport(SnapshotOutcome.REJECTED, "SourceNotFound", "There is no s3://lake/churn.csv.").to_json()
    await write_pod_status(plane, pod, "Succeeded", snapshot=ended(0, words))
    stalled = await standing(kube, resources.DATASETS, "refused", "Stalled", "SourceNotFound")
    command = stalled["status"]["message"].split("kubectl ", 1)[1].replace("'", "")
    await asyncio.to_thread(plane.kubectl, *command.split(), user="alice")
    again = await live_pod(kube, {"millrace.dev/dataset": "refused"}, avoid=(pod["metadata"]["name"],))
    await write_pod_status(plane, again, "Succeeded", snapshot=ended(0, frozen()))
    ready = await standing(kube, resources.DATASETS, "refused", "Ready", "VersionAvailable")
    assert ready["status"]["nextCheckTime"]
