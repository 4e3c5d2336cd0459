"""Datasets, runs and approvals: from a source to a Model that may be served."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from millrace.api import resources
from millrace.api.resources import DATASETS, MODELS, TRAINING_RUNS
from millrace_harness.kubelet import Source
from millrace_harness.people import CAROL
from millrace_harness.stage import Stage

from . import manifests
from .manifests import SOURCE
from .wanted import NONE, Is, Wanted
from .workload import workload

READY: Final = {"Ready": "True/VersionAvailable", "Reconciling": "False", "Stalled": "False"}
COMPLETE: Final = {"Ready": "True/ModelRegistered", "Complete": "True", "Failed": "False", "GatesPassed": "True"}
PENDING: Final = {"Ready": "False/PendingApproval", "Approved": "False/PendingApproval", "Stalled": "True"}
APPROVED: Final = {"Ready": "True/QuorumReached", "Approved": "True/QuorumReached", "Stalled": "False"}


def frozen(versions: int = 1, name: str = "churn", facts: Mapping[str, Any] = NONE) -> Is:
    """A Dataset that has so many versions, the newest good."""
    numbers = {"status.current.version": versions, "status.versions.#": versions, "status.jobName": None}
    return Is("Dataset", name, {**READY, "Ingested": "True", "Valid": "True"}, {**numbers, **facts})


def made(model: str, name: str = "churn-lr", facts: Mapping[str, Any] = NONE) -> Is:
    """A run that made this Model."""
    return Is("TrainingRun", name, COMPLETE, {"status.modelRef.name": model, **facts})


def failed(name: str, reason: str) -> Is:
    """A run that ended for this reason."""
    conditions = {"Ready": f"False/{reason}", "Failed": f"True/{reason}", "Complete": "False", "Stalled": "True"}
    return Is("TrainingRun", name, conditions, {"status.modelRef": None})


def approved(name: str, facts: Mapping[str, Any] = NONE) -> Is:
    """A Model that a person approved."""
    return Is("Model", name, APPROVED, facts)


async def freeze(stage: Stage, content: str = "v1", **spec: Any) -> None:
    """The Dataset `churn` has its first version."""
    stage.script.sources[SOURCE] = Source(content)
    await stage.people.create(manifests.dataset(**spec))
    await stage.people.standing(DATASETS, "churn", "Ready", "VersionAvailable")


@workload("dataset-frozen", Wanted((frozen(),)))
async def _dataset_frozen(stage: Stage) -> None:
    """A source becomes version 1."""
    await freeze(stage)


@workload("dataset-refreshed", Wanted((frozen(2),)))
async def _dataset_refreshed(stage: Stage) -> None:
    """The source changes, and the next look finds a second version; then nobody looks any more."""
    await freeze(stage, refresh={"interval": "5s"})
    stage.script.sources[SOURCE] = Source("v2")
    await stage.people.see(DATASETS, "churn", "version 2", _has_version(2))
    await stage.people.edit(DATASETS, "churn", refresh=None)


def _has_version(number: int) -> Any:
    return lambda one: ((one.get("status") or {}).get("current") or {}).get("version", 0) >= number


@workload(
    "bad-source-keeps-version",
    Wanted(
        (
            Is(
                "Dataset",
                "churn",
                {"Ready": "True/RuleViolated", "Stalled": "True/RuleViolated", "Valid": "False/RuleViolated"},
                {"status.versions.#": 1, "status.failedRules.#": 1, "status.jobName": None},
            ),
        )
    ),
)
async def _bad_source(stage: Stage) -> None:
    """The source breaks a rule: the version before stays, and the status says which rule. No version is of the spec as
    it is in the end, so that is not Current.
    """
    await freeze(stage, refresh={"interval": "5s"})
    stage.script.sources[SOURCE] = Source("bad", problem="RuleViolated")
    await stage.people.see(DATASETS, "churn", "a rule fails", lambda one: one["status"].get("failedRules"))
    await stage.people.edit(DATASETS, "churn", refresh=None)


@workload("refused-source-corrected", Wanted((frozen(),)))
async def _refused_source(stage: Stage) -> None:
    """Nothing lies at the URI, which stalls; another URI is looked at anew."""
    stage.script.sources["s3://lake/other.csv"] = Source("v1")
    await stage.people.create(manifests.dataset())
    await stage.people.standing(DATASETS, "churn", "Stalled", "SourceNotFound")
    await stage.people.edit(DATASETS, "churn", source={"storageUri": "s3://lake/other.csv"})


@workload(
    "run-makes-model",
    Wanted((frozen(), made("churn-1"), Is("Model", "churn-1", PENDING)), jobs={"training/churn-lr": 1}),
)
async def _run_makes_model(stage: Stage) -> None:
    """A run passes its gates and registers a Model that waits for approval."""
    await freeze(stage)
    await stage.people.create(manifests.training_run())
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")


@workload(
    "run-before-dataset",
    Wanted((frozen(), made("churn-1"), Is("Model", "churn-1", PENDING)), jobs={"training/churn-lr": 1}),
)
async def _run_before_dataset(stage: Stage) -> None:
    """A run waits for a Dataset that comes after it."""
    await stage.people.create(manifests.training_run())
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Reconciling", "DatasetNotFound")
    await freeze(stage)
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")


@workload(
    "run-crashes-once",
    Wanted(
        (frozen(), made("churn-1", facts={"status.attempts": 2}), Is("Model", "churn-1", PENDING)),
        jobs={"training/churn-lr": 1},
    ),
    is_long=True,
)
async def _run_crashes(stage: Stage) -> None:
    """The first attempt crashes, the second one makes the Model."""
    await freeze(stage)
    await stage.people.create(manifests.training_run(parameters={"crash": "1"}))


@workload(
    "runs-that-fail",
    Wanted(
        (
            frozen(),
            failed("weak", "GatesFailed"),
            failed("refused", "UnknownParameter"),
            failed("crashed", "TrainerCrashed"),
            failed("hung", "DeadlineExceeded"),
        ),
        jobs={"training/*": 4},
    ),
)
async def _runs_that_fail(stage: Stage) -> None:
    """Four ways to make no Model: a gate, a verdict, a crash, a deadline."""
    await freeze(stage)
    runs = (
        manifests.training_run("weak", parameters={"auc": "0.5"}),
        manifests.training_run("refused", parameters={"refuse": "UnknownParameter"}),
        manifests.training_run("crashed", parameters={"crash": "9"}, backoffLimit=0),
        manifests.training_run("hung", parameters={"hang": "train"}, activeDeadlineSeconds=4),
    )
    for run in runs:
        await stage.people.create(run)


@workload(
    "runs-number-models",
    Wanted(
        (
            frozen(),
            Is("TrainingRun", "run-a", COMPLETE),
            Is("TrainingRun", "run-b", COMPLETE),
            Is("TrainingRun", "run-c", COMPLETE),
            Is("Model", "churn-1", PENDING),
            Is("Model", "churn-2", PENDING),
            Is("Model", "churn-3", PENDING),
        ),
        jobs={"training/*": 3},
    ),
    alike=("run-a", "run-b", "run-c"),
)
async def _runs_number_models(stage: Stage) -> None:
    """Three runs at a time for one registered model: versions 1, 2 and 3, each once."""
    await freeze(stage)
    names = ("run-a", "run-b", "run-c")
    await asyncio.gather(*(stage.people.create(manifests.training_run(name)) for name in names))


@workload(
    "automatic-approval",
    Wanted(
        (frozen(), made("churn-1"), Is("Model", "churn-1", {"Ready": "True/AutoApproved", "Approved": "True"})),
        jobs={"training/churn-lr": 1},
    ),
)
async def _automatic_approval(stage: Stage) -> None:
    """A run whose output needs nobody's approval, asked for by somebody who may approve."""
    await freeze(stage)
    output = {"modelName": "churn", "approvalPolicy": {"required": 0}}
    await stage.people.create(manifests.training_run(author=CAROL, output=output), CAROL)


