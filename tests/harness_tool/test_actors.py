"""The node, the routers and the users of the simulation: what they do follows from what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from millrace.api import keys, resources
from millrace.clients.scrape import ScrapeFailed
from millrace.contract import environment, exposition, report
from millrace.contract import router as routers
from millrace.contract.environment import SnapshotTask
from millrace.contract.task import ANNOTATION
from millrace.decide.deployment import drift
from millrace.observe.exposition import server_page
from millrace.render.router import Backend, RouterConfig, config_map_data
from millrace_harness.apiserver import ApiServer
from millrace_harness.envoy import SHAPES, Behaviour, Envoys
from millrace_harness.kubelet import Source, digest_of
from millrace_harness.people import Unmet
from millrace_harness.replica import SimKube
from millrace_harness.stage import NODE, Stage
from millrace_harness.virtual import VirtualClock, VirtualLoop
from millrace_harness.workloads import manifests

OLD, NEW = "aaaaaaaa", "bbbbbbbb"
SPLIT = RouterConfig((Backend(OLD, "churn-old", weight=75), Backend(NEW, "churn-new", weight=25, fallback=OLD)))
ALL_OLD = RouterConfig((Backend(OLD, "churn-old", weight=100), Backend(NEW, "churn-new", fallback=OLD)))


def pod(name: str, component: str, address: str, *, revision: str = "", digest: str = "") -> dict[str, Any]:
    labels = {keys.COMPONENT: component, keys.DEPLOYMENT: "churn", keys.REVISION: revision}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {"containers": [{"name": component, "env": [{"name": "MILLRACE_DIGEST", "value": digest}]}]},
        "status": {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def files(config: RouterConfig) -> list[dict[str, Any]]:
    return [{"metadata": {"name": "churn-router"}, "data": config_map_data(config)}]


PODS = [
    pod("router", "router", "10.0.0.1"),
    pod("old", "server", "10.0.0.2", revision=OLD, digest="good"),
    pod("new", "server", "10.0.0.3", revision=NEW, digest="bad"),
]


def ask(envoys: Envoys, host: str, port: int, path: str, now: float) -> str:
    return asyncio.run(envoys.fetch(host, port, path, now))


def counted(envoys: Envoys, now: float) -> dict[str, routers.RevisionTraffic]:
    page = ask(envoys, "10.0.0.1", environment.ROUTER_STATS_PORT, routers.SCRAPE_PATH, now)
    return routers.revisions(exposition.parse(page))


def test_a_router_applies_its_files_a_moment_after_they_changed() -> None:
    envoys = Envoys(lag=0.5)
    envoys.look(PODS, files(ALL_OLD), 0.0)
    envoys.look(PODS, files(SPLIT), 10.0)
    told = [ask(envoys, "10.0.0.1", environment.ROUTER_STATS_PORT, "/generation", now) for now in (10.4, 10.6)]
    assert told == [ALL_OLD.generation, SPLIT.generation]


def test_requests_are_split_by_the_weights_that_were_applied_at_the_time() -> None:
    envoys = Envoys(lag=1.0)
    envoys.rate["churn"] = 100.0
    envoys.look(PODS, files(ALL_OLD), 0.0)
    envoys.look(PODS, files(SPLIT), 10.0)
    envoys.advance(11.0)
    found = counted(envoys, 15.0)
    assert (found[OLD].completed, found[NEW].completed) == (1100 + 300, 100)


def test_a_bad_model_fails_its_share_and_a_slow_one_is_slow() -> None:
    envoys = Envoys()
    envoys.behaviours["bad"] = Behaviour(errors=0.25, slow=0.5, refused=0.75)
    envoys.rate["churn"] = 100.0
    envoys.look(PODS, files(SPLIT), 0.0)
    found = counted(envoys, 16.0)
    assert (found[NEW].attempts, found[NEW].failed, found[OLD].failed) == (400, 100, 0)
    assert (found[NEW].refused, found[OLD].refused) == (300, 0)
    assert found[NEW].latency_ms[1000.0] - found[NEW].latency_ms[500.0] == 0
    assert found[NEW].latency_ms[2500.0] - found[NEW].latency_ms[1000.0] == 200


def test_without_a_server_of_its_own_nothing_is_learnt_about_a_canary() -> None:
    envoys = Envoys()
    envoys.look(PODS[:2], files(SPLIT), 0.0)
    found = counted(envoys, 4.0)
    assert found[NEW].completed > 0
    assert (found[NEW].attempts, found[NEW].healthy, found[OLD].healthy) == (0, 0, 1)


@pytest.mark.parametrize("shape, state", [("old", "None"), ("new", "Drifted")])
def test_rows_of_another_shape_are_drift(shape: str, state: str) -> None:
    envoys = Envoys()
    envoys.shape = shape
    envoys.look(PODS, files(ALL_OLD), 0.0)
    page = server_page(ask(envoys, "10.0.0.2", environment.SERVER_PORT, "/metrics", 20.0))
    _, verdict = drift.look(drift.Memory(), page.live, page.reference, drift.Rule())
    assert verdict.state == state


def test_a_model_that_was_trained_on_the_new_shape_does_not_drift() -> None:
    envoys = Envoys()
    envoys.shape, envoys.behaviours["good"] = "new", Behaviour(reference="new")
    envoys.look(PODS, files(ALL_OLD), 0.0)
    page = server_page(ask(envoys, "10.0.0.2", environment.SERVER_PORT, "/metrics", 20.0))
    assert page.reference["income"][3] == SHAPES["new"][3] * 40
    assert drift.distance(page.live["income"], page.reference["income"]) < 0.01


def test_what_does_not_run_does_not_answer() -> None:
    with pytest.raises(ScrapeFailed, match=r"10\.0\.0\.9:8080"):
        ask(Envoys(), "10.0.0.9", 8080, "/metrics", 0.0)


def simulate(story: Callable[[Stage], Awaitable[None]]) -> ApiServer:
    """Tell a story on the model of the API server, without an operator."""

    async def tell() -> ApiServer:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        server = ApiServer(loop)
        access = {user: SimKube("kubelet" if user == NODE else "user", server.exchange) for user in USERS}
        async with Stage("ml", access.__getitem__, VirtualClock(loop)) as stage:
            await story(stage)
        return server

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        work: Coroutine[Any, Any, ApiServer] = tell()
        return runner.run(work)


USERS = ("alice", "bob", "carol", NODE)


def snapshot_pod(uri: str) -> dict[str, Any]:
    task = SnapshotTask("ml", "churn", "s3://millrace", {"source": {"storageUri": uri}, "format": "CSV"})
    container = {"name": "snapshot", "image": "i"}
    labels = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE, keys.COMPONENT: "snapshot"}
    metadata = {"name": "look", "namespace": "ml", "labels": labels, "annotations": {ANNOTATION: task.to_json()}}
    spec = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def words(stage: Stage) -> report.SnapshotReport:
    def ended(one: dict[str, Any]) -> bool:
        return (one.get("status") or {}).get("phase") == "Succeeded"

    found = await stage.people.see(resources.PODS, "look", "it has ended", ended)
    message = found["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    return report.SnapshotReport.from_json(message)


def test_a_snapshot_pod_reads_what_lies_at_its_uri() -> None:
    async def story(stage: Stage) -> None:
        stage.script.sources["s3://lake/a.csv"] = Source("v1")
        await stage.access(NODE).create(resources.PODS, snapshot_pod("s3://lake/a.csv"))
        said = await words(stage)
        assert (said.outcome, said.digest) == (report.SnapshotOutcome.FROZEN, digest_of("dataset", "v1"))

    simulate(story)


def test_a_snapshot_pod_refuses_what_is_not_there() -> None:
    async def story(stage: Stage) -> None:
        await stage.access(NODE).create(resources.PODS, snapshot_pod("s3://lake/b.csv"))
        said = await words(stage)
        assert (said.outcome, said.reason) == (report.SnapshotOutcome.REJECTED, "SourceNotFound")

    simulate(story)


def test_a_deleted_pod_ends_and_goes() -> None:
    async def story(stage: Stage) -> None:
        stage.script.sources["s3://lake/a.csv"] = Source("v1", hangs=True)
        await stage.access(NODE).create(resources.PODS, snapshot_pod("s3://lake/a.csv"))
        await stage.people.see(resources.PODS, "look", "it runs", lambda one: one["status"].get("phase") == "Running")
        await stage.people.delete(resources.PODS, "look")

    server = simulate(story)
    phases = [change.after["status"].get("phase") for change in server.changes if change.after is not None]
    assert phases[-1] == "Failed", "a Job must learn that its pod did not succeed"


def test_people_say_what_they_waited_for_in_vain() -> None:
    async def story(stage: Stage) -> None:
        await stage.people.create(manifests.dataset())
        await stage.people.standing(resources.DATASETS, "churn", "Ready")

    with pytest.raises(Unmet, match="not within 900 s: Dataset churn: Ready"):
        simulate(story)


def test_an_approval_is_added_to_those_that_are_there() -> None:
    async def story(stage: Stage) -> None:
        await stage.people.create(manifests.model(1))
        await stage.people.decide("churn-1")
        await stage.people.decide("churn-1", "Revoke")
        found = await stage.people.get(resources.MODELS, "churn-1")
        assert found is not None
        assert [one["decision"] for one in found["spec"]["approvals"]] == ["Approve", "Revoke"]

    simulate(story)
