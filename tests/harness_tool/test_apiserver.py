"""The model of the API server and its controllers. What a real one would answer to single requests is compared with a
real one in ``tests/apiserver/test_model_of_the_apiserver.py``; here is what takes time, and what only a model can do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from millrace import errors
from millrace.api import resources
from millrace.clients.store import Manifest
from millrace_harness.apiserver import ApiServer, Controllers
from millrace_harness.apiserver.server import REPLICA_SETS
from millrace_harness.replica import SimKube
from millrace_harness.virtual import VirtualLoop
from millrace_harness.wire import MERGE, Request

NS = "ml"


class Cluster:
    """A server, its controllers, and one client."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.server = ApiServer(loop)
        Controllers(self.server)
        self.kube = SimKube("user", self.server.exchange)

    async def pods(self) -> list[Manifest]:
        return await self.kube.list(resources.PODS, NS)

    async def write_status(self, pod: Manifest, status: Manifest) -> None:
        path = resources.PODS.path(NS, pod["metadata"]["name"], "status")
        await self.kube._request("PATCH", path, {}, {"status": status}, MERGE, {})

    async def job(self) -> Manifest:
        return await self.kube.get(resources.JOBS, NS, "j")


def simulated(story: Callable[[Cluster], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test on a virtual loop, with a cluster."""

    def test() -> None:
        async def told() -> None:
            await story(Cluster())

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(told())

    test.__name__ = story.__name__
    return test


def config(name: str, **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NS, **metadata}}


def owner(manifest: Manifest, **more: Any) -> Manifest:
    metadata = manifest["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"], **more}


def job(**spec: Any) -> Manifest:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    made = {"backoffLimit": 1, "template": template, **spec}
    metadata = {"name": "j", "namespace": NS}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": made}


def workload(replicas: int, image: str = "s:1") -> Manifest:
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "namespace": NS},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "w"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def conditions(found: Manifest) -> dict[str, str]:
    return {one["type"]: one["reason"] for one in found["status"]["conditions"]}


@simulated
async def test_a_job_whose_pod_succeeds_is_announced_then_complete(cluster: Cluster) -> None:
    await cluster.kube.create(resources.JOBS, job())
    await asyncio.sleep(0.1)
    (pod,) = await cluster.pods()
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"
    await cluster.write_status(pod, {"phase": "Succeeded"})
    await asyncio.sleep(0.2)
    found = await cluster.job()
    assert conditions(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert found["status"]["succeeded"] == 1
    written = [one.after["status"].get("conditions") for one in cluster.server.changes
               if one.resource is resources.JOBS and one.after and "status" in one.after]  # fmt: skip
    assert [len(one) for one in written if one] == [1, 2]


@simulated
async def test_a_job_tries_again_after_a_pause_and_then_gives_up(cluster: Cluster) -> None:
    await cluster.kube.create(resources.JOBS, job())
    await asyncio.sleep(0.1)
    (first,) = await cluster.pods()
    await cluster.write_status(first, {"phase": "Failed"})
    await asyncio.sleep(9)
    assert len(await cluster.pods()) == 1
    await asyncio.sleep(2)
    second = next(one for one in await cluster.pods() if one["metadata"]["name"] != first["metadata"]["name"])
    await cluster.write_status(second, {"phase": "Failed"})
    await asyncio.sleep(30)
    found = await cluster.job()
    assert conditions(found) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert len(await cluster.pods()) == 2


@simulated
async def test_an_exit_code_that_a_rule_names_fails_the_job_at_once(cluster: Cluster) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await cluster.kube.create(resources.JOBS, job(podFailurePolicy={"rules": rules}))
    await asyncio.sleep(0.1)
    (pod,) = await cluster.pods()
    ended = {"name": "c", "state": {"terminated": {"exitCode": 42}}}
    await cluster.write_status(pod, {"phase": "Failed", "containerStatuses": [ended]})
    await asyncio.sleep(0.2)
    found = await cluster.job()
    assert conditions(found)["Failed"] == "PodFailurePolicy"
    assert "exit code 42" in found["status"]["conditions"][-1]["message"]


@simulated
async def test_a_disruption_does_not_count(cluster: Cluster) -> None:
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    await cluster.kube.create(resources.JOBS, job(backoffLimit=0, podFailurePolicy={"rules": rules}))
    await asyncio.sleep(0.1)
    (pod,) = await cluster.pods()
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    await cluster.write_status(pod, {"phase": "Failed", "conditions": disrupted})
    await asyncio.sleep(0.2)
    found = await cluster.job()
    assert found["status"]["failed"] == 0
    assert len(await cluster.pods()) == 2


@simulated
async def test_a_job_over_its_deadline_loses_its_pod_and_fails(cluster: Cluster) -> None:
    await cluster.kube.create(resources.JOBS, job(activeDeadlineSeconds=60))
    await asyncio.sleep(59)
    assert len(await cluster.pods()) == 1
    await asyncio.sleep(3)
    assert conditions(await cluster.job())["Failed"] == "DeadlineExceeded"
    assert await cluster.pods() == []


@simulated
async def test_a_deleted_job_takes_its_pods_with_it(cluster: Cluster) -> None:
    made = await cluster.kube.create(resources.JOBS, job())
    await asyncio.sleep(0.1)
    await cluster.kube.delete(resources.JOBS, NS, "j", uid=made["metadata"]["uid"])
    await asyncio.sleep(0.5)
    assert await cluster.pods() == []


@simulated
async def test_a_workload_gets_its_pods_and_counts_the_ready_ones(cluster: Cluster) -> None:
    await cluster.kube.create(resources.WORKLOADS, workload(2))
    await asyncio.sleep(0.2)
    pods = await cluster.pods()
    assert len(pods) == 2
    await cluster.write_status(pods[0], READY)
    await asyncio.sleep(0.2)
    found = await cluster.kube.get(resources.WORKLOADS, NS, "w")
    assert (found["status"]["replicas"], found["status"]["readyReplicas"]) == (2, 1)


@simulated
async def test_a_new_template_replaces_pods_one_by_one_and_none_too_early(cluster: Cluster) -> None:
    made = await cluster.kube.apply(resources.WORKLOADS, workload(2))
    await asyncio.sleep(0.2)
    for pod in await cluster.pods():
        await cluster.write_status(pod, READY)
    await cluster.kube.apply(resources.WORKLOADS, workload(2, "s:2"))
    await asyncio.sleep(1)
    assert len(await cluster.pods()) == 3
    for _ in range(4):
        for pod in await cluster.pods():
            if "conditions" not in pod["status"]:
                await cluster.write_status(pod, READY)
        await asyncio.sleep(0.5)
    images = [one["spec"]["containers"][0]["image"] for one in await cluster.pods()]
    assert images == ["s:2", "s:2"]
    found = await cluster.kube.get(resources.WORKLOADS, NS, "w")
    assert found["status"]["readyReplicas"] == 2
    await cluster.kube.delete(resources.WORKLOADS, NS, "w", uid=made["metadata"]["uid"])
    await asyncio.sleep(1)
    assert (await cluster.pods(), await cluster.kube.list(REPLICA_SETS, NS)) == ([], [])


@simulated
async def test_a_failed_pod_of_a_workload_is_replaced(cluster: Cluster) -> None:
    await cluster.kube.create(resources.WORKLOADS, workload(1))
    await asyncio.sleep(0.2)
    (pod,) = await cluster.pods()
    await cluster.write_status(pod, {"phase": "Failed", "reason": "Evicted"})
    await asyncio.sleep(0.2)
    assert len(await cluster.pods()) == 2


@simulated
async def test_whose_last_owner_is_gone_goes_and_whose_other_owner_stands_stays(cluster: Cluster) -> None:
    kube = cluster.kube
    one, two = [await kube.create(resources.CONFIG_MAPS, config(name)) for name in ("one", "two")]
    await kube.create(resources.CONFIG_MAPS, config("child", ownerReferences=[owner(one)]))
    await kube.create(resources.CONFIG_MAPS, config("shared", ownerReferences=[owner(one), owner(two)]))
    await kube.delete(resources.CONFIG_MAPS, NS, "one", uid=one["metadata"]["uid"])
    await asyncio.sleep(0.5)
    left = await kube.list(resources.CONFIG_MAPS, NS)
    assert [found["metadata"]["name"] for found in left] == ["shared", "two"]
    assert [found["name"] for found in left[0]["metadata"]["ownerReferences"]] == ["two"]


@simulated
async def test_a_child_of_an_owner_of_the_same_name_and_another_uid_goes(cluster: Cluster) -> None:
    kube = cluster.kube
    old = await kube.create(resources.CONFIG_MAPS, config("one"))
    await kube.delete(resources.CONFIG_MAPS, NS, "one", uid=old["metadata"]["uid"])
    await kube.create(resources.CONFIG_MAPS, config("one"))
    await kube.create(resources.CONFIG_MAPS, config("child", ownerReferences=[owner(old)]))
    await asyncio.sleep(0.5)
    with pytest.raises(errors.NotFound):
        await kube.get(resources.CONFIG_MAPS, NS, "child")


@simulated
async def test_in_the_foreground_the_children_go_first(cluster: Cluster) -> None:
    kube = cluster.kube
    one = await kube.create(resources.CONFIG_MAPS, config("one"))
    await kube.create(resources.CONFIG_MAPS, config("child", ownerReferences=[owner(one, blockOwnerDeletion=True)]))
    uid = one["metadata"]["uid"]
    await kube.delete(resources.CONFIG_MAPS, NS, "one", uid=uid, propagation="Foreground")
    await asyncio.sleep(1)
    gone = [change.name for change in cluster.server.changes if change.kind == "DELETED"]
    assert gone == ["child", "one"]


@simulated
async def test_an_older_revision_can_be_listed_and_watched_from(cluster: Cluster) -> None:
    kube, server = cluster.kube, cluster.server
    one = await kube.create(resources.CONFIG_MAPS, config("one", labels={"a": "b"}))
    before = server.storage.version
    await kube.delete(resources.CONFIG_MAPS, NS, "one", uid=one["metadata"]["uid"])
    await kube.create(resources.CONFIG_MAPS, config("two"))
    path = resources.CONFIG_MAPS.path(NS)
    asked = {"resourceVersion": str(before), "resourceVersionMatch": "Exact", "fieldSelector": "metadata.name=one"}
    listed = server.handle(Request("user", "GET", path, asked, None)).body
    assert [found["metadata"]["uid"] for found in listed["items"]] == [one["metadata"]["uid"]]
    events = server.watch(Request("user", "GET", path, {"watch": "true", "resourceVersion": str(before)}, None))
    seen = [
        (event["type"], event["object"]["metadata"]["name"]) for event in [await anext(events), await anext(events)]
    ]
    assert seen == [("DELETED", "one"), ("ADDED", "two")]


@simulated
async def test_a_watch_from_before_the_oldest_revision_is_gone(cluster: Cluster) -> None:
    await cluster.kube.create(resources.CONFIG_MAPS, config("one"))
    cluster.server.oldest = cluster.server.storage.version
    asked = {"watch": "true", "resourceVersion": str(cluster.server.oldest - 1)}
    answer = cluster.server.handle(Request("user", "GET", resources.CONFIG_MAPS.path(NS), asked, None))
    assert (answer.status, answer.body["reason"]) == (410, "Expired")


@simulated
async def test_what_leaves_a_selection_is_shown_as_deleted(cluster: Cluster) -> None:
    kube = cluster.kube
    await kube.create(resources.CONFIG_MAPS, config("one", labels={"a": "b"}))
    params = {"watch": "true", "resourceVersion": "0", "labelSelector": "a=b"}
    events = cluster.server.watch(Request("user", "GET", resources.CONFIG_MAPS.path(NS), params, None))
    assert (await anext(events))["type"] == "ADDED"
    await kube.patch(resources.CONFIG_MAPS, NS, "one", {"metadata": {"labels": {"a": "c"}}})
    assert (await anext(events))["type"] == "DELETED"
    await kube.patch(resources.CONFIG_MAPS, NS, "one", {"metadata": {"labels": {"a": "b"}}})
    assert (await anext(events))["type"] == "ADDED"


@simulated
async def test_what_a_client_does_to_an_answer_is_not_done_to_the_object(cluster: Cluster) -> None:
    made = await cluster.kube.create(resources.CONFIG_MAPS, config("one", labels={"a": "b"}))
    made["metadata"]["labels"]["a"] = "spoiled"
    found = await cluster.kube.get(resources.CONFIG_MAPS, NS, "one")
    assert found["metadata"]["labels"] == {"a": "b"}
