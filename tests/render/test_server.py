"""What one revision is made of."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.api.base import ObjectMeta
from millrace.api.training_run import ResourceRequirements
from millrace.contract.environment import ServerEnvironment
from millrace.render import server
from millrace.render.server import Bundle, Template
from millrace_kit.simulation import PLATFORM, make_model

OWNER = ObjectMeta(name="churn", namespace="ml", uid="u-1")
TEMPLATE = Template(image="server:1", resources=ResourceRequirements(limits={"memory": "512Mi"}))


def made(template: Template = TEMPLATE) -> Bundle:
    return server.bundle(make_model("churn", 7), template)


def parts(manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    pod = manifest["spec"]["template"]["spec"]
    return pod["initContainers"][0], pod["containers"][0]


def test_a_revision_is_the_bytes_under_the_template() -> None:
    assert made().revision == made().revision
    assert made().revision != made(Template(image="server:2")).revision
    other = server.bundle(make_model("churn", 7, digest=f"sha256:{9:064x}"), TEMPLATE)
    assert other.revision != made().revision


def test_what_a_workload_was_made_from_can_be_read_back() -> None:
    assert server.read(server.workload(OWNER, made(), 3, PLATFORM)) == made()


def test_what_is_no_workload_of_ours_reads_as_nothing() -> None:
    broken = server.workload(OWNER, made(), 3, PLATFORM)
    broken["spec"]["template"]["spec"]["containers"][0]["env"] = []
    for manifest in ({}, {"spec": None}, {"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}, broken):
        assert server.read(manifest) is None


def test_only_the_fetching_container_gets_the_store_credentials() -> None:
    fetch, serve = parts(server.workload(OWNER, made(), 1, PLATFORM))
    assert fetch["envFrom"] == [{"secretRef": {"name": PLATFORM.store_secret}}]
    assert "envFrom" not in serve


def test_pods_have_no_token_and_no_root() -> None:
    pod = server.workload(OWNER, made(), 1, PLATFORM)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for part in (*pod["initContainers"], *pod["containers"]):
        assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert part["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in part["env"]


def test_the_container_is_told_what_the_contract_asks_for() -> None:
    _, serve = parts(server.workload(OWNER, made(), 1, PLATFORM))
    told = ServerEnvironment.from_env({item["name"]: item["value"] for item in serve["env"]})
    assert (told.model_name, told.model_version, told.model, told.deployment) == ("churn", "7", "churn-7", "churn")
    assert told.revision == made().revision


def test_a_server_is_ready_only_when_it_says_so() -> None:
    _, serve = parts(server.workload(OWNER, made(), 1, PLATFORM))
    assert serve["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert serve["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_a_server_is_not_killed_for_answers_that_take_long() -> None:
    """With a hundredth of a core an answer takes a hundred times as long."""
    _, serve = parts(server.workload(OWNER, made(), 1, PLATFORM))
    live = serve["livenessProbe"]
    assert live["timeoutSeconds"] >= 20
    assert live["periodSeconds"] * live["failureThreshold"] >= 120


@pytest.mark.parametrize("grace", [60, 15, 600])
def test_a_server_serves_on_until_its_pod_is_killed_less_the_time_for_what_is_under_way(grace: int) -> None:
    manifest = server.workload(OWNER, made(Template(image="server:1", grace_seconds=grace)), 1, PLATFORM)
    told = ServerEnvironment.from_env({item["name"]: item["value"] for item in parts(manifest)[1]["env"]})
    assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace
    assert told.drain_seconds == grace - 10
    assert server.read(manifest) == made(Template(image="server:1", grace_seconds=grace))


def test_a_server_finds_the_others_of_its_revision_by_the_name_of_their_service() -> None:
    _, serve = parts(server.workload(OWNER, made(), 1, PLATFORM))
    told = {item["name"]: item["value"] for item in serve["env"]}
    assert told["MILLRACE_PEERS"] == server.service(OWNER, made())["metadata"]["name"]


def test_the_time_that_a_server_is_given_to_leave_makes_another_revision_only_where_it_is_said() -> None:
    """A new operator, which knows the field, must not start a canary of what serves."""
    assert made(Template(image="s", grace_seconds=60)).revision == made(Template(image="s")).revision
    assert made(Template(image="s", grace_seconds=61)).revision != made(Template(image="s")).revision


def test_pods_are_replaced_one_at_a_time_and_never_missing() -> None:
    spec = server.workload(OWNER, made(), 4, PLATFORM)["spec"]
    assert spec["replicas"] == 4
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_service_is_headless_and_selects_exactly_the_revision() -> None:
    manifest = server.service(OWNER, made())
    labels = server.workload(OWNER, made(), 1, PLATFORM)["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["clusterIP"] == "None"
    assert manifest["spec"]["publishNotReadyAddresses"] is True, (
        "routers ask each server; one that leaves is still asked"
    )
    assert manifest["spec"]["selector"].items() <= labels.items()
    assert manifest["spec"]["selector"]["millrace.dev/revision"] == made().revision
    assert manifest["metadata"]["name"] == f"churn-{made().revision}"


def test_a_prometheus_finds_the_pods() -> None:
    annotations = server.workload(OWNER, made(), 1, PLATFORM)["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics",
    }  # fmt: skip


def test_children_belong_to_their_deployment() -> None:
    for manifest in (server.workload(OWNER, made(), 1, PLATFORM), server.service(OWNER, made())):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Deployment", "u-1", True)
