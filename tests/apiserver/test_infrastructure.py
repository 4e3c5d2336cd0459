"""What Kubernetes refuses is said on our objects, by real controllers' words, and is over by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import yaml
from apiserver_kit import planes
from apiserver_kit.operators import running, until

from millrace import wiring
from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.world import World
from millrace.controller.routing import Controller
from millrace.decide import dataset as dataset_decisions
from millrace.decide import deployment as decisions
from millrace.decide import training_run as run_decisions
from millrace.observe import dataset, deployment, training_run
from millrace.settings import Settings
from millrace_cluster.control_plane import ControlPlane
from millrace_kit.simulation import make_model

NAMESPACE = "crowded"
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "small", "namespace": NAMESPACE},
    "spec": {"hard": {"pods": "0"}},
}


async def unobserved(world: World, namespace: str, name: str) -> None:
    """The Models are the test's."""


KINDS = (
    Controller(resources.DATASETS, dataset.observe, dataset_decisions.decide, dataset.WATCHES),
    Controller(resources.TRAINING_RUNS, training_run.observe, run_decisions.decide, training_run.WATCHES),
    Controller(resources.MODELS, unobserved, decisions.decide),
    Controller(resources.DEPLOYMENTS, deployment.observe, decisions.decide, deployment.WATCHES),
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with planes.with_controllers(tmp_path_factory.mktemp("plane"), NAMESPACE) as started:
        yield started


@pytest.fixture
async def operator(plane: ControlPlane) -> AsyncIterator[wiring.Operator]:
    settings = Settings(namespace=NAMESPACE, trainer_image="t", server_image="s:1", router_image="r:1", metrics_port=0)
    one = wiring.Operator(settings, credentials.from_kubeconfig(plane.kubeconfig_for("operator")), KINDS)
    async with running(one):
        yield one


def manifest(kind: str, spec: dict[str, Any], name: str = "churn", **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": NAMESPACE, **metadata}
    return {"apiVersion": keys.API_VERSION, "kind": kind, "metadata": meta, "spec": spec}


async def apply(plane: ControlPlane, *manifests: dict[str, Any]) -> None:
    await asyncio.to_thread(plane.kubectl, "apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))


async def approved(plane: ControlPlane) -> None:
    made = make_model("churn", 1).wire()
    await apply(plane, manifest("Model", made["spec"], "churn-1", labels={keys.MODEL_NAME: "churn"}))
    patch = json.dumps({"status": {"conditions": made["status"]["conditions"]}})
    command = ("patch", "mmd", "churn-1", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    await asyncio.to_thread(plane.kubectl, *command)


async def says(kube: Kube, resource: ResourceType, words: str) -> bool:
    found = await kube.get(resource, NAMESPACE, "churn")
    return words in str((found.get("status") or {}).get("message"))


@pytest.mark.parametrize(
    "resource, made",
    [
        (resources.DATASETS, manifest("Dataset", {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"})),
        (resources.DEPLOYMENTS, manifest("Deployment", {"modelSelector": {"modelName": "churn"}})),
    ],
    ids=["job", "server"],
)
async def test_a_pod_that_a_quota_refuses_is_said_on_our_object_until_there_is_room(
    plane: ControlPlane, kube: Kube, operator: wiring.Operator, resource: ResourceType, made: dict[str, Any]
) -> None:
    await apply(plane, QUOTA)

    async def counts() -> bool:
        found = json.loads(plane.kubectl("get", "resourcequota", "small", "-n", NAMESPACE, "-o", "json").stdout)
        return "pods" in ((found.get("status") or {}).get("hard") or {})

    await until(counts, "the quota is in force")
    await approved(plane)
    await apply(plane, made)
    await until(lambda: says(kube, resource, "exceeded quota: small"), "the quota is named in the message", 30)
    shown = await asyncio.to_thread(plane.kubectl, "get", resource.plural + "." + resource.group, "-n", NAMESPACE)
    assert "exceeded quota" in shown.stdout

    async def told() -> bool:
        events = await kube.list(resources.EVENTS, NAMESPACE, fields={"involvedObject.kind": resource.kind})
        return any(one["reason"] == "PodRefused" and one["type"] == "Warning" for one in events)

    await until(told, "an event on our object")
    await asyncio.to_thread(plane.kubectl, "delete", "resourcequota", "small", "-n", NAMESPACE)

    async def silent() -> bool:
        return not await says(kube, resource, "exceeded quota")

    await until(silent, "the quota is not named any more", 90)
    await asyncio.to_thread(plane.kubectl, "delete", resource.plural + "." + resource.group, "churn", "-n", NAMESPACE)
