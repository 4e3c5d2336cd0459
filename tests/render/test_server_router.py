"""The router of a Deployment as Kubernetes objects."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace import programs
from millrace.api.base import ObjectMeta
from millrace.programs import router as router_process
from millrace.render import budget, router, router_workload, server
from millrace_kit.simulation import PLATFORM, make_model

OWNER = ObjectMeta(name="churn", namespace="ml", uid="u-1")
Started = subprocess.Popen[bytes]
UNTIL_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(flush=True)
time.sleep(60)
"""


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
    assert "envoy --config-path /etc/millrace/router/bootstrap.yaml" in " ".join(envoy["command"])


def test_the_router_has_no_token_no_secret_and_no_root() -> None:
    pod = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "envFrom" not in pod["containers"][0]


def test_a_router_that_must_go_has_the_time_to_and_needs_no_hook_for_it() -> None:
    pod = router_workload.workload(OWNER, 1, PLATFORM)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > router_workload.SUCCESSOR_SECONDS + router_workload.DRAIN_SECONDS
    assert "lifecycle" not in pod["containers"][0]


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
    assert router_process.is_another(router_workload.leaving("churn"), "router-0") is leaves


def test_a_router_that_dies_ends_its_container_with_its_exit_code(
    running: Callable[[str], Started],
) -> None:
    died = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert [running(program).wait(30) for program in ("import sys; sys.exit(3)", died)] == [3, 137]


def test_a_router_that_does_not_listen_yet_is_stopped_at_once(running: Callable[[str], Started]) -> None:
    started = running(UNTIL_SIGTERM)
    assert started.stdout is not None
    started.stdout.readline()
    started.terminate()
    assert started.wait(30) == 7


@pytest.fixture
def running() -> Iterator[Callable[[str], Started]]:
    """Starts the router's container with a program of Python in Envoy's place."""
    way = router_workload.leaving("churn", admin_port=1)
    with contextlib.ExitStack() as stack:

        def start(program: str) -> Started:
            command = [sys.executable, *programs.router_command(way, [sys.executable, "-c", program])[1:]]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "HOSTNAME": "router-0"})
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start
