"""What goes by itself: Jobs of runs that ended, and what is over a Dataset's limits."""

from __future__ import annotations

from typing import Any, Final

from millrace.api.resources import DATASETS, MODELS, TRAINING_RUNS
from millrace_harness.kubelet import Source
from millrace_harness.stage import Stage

from . import manifests
from .manifests import SOURCE
from .pipeline import COMPLETE, PENDING, READY, approved, freeze, made
from .wanted import Is, Wanted
from .workload import workload

KEEP: Final = {
    "mode": "Delete",
    "gracePeriod": "1m",
    "versionHistoryLimit": 1,
    "modelHistoryLimit": 1,
    "successfulRunsHistoryLimit": 1,
    "failedRunsHistoryLimit": 0,
}


async def _train(stage: Stage, name: str, **spec: Any) -> None:
    """A run ends: well, unless its parameters are refused."""
    await stage.people.create(manifests.training_run(name, **spec))
    end, reason = ("Failed", "UnknownParameter") if spec else ("Complete", "ModelRegistered")
    await stage.people.standing(TRAINING_RUNS, name, end, reason)


async def _freeze_another(stage: Stage, version: int) -> None:
    """The source changes, and a version is frozen of it."""
    stage.script.sources[SOURCE] = Source(f"v{version}")
    await stage.people.edit(DATASETS, "churn", validation={"rules": [_rule(version)]})
    await stage.people.see(DATASETS, "churn", f"version {version}", _has_version(version))


def _rule(version: int) -> dict[str, Any]:
    """Another spec, so that the source is looked at."""
    return {"name": f"rows-{version}", "rowCount": {"min": 1}}


def _has_version(number: int) -> Any:
    return lambda one: ((one.get("status") or {}).get("current") or {}).get("version", 0) >= number


def _gone(models: int, runs: int, versions: int) -> Any:
    def is_gone(one: Any) -> bool:
        told = (one.get("status") or {}).get("retention") or {}
        counted = told.get("deleted") or {}
        wanted = {"models": models, "runs": runs, "versions": versions}
        return all(counted.get(name, 0) == count for name, count in wanted.items()) and not told.get("deletion")

    return is_gone


@workload(
    "old-ones-go",
    Wanted(
        (
            Is(
                "Dataset",
                "churn",
                {**READY, "Pruned": "True/WithinLimits"},
                {
                    "status.versions.#": 2,
                    "status.retention.deletion": None,
                    "status.retention.planned": None,
                    "status.retention.deleted.models": 1,
                    "status.retention.deleted.runs": 2,
                    "status.retention.deleted.versions": 1,
                },
            ),
            approved("churn-1"),
            Is("Model", "churn-3", PENDING),
            Is("TrainingRun", "run-1", COMPLETE),
            made("churn-3", "run-3"),
        ),
        jobs={"training/run-1": 1, "training/run-3": 1},
    ),
    is_long=True,
)
async def _old_ones_go(stage: Stage) -> None:
    """Of three versions, models and runs the newest is kept, and what was approved, with what it was made of. What was
    named for a minute goes, objects before files, and so does a run that failed.
    """
    await freeze(stage)
    await _train(stage, "run-1")
    await stage.people.decide("churn-1")
    await stage.people.standing(MODELS, "churn-1", "Approved", "QuorumReached")
    await _train(stage, "run-2")
    await _train(stage, "refused", parameters={"refuse": "UnknownParameter"})
    await _train(stage, "run-3")
    for version in (2, 3):
        await _freeze_another(stage, version)
    await stage.people.edit(DATASETS, "churn", retention=KEEP)
    await stage.people.see(DATASETS, "churn", "what was over its limits is gone", _gone(models=1, runs=2, versions=1))


@workload(
    "approved-at-the-last-moment",
    Wanted(
        (
            Is("Dataset", "churn", {**READY, "Pruned": "True/WithinLimits"}, {"status.versions.#": 2}),
            approved("churn-1"),
            Is("Model", "churn-2", PENDING),
            Is("TrainingRun", "run-1", COMPLETE),
            made("churn-2", "run-2"),
        ),
        jobs={"training/run-1": 1, "training/run-2": 1},
    ),
    is_long=True,
)
async def _approved_late(stage: Stage) -> None:
    """What is named as going is approved before it goes: it stays, and whatever it was made of."""
    await freeze(stage)
    await _train(stage, "run-1")
    await _train(stage, "run-2")
    await _freeze_another(stage, 2)
    await stage.people.edit(DATASETS, "churn", retention=KEEP)
    await stage.people.see(DATASETS, "churn", "what would go is named", _is_planned("churn-1"))
    await stage.people.decide("churn-1")
    await stage.people.standing(MODELS, "churn-1", "Approved", "QuorumReached")


def _is_planned(name: str) -> Any:
    return lambda one: any(
        item["name"] == name for item in (((one.get("status") or {}).get("retention") or {}).get("planned") or ())
    )


@workload(
    "jobs-of-ended-runs-go",
    Wanted(
        (
            Is("Dataset", "churn", READY),
            made("churn-1", facts={"status.jobName": None}),
            Is("Model", "churn-1", PENDING),
            Is("TrainingRun", "refused", {"Failed": "True/UnknownParameter"}, {"status.jobName": None}),
        )
    ),
)
async def _jobs_go(stage: Stage) -> None:
    """Two runs end, one of them badly; some seconds later their Jobs are gone, and what they said is in the status."""
    await freeze(stage)
    await stage.people.create(manifests.training_run(ttlSecondsAfterFinished=5))
    refused: dict[str, Any] = {"parameters": {"refuse": "UnknownParameter"}, "ttlSecondsAfterFinished": 5}
    await stage.people.create(manifests.training_run("refused", **refused))
    for name in ("churn-lr", "refused"):
        await stage.people.see(
            TRAINING_RUNS, name, "its Job is gone", lambda one: "jobName" not in (one.get("status") or {"jobName": ""})
        )
