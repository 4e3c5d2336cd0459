"""The operator as installed, under its own roles: all samples converge, then it is silent, also after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import yaml
from apiserver_kit import planes

from millrace import wiring
from millrace.api import resources
from millrace.clients import credentials
from millrace.render import roles
from millrace.settings import Settings
from millrace_cluster.control_plane import ControlPlane

NAMESPACE = "kernel"
OPERATOR = "operator"


def install(plane: ControlPlane, samples: dict[str, dict[str, Any]]) -> None:
    """The namespace, the operator's roles in it, and every sample."""
    rules = [*roles.operator_rules(), *roles.lease_rules()]
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}
    role, binding = (
        roles.role(OPERATOR, NAMESPACE, rules),
        roles.role_binding(OPERATOR, NAMESPACE, account=OPERATOR, account_namespace=NAMESPACE),
    )
    binding["subjects"] = [subject]
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, role, binding]
    for sample in samples.values():
        mine = copy.deepcopy(sample)
        mine["metadata"]["namespace"] = NAMESPACE
        objects.append(mine)
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects), user=planes.MAKER)


@contextlib.asynccontextmanager
async def running(plane: ControlPlane) -> AsyncIterator[wiring.Operator]:
    settings = Settings(
        namespace=NAMESPACE, trainer_image="t", server_image="s", router_image="r", metrics_port=0, identity="pod-0"
    )
    identity = credentials.from_kubeconfig(plane.kubeconfig_for(OPERATOR))
    operator = wiring.Operator(settings, identity, wiring.controllers(), tasks=wiring.background)
    task = asyncio.create_task(operator.run(signals=False))
    try:
        async with asyncio.timeout(20):
            while not operator.kernel.leads:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.02)
        yield operator
    finally:
        operator.stop()
        async with asyncio.timeout(20):
            await task


def counted(operator: wiring.Operator, *methods: str) -> dict[str, float]:
    """Successful requests by method and resource, the lease's left out."""
    return {
        f"{sample.labels['method']} {sample.labels['resource']}": sample.value
        for metric in operator.series.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
        and sample.labels["code"].startswith("2")
        and sample.labels["method"] in methods
        and sample.labels["resource"] != resources.LEASES.plural
    }


WRITES = ("CREATE", "APPLY", "PATCH_STATUS", "PATCH", "DELETE", "UPDATE")


async def quiet(operator: wiring.Operator, seconds: float = 2.0) -> dict[str, float]:
    """Wait until nothing has been written for so long."""
    async with asyncio.timeout(60):
        while True:
            before = counted(operator, *WRITES)
            await asyncio.sleep(seconds)
            if counted(operator, *WRITES) == before:
                return before


def versions(plane: ControlPlane) -> dict[str, str]:
    kinds = "datasets,trainingruns,models,deployments.millrace.dev,jobs,deployments.apps,services,configmaps,events"
    found = json.loads(plane.kubectl("-n", NAMESPACE, "get", kinds, "-o", "json").stdout)["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


async def test_every_sample_gets_a_status_then_nothing_is_written_and_a_restart_changes_nothing(
    control_plane: ControlPlane, samples: dict[str, dict[str, Any]]
) -> None:
    install(control_plane, samples)
    async with running(control_plane) as operator:
        assert await quiet(operator)
        for resource in resources.OWN:
            for found in operator.world.store.list(resource, NAMESPACE):
                conditions = {one["type"] for one in (found.get("status") or {}).get("conditions") or ()}
                assert "Ready" in conditions, f"{found['kind']} {found['metadata']['name']} has no word of its state"
        assert operator.world.store.count(resources.JOBS) > 0
        for controller in ("dataset", "trainingrun", "model", "deployment"):
            assert operator.series.reconcile_errors.labels(controller=controller)._value.get() == 0
        page = f"http://127.0.0.1:{operator.probes.port}"
        assert _read(f"{page}/livez") == _read(f"{page}/readyz") == "ok"
        metrics = _read(f"{page}/metrics")
        for series in (
            'workqueue_depth{name="dataset"}',
            'workqueue_adds_total{name="dataset"}',
            'controller_runtime_reconcile_total{controller="dataset",result="success"}',
            'controller_runtime_reconcile_time_seconds_count{controller="dataset"}',
            'leader_election_master_status{name="millrace-operator"} 1.0',
            "millrace_event_to_reconcile_seconds_bucket",
            "rest_client_requests_total",
            "process_resident_memory_bytes",
        ):
            assert series in metrics
    before = versions(control_plane)
    async with running(control_plane) as operator:
        await quiet(operator)
        assert versions(control_plane) == before
        assert counted(operator, *WRITES) == {}
    control_plane.kubectl("-n", NAMESPACE, "scale", "deployment.apps/churn-router", "--replicas=7")
    async with running(control_plane) as operator:
        await quiet(operator)
        assert counted(operator, *WRITES) == {"APPLY deployments": 1}, (
            "what somebody changed meanwhile, and nothing else"
        )


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text
