"""What a pass must see although the caches know less, or something has vanished."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.observe import training_run
from millrace.settings import Settings
from millrace.testing import ManualClock, make_manifest

DIGEST = f"sha256:{'a' * 64}"
RUN = {
    "author": "ada",
    "datasetRef": {"name": "churn"},
    "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
    "evaluation": {"metrics": ["roc_auc"]},
    "output": {"modelName": "churn"},
}
STATUS = {
    "resolved": {"dataset": {"name": "churn", "version": 1, "digest": DIGEST}, "datasetUri": "s3://millrace/d/"},
    "jobName": "gb-12345678",
}


class Silent:
    """An API server that must not be asked."""

    async def list(
        self, resource: ResourceType, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        raise AssertionError(f"{resource.plural} were listed live")


async def test_a_run_whose_job_vanished_sees_the_model_it_made_and_no_other() -> None:
    settings = Settings(namespace="default", trainer_image="t", server_image="s", router_image="r")
    clock = ManualClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))
    world = World(store=Store(), kube=cast("Kube", Silent()), clock=clock, settings=settings)
    world.store.put(resources.TRAINING_RUNS, make_manifest(resources.TRAINING_RUNS, "gb", spec=RUN, status=STATUS))
    for name, uid in (("churn-5", "uid-gb"), ("churn-6", "another")):
        labels = {"millrace.dev/training-run-uid": uid}
        world.store.put(resources.MODELS, make_manifest(resources.MODELS, name, labels=labels, spec={}))
    seen = await training_run.observe(world, "default", "gb")
    assert seen is not None
    assert seen.job is None
    assert [model.name for model in seen.models] == ["churn-5"]
