"""Six versions of a Dataset, each with a run and a Model, of which three are kept: what many stories begin with."""

from __future__ import annotations

from datetime import timedelta

from millrace.api import resources
from millrace.contract import places
from retention_worlds import NAMESPACE, STORE, Namespace, digest

MODELS, RUNS, DATASETS, JOBS = resources.MODELS, resources.TRAINING_RUNS, resources.DATASETS, resources.JOBS
GRACE = timedelta(seconds=60)


def held(space: Namespace) -> dict[str, str]:
    return {f"{one['kind']} {one['name']}": one["reason"] for one in space.retention["held"]}


def folder(number: int) -> str:
    return places.run(STORE, NAMESPACE, "churn", f"uid-run-{number}")


def version_folder(number: int) -> str:
    return places.version(STORE, NAMESPACE, "churn", digest(f"v{number}"))


def six_versions() -> Namespace:
    """Six versions, a run on each, and a Model of each run that waits for approval; three of each are kept."""
    made = Namespace()
    made.dataset()
    made.settle_looks()
    made.freeze(5)
    for number in range(1, 7):
        made.run(number)
    return made


ALL = [*(f"Model churn-{n}" for n in (1, 2, 3)), *(f"TrainingRun run-{n}" for n in (1, 2, 3)),
       *(f"Version {n}" for n in (1, 2, 3))]  # fmt: skip
