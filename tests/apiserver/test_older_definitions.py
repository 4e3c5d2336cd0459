"""An operator that is newer than the definitions in the cluster, which lack a field that it writes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from apiserver_kit import operators, planes
from apiserver_kit.operators import running, until

from millrace import errors
from millrace.api import keys, resources
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.controller import reconciler
from millrace.controller.routing import Controller
from millrace.decide.plan import Plan
from millrace_cluster.control_plane import ControlPlane

NAMESPACE = "default"
NEWER = {"fieldOfTheNextRelease": "x"}
MODEL = {"apiVersion": keys.API_VERSION, "kind": "Model", "metadata": {"name": "newer"}, "spec": NEWER}


async def observe(world: World, namespace: str, name: str) -> Manifest | None:
    return world.store.get(resources.DATASETS, namespace, name)


async def test_an_apply_with_a_field_the_cluster_does_not_know_is_not_tried_again(
    control_plane: ControlPlane, api: Any
) -> None:
    metadata = {"name": "newer", "namespace": NAMESPACE}
    seen: list[str] = []
    identity = credentials.from_kubeconfig(control_plane.kubeconfig)
    async with Kube(identity, observer=lambda verb, resource, code, seconds: seen.append(code)) as kube:
        with pytest.raises(errors.Invalid, match="fieldOfTheNextRelease: field not declared in schema"):
            await kube.apply(
                resources.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **NEWER}
            )
    assert seen == ["500"]


@pytest.mark.parametrize("plan", [Plan(status=NEWER), Plan(creates=(MODEL,))], ids=["applied", "created"])
async def test_an_object_whose_definitions_are_older_than_the_operator_says_so(
    plan: Plan, control_plane: ControlPlane, api: Any, samples: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "PATIENCE", 2)
    identity = credentials.from_kubeconfig(control_plane.kubeconfig_for(planes.MAKER))
    operator = operators.of_widgets(
        identity, NAMESPACE, Controller(resources.DATASETS, observe, lambda seen: plan), children=()
    )
    dataset = copy.deepcopy(samples["dataset-minimal"])
    dataset["metadata"] = {"name": "newer", "namespace": NAMESPACE}
    async with Kube(identity) as kube:
        made = await kube.create(resources.DATASETS, dataset)
        try:
            async with running(operator):

                async def stalled() -> dict[str, Any] | None:
                    status = (await kube.get(resources.DATASETS, NAMESPACE, "newer")).get("status") or {}
                    return next((one for one in status.get("conditions") or () if one["type"] == "Stalled"), None)

                found = await until(stalled)
        finally:
            await kube.delete(resources.DATASETS, NAMESPACE, "newer", uid=made["metadata"]["uid"])
    assert (found["status"], found["reason"]) == ("True", "OlderDefinition")
    assert "fieldOfTheNextRelease" in found["message"]
    assert "Install the definitions of this operator's version" in found["message"]
