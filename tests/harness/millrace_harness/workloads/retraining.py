"""The closed loop: drift is seen, a run is started when there is new data, and its model is rolled out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace.api import keys
from millrace.api.resources import DATASETS, DEPLOYMENTS, MODELS, TRAINING_RUNS
from millrace_harness.history import Manifest
from millrace_harness.kubelet import Source
from millrace_harness.people import ALICE
from millrace_harness.stage import Stage

from . import manifests
from .manifests import SOURCE, STEPS
from .pipeline import approved, freeze, frozen, made
from .serving import CHAMPION, IDLE, serving
from .wanted import NONE, Is, Wanted
from .workload import workload

MONITORING: Final = {"drift": {"interval": "1s", "minSamples": 200}}
RETRAINING: Final = {
    "trainingRunRef": {"name": "churn-lr"},
    "triggers": [{"name": "drift", "drift": {}}],
    "limits": {"cooldown": "1s", "maxRunsPerDay": 2},
}
CLONE: Final = "churn-drift-*"
RESOLVED: Final = {"status.resolved.dataset.version": 2, "status.resolved.champion.name": "churn-1"}


def watched(found: Is, drift: str, blocked: str, facts: Mapping[str, Any] = NONE) -> Is:
    """A Deployment with what its monitoring and its retraining say."""
    conditions = {**found.conditions, "DriftDetected": drift, "RetrainingBlocked": blocked}
    return Is(found.kind, found.name, conditions, {**found.facts, **facts})


async def serve_a_trained_model(stage: Stage) -> None:
    """`churn-1`, trained on version 1 of the Dataset, is served, and drift is watched."""
    await freeze(stage, refresh={"interval": "10s"})
    await stage.people.create(manifests.training_run())
    await stage.people.standing(TRAINING_RUNS, "churn-lr", "Complete", "ModelRegistered")
    await stage.people.decide("churn-1")
    await stage.people.create(manifests.deployment(steps=STEPS, monitoring=MONITORING, retraining=RETRAINING))
    await stage.people.stable("churn", "churn-1")


async def shift(stage: Stage) -> None:
    """Other people call than those the model was trained on; the Deployment notices, and there is no new data yet."""
    stage.envoys.advance(stage.clock.monotonic())
    stage.envoys.shape = "new"
    await stage.people.standing(DEPLOYMENTS, "churn", "DriftDetected", "DriftDetected")
    await stage.people.standing(DEPLOYMENTS, "churn", "RetrainingBlocked", "NoNewData")


async def rest(stage: Stage) -> None:
    """Nobody calls and nobody looks at the source any more."""
    stage.envoys.advance(stage.clock.monotonic())
    stage.envoys.quiet("churn")
    await stage.people.edit(DATASETS, "churn", refresh=None)


@workload(
    "drift-retrains",
    Wanted(
        (
            frozen(2),
            made("churn-1"),
            made(
                "churn-2",
                CLONE,
                facts={"status.resolved.dataset.version": 2, "status.resolved.champion.name": "churn-1"},
            ),
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=CHAMPION),
            watched(
                serving("churn-2", history=2),
                "False/NoDrift",
                "False/WithinLimits",
                facts={"status.retraining.lastTrigger": "drift", "status.retraining.runsLast24h": 1},
            ),
        ),
        servers={"churn": {"churn-2": 1}},
        jobs={"training/churn-lr": 1, f"training/{CLONE}": 1},
    ),
)
async def _drift_retrains(stage: Stage) -> None:
    """Drift, new data, a clone of the run, a second model, its approval, its canary, its promotion: drift is over."""
    await serve_a_trained_model(stage)
    await shift(stage)
    stage.script.sources[SOURCE] = Source("v2", shape="new")
    await stage.people.until(lambda: stage.people.get(MODELS, "churn-2"), "the clone's Model")
    await stage.people.decide("churn-2")
    await stage.people.stable("churn", "churn-2")
    await stage.people.see(DEPLOYMENTS, "churn", "no drift", _has_no_drift)
    await rest(stage)


def _has_no_drift(one: dict[str, Any]) -> bool:
    return bool(one["status"]["monitoring"]["drift"]["state"] == "None")


@workload(
    "drift-without-new-data",
    Wanted(
        (
            frozen(),
            made("churn-1"),
            approved("churn-1", facts=CHAMPION),
            watched(serving("churn-1", history=1), "True/DriftDetected", "True/NoNewData"),
        ),
        servers={"churn": {"churn-1": 1}},
        jobs={"training/churn-lr": 1},
    ),
)
async def _no_new_data(stage: Stage) -> None:
    """Drift without new data starts nothing, and says so."""
    await serve_a_trained_model(stage)
    await shift(stage)
    await rest(stage)


@workload(
    "retrained-in-vain",
    Wanted(
        (
            frozen(2),
            made("churn-1"),
            Is("TrainingRun", CLONE, {"Failed": "True/GatesFailed"}, {"status.resolved.dataset.version": 2}),
            approved("churn-1", facts=CHAMPION),
            watched(
                serving("churn-1", history=1),
                "True/DriftDetected",
                "True/AlreadyTried",
                facts={"status.retraining.runsLast24h": 1},
            ),
        ),
        servers={"churn": {"churn-1": 1}},
        jobs={"training/churn-lr": 1, f"training/{CLONE}": 1},
    ),
)
async def _in_vain(stage: Stage) -> None:
    """The clone fails its gates: it is not started again for the same drift and the same data."""
    await serve_a_trained_model(stage)
    await shift(stage)
    stage.script.sources[SOURCE] = Source("v2", shape="new", quality="0.5")
    await stage.people.standing(DEPLOYMENTS, "churn", "RetrainingBlocked", "AlreadyTried")
    await rest(stage)


@workload(
    "clone-deleted",
    Wanted(
        (
            frozen(2),
            made("churn-1"),
            approved("churn-1", facts=CHAMPION),
            watched(serving("churn-1", history=1), "True/DriftDetected", "True/AlreadyTried"),
        ),
        servers={"churn": {"churn-1": 1}},
        jobs={"training/churn-lr": 1},
    ),
)
async def _clone_deleted(stage: Stage) -> None:
    """Somebody deletes the run that drift started while it trains: it is not started again."""
    await serve_a_trained_model(stage)
    await shift(stage)
    stage.kubelet.frozen.add("training")
    stage.script.sources[SOURCE] = Source("v2", shape="new")
    clone = await stage.people.until(lambda: _clone(stage), "a clone with a Job")
    await stage.people.delete(TRAINING_RUNS, clone["metadata"]["name"])
    stage.kubelet.frozen.clear()
    await stage.people.standing(DEPLOYMENTS, "churn", "RetrainingBlocked", "AlreadyTried")
    await rest(stage)


async def _clone(stage: Stage) -> Manifest | None:
    found = await stage.people.list_as(ALICE, TRAINING_RUNS, {keys.TRIGGER: "drift"})
    return next((one for one in found if (one.get("status") or {}).get("resolved")), None)
