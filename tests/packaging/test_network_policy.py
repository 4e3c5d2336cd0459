"""Who reaches whom under the chart's NetworkPolicies, as Kubernetes reads them: told of the pods that are made."""

from __future__ import annotations

import importlib.util
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.api.base import ObjectMeta
from millrace.api.dataset import Dataset
from millrace.api.training_run import Resolved, TrainingRun
from millrace.render import router_workload, server, snapshot_job, training_job
from millrace_kit.simulation import PLATFORM, make_model

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "manifests/samples"
Manifest = dict[str, Any]


def chart() -> Any:
    spec = importlib.util.spec_from_file_location("test_chart", Path(__file__).with_name("test_chart.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Place:
    """A pod by its namespace and labels, or an address outside."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = "10.42.0.7"


def pod(namespace: str, labels: dict[str, str]) -> Place:
    return Place(namespace, tuple(labels.items()))


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """A LabelSelector: an empty one selects everything, and NotIn what has no such label."""
    expressions = selector.get("matchExpressions", ())
    assert {one["operator"] for one in expressions} <= {"In", "NotIn"}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        (labels.get(one["key"]) in one["values"]) is (one["operator"] == "In") for one in expressions
    )


def is_peer(peer: Manifest, place: Place, own: str) -> bool:
    if "ipBlock" in peer:
        return not place.namespace and ipaddress.ip_address(place.address) in ipaddress.ip_network(
            peer["ipBlock"]["cidr"]
        )
    if not place.namespace:
        return False
    names = {"kubernetes.io/metadata.name": place.namespace}
    inside = selects(peer["namespaceSelector"], names) if "namespaceSelector" in peer else place.namespace == own
    return inside and selects(peer.get("podSelector", {}), dict(place.labels))


def lets(policies: list[Manifest], place: Place, other: Place, port: int, direction: str) -> bool:
    """Whether the policies that select `place` allow the connection; without any, everything is allowed."""
    side = {"Ingress": "from", "Egress": "to"}[direction]
    mine = [
        one
        for one in policies
        if one["metadata"]["namespace"] == place.namespace
        and direction in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], dict(place.labels))
    ]
    rules = [rule for one in mine for rule in one["spec"].get(direction.lower(), ())]
    return not mine or any(
        any(is_peer(peer, other, place.namespace) for peer in rule.get(side, ()))
        and ("ports" not in rule or any(one["port"] in (port, NAMED.get(port)) for one in rule["ports"]))
        for rule in rules
    )


NAMED = {7070: "s3", 8080: "metrics"}
"""Ports that the chart's own policies have by name."""


def reaches(rendered: list[Manifest], start: Place, end: Place, port: int) -> bool:
    policies = [one for one in rendered if one["kind"] == "NetworkPolicy"]
    leaves = lets(policies, start, end, port, "Egress")
    return leaves and (not end.namespace or lets(policies, end, start, port, "Ingress"))


def labels(manifest: Manifest) -> dict[str, str]:
    found: dict[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return found


def sample(kind: Any, name: str) -> Any:
    manifest = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
    manifest["metadata"] |= {"namespace": "ml", "uid": "u"}
    return kind.model_validate(manifest | {"status": {}})


def workloads() -> dict[str, dict[str, str]]:
    """Labels of every pod that the operator makes."""
    owner = ObjectMeta(name="churn", namespace="ml", uid="u")
    bundle = server.bundle(make_model("churn", 1), server.Template(image="s"))
    dataset = {"name": "churn", "version": 1, "digest": f"sha256:{'a' * 64}"}
    resolved = Resolved.model_validate({"dataset": dataset, "datasetUri": "s3://millrace/d/"})
    return {
        "snapshot": labels(snapshot_job.render(sample(Dataset, "dataset"), "j", None, PLATFORM)),
        "training": labels(training_job.render(sample(TrainingRun, "training-run"), resolved, "j", PLATFORM)),
        "server": labels(server.workload(owner, bundle, 1, PLATFORM)),
        "router": labels(router_workload.workload(owner, 1, PLATFORM)),
    }


def places(rendered: list[Manifest]) -> dict[str, Place]:
    """The pods of the release and of a team `ml`, others, and the internet."""
    made = {one["metadata"]["name"]: one for one in rendered if one["kind"] in ("Deployment", "StatefulSet")}
    return {
        **{name: pod("ml", found) for name, found in workloads().items()},
        **{name[9:]: pod("millrace-system", labels(one)) for name, one in made.items()},
        "a Job of ours of a later kind": pod("ml", {**workloads()["training"], "millrace.dev/component": "vetting"}),
        "a pod of the team's own": pod("ml", {"app": "web"}),
        "a training pod of another team": pod("fraud", workloads()["training"]),
        "Prometheus": pod("monitoring", {"app": "prometheus"}),
        "DNS": pod("kube-system", {"k8s-app": "kube-dns"}),
        "the internet": Place(address="203.0.113.9"),
        "the bucket": Place(address="10.1.2.3"),
    }


@pytest.fixture(scope="module")
def embedded() -> list[Manifest]:
    found: list[Manifest] = chart().template("networkPolicy.enabled=true", "watchNamespaces={ml,fraud}")
    return found


@pytest.fixture(scope="module")
def external() -> list[Manifest]:
    found: list[Manifest] = chart().template(
        "networkPolicy.enabled=true",
        "watchNamespaces={ml}",
        "store.existingSecret=bucket",
        "networkPolicy.store[0].to[0].ipBlock.cidr=10.1.2.0/24",
        "networkPolicy.store[0].ports[0].port=443",
        "networkPolicy.sources[0].to[0].ipBlock.cidr=203.0.113.0/24",
    )
    return found


OURS = ("snapshot", "training", "a Job of ours of a later kind", "server")


@pytest.mark.parametrize("start", OURS)
def test_what_we_run_for_people_reaches_names_and_the_store_and_nothing_else(
    embedded: list[Manifest], start: str
) -> None:
    found = places(embedded)
    reached = {
        (name, port)
        for name, place in found.items()
        for port in (53, 443, 7070, 8080)
        if reaches(embedded, found[start], place, port)
    }
    peers = {("server", 8080)} if start == "server" else set()
    assert reached == {("DNS", 53), ("store", 7070)} | peers


@pytest.mark.parametrize("start", ["a pod of the team's own", "a training pod of another team", "training", "DNS"])
def test_nobody_else_asks_a_server(embedded: list[Manifest], start: str) -> None:
    found = places(embedded)
    assert not reaches(embedded, found[start], found["server"], 8080)


@pytest.mark.parametrize("start", ["router", "server", "operator", "Prometheus"])
def test_routers_servers_the_operator_and_scrapers_ask_servers(embedded: list[Manifest], start: str) -> None:
    found = places(embedded)
    assert reaches(embedded, found[start], found["server"], 8080)


def test_nobody_connects_to_a_job_and_anybody_to_a_router(embedded: list[Manifest]) -> None:
    found = places(embedded)
    for name, place in found.items():
        assert not reaches(embedded, place, found["training"], 8080), name
    assert reaches(embedded, found["a pod of the team's own"], found["router"], 8080)


def test_a_store_of_ones_own_is_reached_where_it_is_said_to_be(external: list[Manifest]) -> None:
    found = places(external)
    for start in OURS:
        assert reaches(external, found[start], found["the bucket"], 443)
        assert not reaches(external, found[start], found["the bucket"], 22)


def test_sources_elsewhere_are_reached_by_the_jobs_that_read_them_alone(external: list[Manifest]) -> None:
    found = places(external)
    assert [name for name in OURS if reaches(external, found[name], found["the internet"], 443)] == ["snapshot"]


def test_a_store_that_nobody_said_where_it_is_is_not_cut_off_in_silence() -> None:
    done = chart().attempt("networkPolicy.enabled=true", "store.existingSecret=bucket")
    assert done.returncode != 0
    assert "networkPolicy.store: say where the store of store.existingSecret is" in done.stderr
    off = chart().attempt("store.existingSecret=bucket")
    assert off.returncode == 0


def test_where_all_namespaces_are_watched_those_that_are_named_are_confined() -> None:
    settings = ("networkPolicy.enabled=true", "watchNamespaces={*}", "store.existingSecret=bucket")
    none = chart().template(*settings)
    assert {one["metadata"]["namespace"] for one in none if one["kind"] == "NetworkPolicy"} == {"millrace-system"}
    named = chart().template(
        *settings, "networkPolicy.namespaces={ml}", "networkPolicy.store[0].to[0].ipBlock.cidr=10.1.2.0/24"
    )
    jobs = [one["metadata"]["namespace"] for one in named if one["metadata"]["name"] == "millrace-jobs"]
    assert jobs == ["ml"]
