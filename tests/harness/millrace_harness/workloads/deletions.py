"""Objects that go, or come back under the same name, while something is under way."""

from __future__ import annotations

from typing import Any, Final

from millrace.api import keys
from millrace.api.resources import (
    CONFIG_MAPS,
    DATASETS,
    DEPLOYMENTS,
    JOBS,
    MODELS,
    SERVICES,
    TRAINING_RUNS,
    WORKLOADS,
    ResourceType,
)
from millrace_harness.kubelet import Source
from millrace_harness.people import Unmet
from millrace_harness.stage import NODE, Stage

from . import manifests
from .canaries import call, hold, kept
from .manifests import SOURCE, digest
from .pipeline import PENDING, approved, freeze, frozen, made
from .serving import CHAMPION, IDLE, approve, serve, serving
from .wanted import Is, Wanted
from .workload import workload

REGISTERED: Final = (made("churn-1"), Is("Model", "churn-1", PENDING))


async def see_a_job(stage: Stage, owner: dict[str, str]) -> None:
    """A Job of that owner is there."""
    await stage.people.until(lambda: stage.people.list_as(NODE, JOBS, owner), f"a Job with {owner}")


async def hang(stage: Stage) -> None:
    """A look at the source of `churn` that never ends."""
    stage.script.sources[SOURCE] = Source("v1", hangs=True)
    await stage.people.create(manifests.dataset())
    await see_a_job(stage, {keys.DATASET: "churn"})


@workload("dataset-deleted", Wanted())
async def _dataset_deleted(stage: Stage) -> None:
    """A Dataset goes while its source is read: the Job goes with it."""
    await hang(stage)
    await stage.people.delete(DATASETS, "churn")


@workload("dataset-recreated", Wanted((frozen(),)))
async def _dataset_recreated(stage: Stage) -> None:
    """Another Dataset of the same name comes while the first one's source is still read."""
    await hang(stage)
    await stage.people.delete(DATASETS, "churn")
    stage.script.sources[SOURCE] = Source("v2")
    await stage.people.create(manifests.dataset())


@workload("dataset-deleted-during-run", Wanted(REGISTERED, jobs={"training/churn-lr": 1}))
async def _dataset_of_a_run(stage: Stage) -> None:
    """A run ends as it would, though its Dataset is gone."""
    await freeze(stage)
    stage.kubelet.frozen.add("training")
    await stage.people.create(manifests.training_run())
    await see_a_job(stage, {keys.TRAINING_RUN: "churn-lr"})
    await stage.people.delete(DATASETS, "churn")
    stage.kubelet.frozen.clear()
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")


@workload("run-deleted", Wanted((frozen(),)))
async def _run_deleted(stage: Stage) -> None:
    """A run goes while it trains: the Job goes with it, and no Model comes."""
    await train_for_ever(stage)
    await stage.people.delete(TRAINING_RUNS, "churn-lr")


async def train_for_ever(stage: Stage) -> None:
    """A run that hangs in its trainer."""
    await freeze(stage)
    await stage.people.create(manifests.training_run(parameters={"hang": "train"}))
    await see_a_job(stage, {keys.TRAINING_RUN: "churn-lr"})


@workload("run-recreated", Wanted((frozen(), *REGISTERED), jobs={"training/churn-lr": 1}))
async def _run_recreated(stage: Stage) -> None:
    """Another run of the same name comes while the first one trains."""
    await train_for_ever(stage)
    await stage.people.delete(TRAINING_RUNS, "churn-lr")
    await stage.people.create(manifests.training_run())
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")


WITHDRAWN: Final = kept("RolledBack", Is("Model", "churn-2"), quarantined=False)


@workload("canary-model-deleted", Wanted((WITHDRAWN.objects[0], WITHDRAWN.objects[2]), servers=WITHDRAWN.servers))
async def _model_deleted(stage: Stage) -> None:
    """The Model that is tried goes: its traffic goes back."""
    await hold(stage)
    await stage.people.delete(MODELS, "churn-2")
    await stage.people.stable("churn", "churn-1")
    call(stage)