@workload("approved-and-revoked", Wanted((Is("Model", "churn-1", PENDING, {"status.approvals.granted": 0}),)))
async def _approved_and_revoked(stage: Stage) -> None:
    """An approval is given and taken back."""
    await stage.people.create(manifests.model(1))
    await stage.people.decide("churn-1")
    await stage.people.standing(MODELS, "churn-1", "Approved", "QuorumReached")
    await stage.people.decide("churn-1", "Revoke")


@workload("quorum-of-two", Wanted((approved("churn-1", facts={"status.approvals.granted": 2}),)))
async def _quorum(stage: Stage) -> None:
    """Two people must agree."""
    await stage.people.create(manifests.model(1, approvalPolicy={"required": 2}))
    await stage.people.decide("churn-1")
    await stage.people.see(resources.MODELS, "churn-1", "one approval counts", _granted(1))
    await stage.people.decide("churn-1", user=CAROL)


def _granted(count: int) -> Any:
    return lambda one: ((one.get("status") or {}).get("approvals") or {}).get("granted") == count


@workload(
    "rejected",
    Wanted((Is("Model", "churn-1", {"Ready": "False/Rejected", "Approved": "False/Rejected", "Stalled": "True"}),)),
)
async def _rejected(stage: Stage) -> None:
    """One person approves, another rejects: it is not approved."""
    await stage.people.create(manifests.model(1))
    await stage.people.decide("churn-1")
    await stage.people.standing(MODELS, "churn-1", "Approved", "QuorumReached")
    await stage.people.decide("churn-1", "Reject", CAROL)


@workload("edited-during-look", Wanted((frozen(),)))
async def _edited_during_look(stage: Stage) -> None:
    """A source that never ends is replaced while it is read: the look at it ends, and the other one is frozen."""
    stage.script.sources[SOURCE] = Source("v1", hangs=True)
    stage.script.sources["s3://lake/other.csv"] = Source("v2")
    await stage.people.create(manifests.dataset())
    await stage.people.see(DATASETS, "churn", "a look", lambda one: (one.get("status") or {}).get("jobName"))
    await stage.people.edit(DATASETS, "churn", source={"storageUri": "s3://lake/other.csv"})
