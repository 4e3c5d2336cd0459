"""The router of a Deployment as Kubernetes objects."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from millrace.api.base import ObjectMeta
from millrace.render import budget, router, router_workload, server
from millrace_kit.simulation import PLATFORM, make_model

OWNER = ObjectMeta(name="churn", namespace="ml", uid="u-1")


def test_callers_reach_the_router_at_port_80_of_the_deployments_name() -> None:
    manifest = router_workload.service(OWNER)
    assert manifest["metadata"]["name"] == "churn"
    assert manifest["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 8080}]
    labels = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize(("servers", "routers"), [(1, 1), (2, 2), (9, 2)])
def test_there_are_two_routers_as_soon_as_there_are_two_servers(servers: int, routers: int) -> None:
    assert router_workload.replicas(servers) == routers


def test_budgets_let_one_router_and_one_stable_server_go() -> None:
    stable, other = (server.bundle(make_model("churn", version), server.Template(image="s")) for version in (1, 2))
    routers, servers = (one["spec"] for one in budget.budgets(OWNER, 2, stable.revision))
    assert routers["maxUnavailable"] == servers["maxUnavailable"] == 1

    def holds(spec: dict[str, Any], workload: dict[str, Any]) -> bool:
        labels = workload["spec"]["template"]["metadata"]["labels"]
        return bool(spec["selector"]["matchLabels"].items() <= labels.items())

    router_pods = router_workload.workload(OWNER, 2, PLATFORM)
    stable_pods, other_pods = (server.workload(OWNER, one, 2, PLATFORM) for one in (stable, other))
    assert [holds(routers, one) for one in (router_pods, stable_pods, other_pods)] == [True, False, False]
    assert [holds(servers, one) for one in (router_pods, stable_pods, other_pods)] == [False, True, False]


def test_a_change_of_weights_changes_the_config_map_and_not_the_pods() -> None:
    one = router.config_map_data(router.RouterConfig((router.Backend("aaaaaaaa", "a", weight=100),)))
    two = router.config_map_data(router.RouterConfig((router.Backend("bbbbbbbb", "b", weight=100),)))
    assert router_workload.config_map(OWNER, one)["data"] != router_workload.config_map(OWNER, two)["data"]
    assert router_workload.workload(OWNER, 1, PLATFORM) == router_workload.workload(OWNER, 1, PLATFORM)


def test_the_directory_is_mounted_whole_so_that_changes_arrive() -> None:
    pod = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["spec"]
    (envoy,) = pod["containers"]
    mount = next(one for one in envoy["volumeMounts"] if one["name"] == "config")
    assert mount == {"name": "config", "mountPath": "/etc/millrace/router"}, "a subPath is never refreshed"
    volume = next(one for one in pod["volumes"] if one["name"] == "config")
    assert volume["configMap"] == {"name": "churn-router"}
    assert envoy["command"][:3] == ["envoy", "--config-path", "/etc/millrace/router/bootstrap.yaml"]


def test_the_router_has_no_token_no_secret_and_no_root() -> None:
    pod = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "envFrom" not in pod["containers"][0]


def test_a_router_that_must_go_keeps_answering_while_callers_leave() -> None:
    pod = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["spec"]
    drain = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert "healthcheck/fail" in drain[-1]
    assert pod["terminationGracePeriodSeconds"] > router_workload.SUCCESSOR_SECONDS + router_workload.DRAIN_SECONDS
    compile(drain[-1], "preStop", "exec")


@pytest.mark.parametrize(
    ("error", "leaves"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (ConnectionRefusedError(), False),
    ],
    ids=["the Service is gone", "no answer now", "no endpoint"],
)
def test_a_router_without_a_successor_leaves_only_if_its_service_is_gone(
    error: OSError, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    asked: dict[str, Any] = {}
    exec(router_workload.drain("churn").partition("\ndef admin")[0], asked)
    assert asked["is_another"]("churn", 80, "router-0") is leaves