@workload(
    "canary-model-recreated",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=CHAMPION),
            serving("churn-2", history=2, facts={"status.stable.digest": digest("better")}),
        ),
        servers={"churn": {"churn-2": 1}},
    ),
)
async def _model_recreated(stage: Stage) -> None:
    """The Model that is tried goes, and other bytes come under its name: they are served once they are approved."""
    await hold(stage)
    await stage.people.delete(MODELS, "churn-2")
    await stage.people.create(manifests.model(2, "better"))
    call(stage)
    await stage.people.decide("churn-2")
    await stage.people.see(DEPLOYMENTS, "churn", "the other bytes are stable", _serves(digest("better")))


def _serves(wanted: str) -> Any:
    return lambda one: ((one.get("status") or {}).get("stable") or {}).get("digest") == wanted


@workload(
    "stable-model-deleted",
    Wanted((serving("churn-1", stalled="NoApprovedModel", history=1),), servers={"churn": {"churn-1": 1}}),
)
async def _stable_deleted(stage: Stage) -> None:
    """What serves keeps serving when its Model is gone."""
    await serve(stage)
    await stage.people.delete(MODELS, "churn-1")
    await stage.people.see(DEPLOYMENTS, "churn", "it says so", lambda one: "is gone" in one["status"]["message"])
    await stage.people.standing(DEPLOYMENTS, "churn", "Stalled", "NoApprovedModel")


@workload("deployment-deleted", Wanted((approved("churn-1", facts=IDLE), approved("churn-2", facts=IDLE))))
async def _deployment_deleted(stage: Stage) -> None:
    """A Deployment goes while a canary is held: everything that it made goes with it, the Models stay."""
    await hold(stage)
    await stage.people.delete(DEPLOYMENTS, "churn")


@workload(
    "deployment-recreated",
    Wanted(
        (approved("churn-1", facts=IDLE), approved("churn-2", facts=CHAMPION), serving("churn-2", history=1)),
        servers={"churn": {"churn-2": 1}},
    ),
)
async def _deployment_recreated(stage: Stage) -> None:
    """Another Deployment of the same name comes while the first one's pods are still there."""
    await hold(stage)
    await stage.people.delete(DEPLOYMENTS, "churn")
    await stage.people.create(manifests.deployment())
    await stage.people.stable("churn", "churn-2")


@workload(
    "children-deleted",
    Wanted((approved("churn-1", facts=CHAMPION), serving("churn-1", history=1)), servers={"churn": {"churn-1": 1}}),
)
async def _children_deleted(stage: Stage) -> None:
    """Somebody deletes the router's files, a workload and a Service: they are made again."""
    await serve(stage)
    found = await stage.people.see(DEPLOYMENTS, "churn", "its revision", lambda one: one["status"].get("stable"))
    server = f"churn-{found['status']['stable']['revision']}"
    gone: tuple[tuple[ResourceType, str], ...] = (
        (CONFIG_MAPS, "churn-router"),
        (WORKLOADS, server),
        (SERVICES, server),
        (SERVICES, "churn"),
    )
    for resource, name in gone:
        await stage.people.delete(resource, name, NODE)


@workload(
    "name-taken",
    Wanted((approved("churn-1", facts=CHAMPION), serving("churn-1", history=1)), servers={"churn": {"churn-1": 1}}),
)
async def _name_taken(stage: Stage) -> None:
    """A ConfigMap of somebody else has the router's name: nothing is taken over, and its removal is all it needs."""
    metadata = {"name": "churn-router", "namespace": stage.namespace}
    await stage.people.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}, NODE)
    await approve(stage, 1)
    await stage.people.create(manifests.deployment())
    await stage.people.standing(DEPLOYMENTS, "churn", "Stalled", "NameConflict")
    found = await stage.people.get(CONFIG_MAPS, "churn-router", NODE)
    if found is None or found["data"] != {"a": "b"}:
        raise Unmet(f"a ConfigMap of somebody else was taken over: {found}")
    await stage.people.delete(CONFIG_MAPS, "churn-router", NODE)
    await stage.people.stable("churn", "churn-1")
