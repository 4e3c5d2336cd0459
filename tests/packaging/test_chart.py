"""The chart: what it renders, what it refuses, and that manifests/base is the same."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import millrace_cluster

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "millrace"
Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(millrace_cluster.binary("helm")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def template(*settings: str) -> list[Manifest]:
    """What `helm template` renders with `--set` for each setting."""
    done = attempt(*settings)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def attempt(*settings: str) -> subprocess.CompletedProcess[str]:
    options = [word for setting in settings for word in ("--set", setting)]
    release = ["template", "millrace", str(CHART), "--namespace", "millrace-system", "--kube-version", "v1.36.3"]
    return helm(*release, *options)


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def placed(manifests: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """By kind, namespace and name."""
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in manifests}


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for manifest in manifests:
        if manifest["kind"] in {"Deployment", "StatefulSet"}:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.fixture(scope="module")
def rendered() -> list[Manifest]:
    return template()


def test_lint_finds_nothing():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_an_install_needs_no_value_and_renders_the_same_twice(rendered: list[Manifest]):
    assert rendered == template()
    assert not [manifest for manifest in rendered if manifest["kind"] == "Secret"]


@pytest.mark.parametrize(
    "setting, path",
    [
        ("operator.replicas=two", "/operator/replicas"),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.logLevel=LOUD", "/operator/logLevel"),
        ("operator.surprise=1", "/operator"),
        ("images.pullPolicy=Sometimes", "/images/pullPolicy"),
        ("images.server.repository=Not A Name", "/images/server/repository"),
        ("store.uri=file:///tmp", "/store/uri"),
        ("store.persistence.size=large", "/store/persistence/size"),
        ("crds.enabled=perhaps", "/crds/enabled"),
        ("watchNamespaces={ML}", "/watchNamespaces/0"),
        ("watchLabel=no label", "/watchLabel"),
        ("admission.trustedAppliers={it's me}", "/admission/trustedAppliers/0"),
        ("admission.otherNamespaces={LAB}", "/admission/otherNamespaces/0"),
        ("monitoring.podMonitor.interval=often", "/monitoring/podMonitor/interval"),
        ("networkPolicy.namespaces={ML}", "/networkPolicy/namespaces/0"),
        # A rule of egress to nobody in particular is one to everybody.
        ("networkPolicy.store[0].ports[0].port=443", "/networkPolicy/store/0"),
        ("networkPolicy.sources[0].to={}", "/networkPolicy/sources/0/to"),
        ("networkPolicy.scrapers[0].from=me", "/networkPolicy/scrapers/0"),
        ("surprise=1", ""),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(setting: str, path: str):
    done = helm("template", "millrace", str(CHART), "--kube-version", "v1.36.3", "--set", setting)
    assert done.returncode != 0
    assert "values don't meet the specifications" in done.stderr
    assert f"'{path}'" in done.stderr


def test_every_pod_passes_pod_security_restricted(rendered: list[Manifest]):
    for name, pod in pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, container["name"]
            assert context["capabilities"] == {"drop": ["ALL"]}, container["name"]
            assert context["readOnlyRootFilesystem"] is True, container["name"]
            assert {"requests", "limits"} <= container["resources"].keys(), container["name"]


def test_the_store_may_create_a_secret_and_read_none_and_only_its_init_container_has_the_token(
    rendered: list[Manifest],
):
    roles = [one for one in rendered if (one["kind"], one["metadata"]["name"]) == ("Role", "millrace-store")]
    assert {one["metadata"]["namespace"] for one in roles} == {"millrace-system", "default"}
    for role in roles:
        assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    pod = dict(pods(rendered))["millrace-store"]
    assert pod["automountServiceAccountToken"] is False
    holding = [part["name"] for part in containers(pod) if "token" in {mount["name"] for mount in part["volumeMounts"]}]
    assert holding == ["credentials"]


def test_definitions_outlive_the_release_and_can_be_left_out(rendered: list[Manifest]):
    definitions = [manifest for manifest in rendered if manifest["kind"] == "CustomResourceDefinition"]
    assert len(definitions) == 4
    assert {item["metadata"]["annotations"]["helm.sh/resource-policy"] for item in definitions} == {"keep"}
    kinds = {
        manifest["kind"] for manifest in template("crds.enabled=false", "admission.enabled=false", "rbac.create=false")
    }
    assert not kinds & {"CustomResourceDefinition", "ValidatingAdmissionPolicy"}
    people = [one for one in template("rbac.create=false") if one["kind"] == "ClusterRole"]
    assert [one["metadata"]["name"] for one in people] == ["millrace-operator-witness-millrace-system"]


def test_with_a_secret_of_ones_own_no_store_is_installed():
    manifests = by_name(template("store.existingSecret=mine", "store.uri=s3://bucket/prefix"))
    assert ("StatefulSet", "millrace-store") not in manifests
    assert ("ServiceAccount", "millrace-store") not in manifests
    operator = manifests["Deployment", "millrace-operator"]["spec"]["template"]["spec"]["containers"][0]
    environment = {item["name"]: item.get("value") for item in operator["env"]}
    assert environment["MILLRACE_STORE_SECRET"] == "mine"
    assert environment["MILLRACE_STORE_URI"] == "s3://bucket/prefix"
    assert "MILLRACE_ERASE_SECRET" not in environment


def test_what_erases_may_have_keys_of_its_own():
    manifests = by_name(template("store.existingSecret=mine", "store.eraseSecret=eraser"))
    operator = manifests["Deployment", "millrace-operator"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MILLRACE_ERASE_SECRET", "value": "eraser"} in operator["env"]


def test_an_upgrade_mends_a_store_that_never_started(rendered: list[Manifest]):
    assert by_name(rendered)["StatefulSet", "millrace-store"]["spec"]["podManagementPolicy"] == "Parallel"


def test_the_store_knows_its_bucket_its_address_from_everywhere_and_whom_it_serves():
    pod = dict(pods(template("store.uri=s3://other/prefix", "watchNamespaces={ml,fraud}")))["millrace-store"]
    arguments = pod["initContainers"][0]["args"]
    assert {"--uri=s3://other/prefix", "--for=ml", "--for=fraud"} <= set(arguments)
    assert "--endpoint=http://millrace-store.millrace-system.svc:7070" in arguments
    assert "--accounts=/accounts" in arguments
    assert "--iam-dir=/accounts" in pod["containers"][0]["args"]
    optional = [item["valueFrom"]["secretKeyRef"]["optional"] for item in pod["initContainers"][0]["env"]]
    assert optional == [True, True]


def test_the_volume_can_be_left_out_and_its_class_chosen():
    stateful = by_name(template("store.persistence.enabled=false"))["StatefulSet", "millrace-store"]["spec"]
    assert "volumeClaimTemplates" not in stateful
    assert {"name": "data", "emptyDir": {}} in stateful["template"]["spec"]["volumes"]
    settings = ("store.persistence.size=1Gi", "store.persistence.storageClass=fast")
    claim = by_name(template(*settings))["StatefulSet", "millrace-store"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"] == {"requests": {"storage": "1Gi"}}


def test_every_setting_reaches_the_operator_by_a_name_it_knows(rendered: list[Manifest]):
    from millrace import settings

    operator = dict(pods(rendered))["millrace-operator"]["containers"][0]
    given = {item["name"] for item in operator["env"]}
    assert given <= settings.PARSED.keys()
    assert given >= set(settings.REQUIRED)


def test_two_operators_are_kept_apart_and_never_evicted_together(rendered: list[Manifest]):
    deployment = by_name(rendered)["Deployment", "millrace-operator"]
    template_labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (apart,) = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"].values()
    assert apart[0]["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert apart[0]["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= template_labels.items()
    budget = by_name(rendered)["PodDisruptionBudget", "millrace-operator"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= template_labels.items()


def test_one_operator_has_no_budget_that_would_hold_a_drain_up_for_nothing():
    assert ("PodDisruptionBudget", "millrace-operator") not in by_name(template("operator.replicas=1"))


def test_an_affinity_of_ones_own_replaces_ours():
    pod = dict(pods(template("operator.affinity.nodeAffinity.mine=1")))["millrace-operator"]
    assert pod["affinity"] == {"nodeAffinity": {"mine": 1}}


def test_scraping_is_by_annotation_or_by_pod_monitor(rendered: list[Manifest]):
    pod = by_name(rendered)["Deployment", "millrace-operator"]["spec"]["template"]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    monitors = by_name(template("monitoring.podMonitor.enabled=true", "monitoring.podAnnotations=false"))
    endpoints = {
        name: manifest["spec"]["podMetricsEndpoints"][0]["port"]
        for (kind, name), manifest in monitors.items()
        if kind == "PodMonitor"
    }
    assert endpoints == {"millrace-operator": "metrics", "millrace-server": "http", "millrace-router": "stats"}


def test_network_policies_come_only_when_asked_for(rendered: list[Manifest]):
    assert "NetworkPolicy" not in {manifest["kind"] for manifest in rendered}
    asked = template("networkPolicy.enabled=true")
    policies = {place[1:] for place in placed(asked) if place[0] == "NetworkPolicy"}
    assert policies == {
        ("millrace-system", "millrace-operator"), ("millrace-system", "millrace-store"),
        ("default", "millrace-jobs"), ("default", "millrace-servers"),
    }  # fmt: skip


def test_applying_the_base_is_installing_the_chart(rendered: list[Manifest]):
    command = [str(millrace_cluster.binary("kubectl")), "kustomize", str(ROOT / "manifests" / "base")]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert placed(list(yaml.safe_load_all(built))) == placed(rendered)


def test_the_base_is_what_the_chart_renders_file_by_file():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tests/packaging/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert {path: path.read_text() for path in generate.BASE.iterdir()} == generate.base()


def test_the_dashboard_in_the_release_is_the_one_in_manifests(rendered: list[Manifest]):
    shipped = by_name(rendered)["ConfigMap", "millrace-dashboard"]
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(shipped["data"]["millrace.json"]) == json.loads(
        (ROOT / "manifests/dashboards/millrace.json").read_text()
    )
