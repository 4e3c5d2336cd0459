"""Deployment against a real API server and its controllers; the kubelet and Envoy are the test's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import yaml
from apiserver_kit import planes
from apiserver_kit.operators import running, until

from millrace import wiring
from millrace.api import keys, resources
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.scrape import ScrapeFailed
from millrace.clients.world import World
from millrace.controller.routing import Controller
from millrace.decide import deployment as decisions
from millrace.observe import deployment, scrapes
from millrace.settings import Settings
from millrace_cluster.control_plane import ControlPlane
from millrace_kit.simulation import make_model

NAMESPACE = "serving"


async def unobserved(world: World, namespace: str, name: str) -> None:
    """The other kinds are watched and left alone."""


KINDS = (
    Controller(resources.DEPLOYMENTS, deployment.observe, decisions.decide, deployment.WATCHES),
    Controller(resources.MODELS, unobserved, decisions.decide),
    Controller(resources.TRAINING_RUNS, unobserved, decisions.decide),
    Controller(resources.DATASETS, unobserved, decisions.decide),
)
STEPS = [{"setWeight": 25}, {"pause": {"duration": "2s"}}, {"setWeight": 50}]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with planes.with_controllers(tmp_path_factory.mktemp("plane"), NAMESPACE) as started:
        yield started


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(credentials.from_kubeconfig(plane.kubeconfig_for("admin"))) as kube:
        yield kube


@contextlib.asynccontextmanager
async def operating(plane: ControlPlane, kube: Kube) -> AsyncIterator[wiring.Operator]:
    """The operator, a kubelet that starts every pod, and routers that apply whatever the ConfigMap says."""
    settings = Settings(namespace=NAMESPACE, trainer_image="t", server_image="s:1", router_image="r:1", metrics_port=0)

    async def fetch(host: str, port: int, path: str) -> str:
        return await answer(kube, port, path)

    def tasks(world: World) -> tuple[list[Any], list[Any]]:
        world.scrapes = scrapes.Scrapes(world, fetch)
        return [world.scrapes.run], []

    cred = credentials.from_kubeconfig(plane.kubeconfig_for("operator"))
    one = wiring.Operator(settings, cred, KINDS, tasks=tasks)
    kubelet = asyncio.create_task(start_pods(plane, kube))
    async with running(one):
        yield one
    kubelet.cancel()
    await asyncio.gather(kubelet, return_exceptions=True)


@pytest.fixture
async def operator(plane: ControlPlane, kube: Kube) -> AsyncIterator[wiring.Operator]:
    async with operating(plane, kube) as one:
        yield one


async def answer(kube: Kube, port: int, path: str) -> str:
    """What Envoy with the files of the ConfigMap answers; servers have no metrics."""
    if port != 9902:
        raise ScrapeFailed("no metrics")
    data = (await kube.get(resources.CONFIG_MAPS, NAMESPACE, "churn-router"))["data"]
    if path == "/generation":
        hosts = yaml.safe_load(data["rds.yaml"])["resources"][0]["virtual_hosts"]
        route = next(host for host in hosts if host["name"] == "generation")["routes"][0]
        return str(route["direct_response"]["body"]["inline_string"])
    clusters = [one["name"] for one in yaml.safe_load(data["cds.yaml"])["resources"]]
    return "\n".join(f'envoy_cluster_membership_healthy{{envoy_cluster_name="{name}"}} 1' for name in clusters)


async def start_pods(plane: ControlPlane, kube: Kube) -> None:
    addresses = itertools.count(2)
    while True:
        for pod in await kube.list(resources.PODS, NAMESPACE):
            if pod["status"].get("podIP") or "deletionTimestamp" in pod["metadata"]:
                continue
            ip = f"10.9.0.{next(addresses) % 250}"
            status = {
                "phase": "Running",
                "podIP": ip,
                "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": one["name"], "image": "i", "imageID": "i", "ready": True, "restartCount": 0,
                     "state": {"running": {}}}
                    for one in pod["spec"]["containers"]
                ],
            }  # fmt: skip
            command = ("patch", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--subresource=status")
            await asyncio.to_thread(plane.kubectl, *command, "--type=merge", "-p", json.dumps({"status": status}))
        await asyncio.sleep(0.2)


async def approve(plane: ControlPlane, kube: Kube, version: int) -> None:
    made = make_model("churn", version).wire()
    metadata = {"name": made["metadata"]["name"], "namespace": NAMESPACE, "labels": {keys.MODEL_NAME: "churn"}}
    manifest = {"apiVersion": keys.API_VERSION, "kind": "Model", "metadata": metadata, "spec": made["spec"]}
    await asyncio.to_thread(plane.kubectl, "create", "-f", "-", stdin=yaml.safe_dump(manifest))
    patch = json.dumps({"status": {"conditions": made["status"]["conditions"]}})
    command = ("patch", "mmd", metadata["name"], "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    await asyncio.to_thread(plane.kubectl, *command)


def deploy(plane: ControlPlane, **spec: Any) -> None:
    manifest = {
        "apiVersion": keys.API_VERSION,
        "kind": "Deployment",
        "metadata": {"name": "churn", "namespace": NAMESPACE},
        "spec": {"modelSelector": {"modelName": "churn"}, **spec},
    }
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))


async def stable(kube: Kube) -> str:
    found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
    return str(((found.get("status") or {}).get("stable") or {}).get("model"))


async def test_models_are_rolled_out_by_real_controllers_under_restricted_pod_security(
    plane: ControlPlane, kube: Kube, operator: wiring.Operator
) -> None:
    strategy = {"canary": {"steps": STEPS}}
    await asyncio.to_thread(deploy, plane, replicas=2, strategy=strategy, monitoring={"drift": {}})
    await until(lambda: said(kube, "NoApprovedModel"), "the status says that no model is approved")
    await approve(plane, kube, 1)

    async def serves(model: str) -> bool:
        return await stable(kube) == model

    await until(lambda: serves("churn-1"), "churn-1 is stable")
    await approve(plane, kube, 2)
    await until(lambda: serves("churn-2"), "churn-2 is stable")
    await until(lambda: ready(kube), "Ready")

    async def cleared() -> bool:
        found = await kube.list(resources.WORKLOADS, NAMESPACE, {keys.COMPONENT: "server"})
        return len(found) == 1

    await until(cleared, "the pods of churn-1 are gone", 60)
    await asyncio.sleep(2)
    before = await versions(kube)
    await asyncio.sleep(8)
    assert await versions(kube) == before, "nothing is written while nothing happens"
    events = await kube.list(resources.EVENTS, NAMESPACE)
    told = [one["reason"] for one in events if one["involvedObject"]["name"] == "churn"]
    assert told.count("Promoted") == 2
    assert told.count("WeightSet") == 4
    scaled = await asyncio.to_thread(plane.kubectl, "scale", "mdep", "churn", "-n", NAMESPACE, "--replicas=3")
    assert "scaled" in str(scaled)

    async def grown() -> bool:
        found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
        return bool(found["status"]["readyReplicas"] == 3)

    await until(grown, "three servers are ready")


async def said(kube: Kube, reason: str) -> bool:
    found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
    return any(one["reason"] == reason for one in (found.get("status") or {}).get("conditions") or ())


async def ready(kube: Kube) -> bool:
    found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found["status"]["conditions"])


async def versions(kube: Kube) -> dict[str, str]:
    """ResourceVersions of everything the operator writes, but for what controllers write into."""
    found = await kube.list(resources.CONFIG_MAPS, NAMESPACE, {keys.COMPONENT: "router"})
    found += await kube.list(resources.DEPLOYMENTS, NAMESPACE) + await kube.list(resources.SERVICES, NAMESPACE)
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


async def test_an_operator_that_starts_beside_what_is_as_it_should_be_writes_nothing(
    plane: ControlPlane, kube: Kube
) -> None:
    """Though the API server filled in its defaults, and wrote the quantities in its own form."""
    amounts = {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"memory": "1.5Gi"}}
    async with operating(plane, kube):
        await asyncio.to_thread(deploy, plane, replicas=2, server={"resources": amounts})
        await approve(plane, kube, 7)
        await until(lambda: serves(kube, "churn-7"), "churn-7 is stable")
        await until(lambda: rests(kube), "nothing moves", 90)
    async with operating(plane, kube) as again:
        for _ in range(2):
            await asyncio.sleep(4)
            assert written(again) == {}
        await asyncio.to_thread(plane.kubectl, "patch", "svc", "churn", "-n", NAMESPACE, "-p", ELSEWHERE)
        await until(lambda: written(again) == {"APPLY services": 1}, "what speaks otherwise than we do is put right")


ELSEWHERE = json.dumps({"spec": {"selector": {keys.COMPONENT: "nobody"}}})


async def serves(kube: Kube, model: str) -> bool:
    return await stable(kube) == model


async def rests(kube: Kube) -> bool:
    """Whether only stable is left, and all of it is ready."""
    status = (await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn"))["status"]
    workloads = await kube.list(resources.WORKLOADS, NAMESPACE, {keys.COMPONENT: "server"})
    return len(workloads) == 1 and status["stable"]["readyReplicas"] == 2 and await ready(kube)


def written(operator: wiring.Operator) -> dict[str, float]:
    """Successful writes by method and resource, the lease's left out."""
    return {
        f"{sample.labels['method']} {sample.labels['resource']}": sample.value
        for metric in operator.series.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
        and sample.labels["code"].startswith("2")
        and sample.labels["method"] not in ("GET", "LIST")
        and sample.labels["resource"] != resources.LEASES.plural
    }


QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-budgets", "namespace": NAMESPACE},
    "spec": {"hard": {"count/poddisruptionbudgets.policy": "0"}},
}


async def test_a_refused_budget_holds_up_no_rollout_and_the_status_says_so_until_there_is_room(
    plane: ControlPlane, kube: Kube, operator: wiring.Operator
) -> None:
    await asyncio.to_thread(deploy, plane, replicas=1)
    await approve(plane, kube, 20)
    await until(lambda: serves(kube, "churn-20"), "churn-20 is stable")
    await until(lambda: budgets(kube, 0), "one server has no budget")
    await asyncio.to_thread(plane.kubectl, "create", "-f", "-", stdin=yaml.safe_dump(QUOTA))
    await until(lambda: is_counted(plane), "the quota is in force")
    await asyncio.to_thread(deploy, plane, replicas=2)
    await approve(plane, kube, 21)
    await until(lambda: serves(kube, "churn-21"), "churn-21 is stable")
    await until(lambda: rests(kube), "the pods of churn-20 are gone", 90)
    found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
    stalled = next(one for one in found["status"]["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "Refused")
    assert "exceeded quota: no-budgets" in stalled["message"]
    assert "exceeded quota: no-budgets" in found["status"]["message"]
    events = await kube.list(resources.EVENTS, NAMESPACE)
    assert [one for one in events if one["reason"] == "Refused" and one["type"] == "Warning"]
    await asyncio.to_thread(plane.kubectl, "delete", "resourcequota", "no-budgets", "-n", NAMESPACE)
    await until(lambda: budgets(kube, 2), "there is room for the budgets", 120)
    await until(lambda: is_at_ease(kube), "nothing is refused any more")


async def budgets(kube: Kube, count: int) -> bool:
    return len(await kube.list(resources.BUDGETS, NAMESPACE)) == count


async def is_counted(plane: ControlPlane) -> bool:
    """Whether the quota controller has looked at the quota: before that it refuses everything."""
    path = "jsonpath={.status.hard}"
    found = await asyncio.to_thread(plane.kubectl, "get", "resourcequota", "no-budgets", "-n", NAMESPACE, "-o", path)
    return "poddisruptionbudgets" in found.stdout


async def is_at_ease(kube: Kube) -> bool:
    found = await kube.get(resources.DEPLOYMENTS, NAMESPACE, "churn")
    return not any(one["type"] == "Stalled" and one["status"] == "True" for one in found["status"]["conditions"])
