"""What a pass must see although the caches know less, or something has vanished."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from millrace import api, errors
from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.observe import pods, policy, training_run
from millrace.observe.scrapes import Scrapes
from millrace.render import admission
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest

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

    async def list(self, resource: ResourceType, *_: Any, **__: Any) -> list[Manifest]:
        raise AssertionError(f"{resource.plural} were listed live")


class Guarded:
    """An API server that refuses every forgery, as the admission policies do."""

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        return {"metadata": {"uid": name, "generation": 1, "creationTimestamp": "2026-11-20T08:00:00Z"}}

    async def create(self, resource: ResourceType, manifest: Manifest, dry_run: bool = False) -> Manifest:
        name = admission.APPROVALS if resource is resources.MODELS else admission.RUNS
        raise errors.Forbidden(f"ValidatingAdmissionPolicy '{name}' denied the request: (rules {admission.RULES})")


def a_world(kube: Any) -> World:
    settings = Settings(namespace="operator", watch="*", trainer_image="t", server_image="s", router_image="r")
    return World(
        store=Store(), kube=kube, clock=ManualClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC)), settings=settings
    )


async def test_a_run_whose_job_vanished_sees_the_model_it_made_and_no_other() -> None:
    world = a_world(cast("Kube", Silent()))
    world.store.put(resources.TRAINING_RUNS, make_manifest(resources.TRAINING_RUNS, "gb", spec=RUN, status=STATUS))
    for name, uid in (("churn-5", "uid-gb"), ("churn-6", "another")):
        labels = {"millrace.dev/training-run-uid": uid}
        world.store.put(resources.MODELS, make_manifest(resources.MODELS, name, labels=labels, spec={}))
    seen = await training_run.observe(world, "default", "gb")
    assert seen is not None
    assert seen.job is None
    assert [model.name for model in seen.models] == ["churn-5"]


@pytest.mark.parametrize(
    ("deleted", "ready", "kept"),
    [(None, "False", True), (20, "False", True), (40, "False", False), (40, "True", True)],
    ids=["not deleted", "deleted just now", "on a lost node", "deleted and still ready"],
)
def test_a_router_on_a_lost_node_holds_nothing_up(deleted: int | None, ready: str, kept: bool) -> None:
    world = a_world(None)
    labels = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE, keys.COMPONENT: "router", keys.DEPLOYMENT: "churn"}
    running = {"containerStatuses": [{"state": {"running": {}}}], "conditions": [{"type": "Ready", "status": ready}]}
    found = make_manifest(resources.PODS, "r-0", namespace="ml", labels=labels, status=running)
    if deleted is not None:
        due = world.clock.now() - timedelta(seconds=deleted)
        found["metadata"]["deletionTimestamp"] = due.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.store.put(resources.PODS, found)
    assert len(pods.routers(world.store, "ml", "churn", world.clock.now())) == kept


async def test_deployments_are_looked_at_again_when_the_policies_come_into_force() -> None:
    world, woken = a_world(Guarded()), set()
    world.enqueue = lambda resource, namespace, name: woken.add((resource.kind, name))
    world.store.put(resources.MODELS, make_manifest(resources.MODELS, "churn-1", spec={}))
    world.store.put(resources.DEPLOYMENTS, make_manifest(resources.DEPLOYMENTS, "churn", spec={}))

    async def sleep(seconds: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await policy.watch(world, sleep)
    assert world.policy.in_force is True
    assert woken == {("Model", "churn-1"), ("Deployment", "churn")}


async def test_counting_begins_anew_when_the_operator_does() -> None:
    world, base = a_world(None), {"version": 1, "digest": DIGEST, "weight": 50, "since": "2026-11-21T07:00:00Z"}
    status = {
        "canary": {"revision": "bbbbbbbb", "model": "churn-2", **base},
        "rollout": {"startedTime": "2026-11-21T07:00:00Z", "stepStartedTime": "2026-11-21T07:00:00Z"},
    }
    spec = {"modelSelector": {"modelName": "churn"}}
    manifest = make_manifest(resources.DEPLOYMENTS, "churn", namespace="ml", spec=spec, status=status)
    world.store.put(resources.DEPLOYMENTS, manifest)
    scrapes = Scrapes(world)
    began = world.clock.now()
    for _ in range(3):
        await scrapes.round()
        cast("ManualClock", world.clock).advance(5)
    (traffic,) = scrapes.scraped(api.Deployment.model_validate(manifest)).traffic
    assert traffic.since_rollout is not None
    assert traffic.since_step is not None
    assert traffic.since_rollout.since == traffic.since_step.since == began
