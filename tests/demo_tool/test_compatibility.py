"""Whether kinds and roles that somebody else brought can be used beside this checkout's operator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.observe import policy as policies
from millrace.render import roles
from millrace_demo import clusterwide, compatibility, marker
from millrace_demo.kubectl import Kubectl

Manifest = dict[str, Any]

DATASETS: Manifest = yaml.safe_load((Path(__file__).parents[2] / "crds" / "millrace.dev_datasets.yaml").read_text())
EDIT: Manifest = next(one for one in roles.cluster_roles() if one["metadata"]["name"] == "millrace-edit")


def changed(manifest: Manifest, change: Callable[[Manifest], object]) -> Manifest:
    other = copy.deepcopy(manifest)
    change(other)
    return other


def version(definition: Manifest) -> Manifest:
    found: Manifest = definition["spec"]["versions"][0]
    return found


def fields(definition: Manifest) -> Manifest:
    """The schema of its spec."""
    found: Manifest = version(definition)["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


SAME: dict[str, tuple[Manifest, Callable[[Manifest], object]]] = {
    "itself": (DATASETS, lambda _: None),
    "other texts": (DATASETS, lambda one: fields(one).update(description="other words")),
    "other columns": (DATASETS, lambda one: version(one).update(additionalPrinterColumns=[])),
    "a further optional field": (DATASETS, lambda one: fields(one)["properties"].update(priority={"type": "string"})),
    "a further version": (DATASETS, lambda one: one["spec"]["versions"].insert(0, {"name": "v1"})),
    "another category": (DATASETS, lambda one: one["spec"]["names"].update(categories=["all"])),
    "labels of a release": (EDIT, lambda one: one["metadata"]["labels"].update({"app.kubernetes.io/version": "9"})),
}
OTHER: dict[str, tuple[Manifest, Callable[[Manifest], object], str]] = {
    "a field that is not there": (DATASETS, lambda one: fields(one)["properties"].pop("refresh"), "properties.refresh"),
    "one more that is required": (DATASETS, lambda one: fields(one)["required"].append("refresh"), "spec.required"),
    "a bound of their own": (DATASETS, lambda one: fields(one).update(maxProperties=2), "spec.maxProperties"),
    "a version that is not there": (DATASETS, lambda one: version(one).update(name="v1"), "spec.versions.v1alpha1"),
    "a version that is not served": (DATASETS, lambda one: version(one).update(served=False), "v1alpha1.served"),
    "no status": (DATASETS, lambda one: version(one).pop("subresources"), "v1alpha1.subresources"),
    "another scope": (DATASETS, lambda one: one["spec"].update(scope="Cluster"), "spec.scope"),
    "one verb fewer": (EDIT, lambda one: one["rules"][0]["verbs"].remove("create"), "rules[0].verbs"),
    "not aggregated": (EDIT, lambda one: one["metadata"]["labels"].clear(), "labels"),
}


@pytest.mark.parametrize("case", SAME)
def test_what_does_the_same_can_be_used(case: str):
    wanted, change = SAME[case]
    assert compatibility.difference(wanted, changed(wanted, change)) == ""


@pytest.mark.parametrize("case", OTHER)
def test_what_may_do_something_else_is_named_by_its_path(case: str):
    wanted, change, path = OTHER[case]
    assert compatibility.difference(wanted, changed(wanted, change)).endswith(path)


def test_a_role_that_is_not_there_is_not_given_to_other_people():
    theirs = {"annotations": {"meta.helm.sh/release-name": "acme", "meta.helm.sh/release-namespace": "ml"}}
    definition = changed(DATASETS, lambda one: one["metadata"].update(theirs))
    why = clusterwide.unfit([DATASETS, EDIT], [definition])
    assert why.startswith(
        "it has the CustomResourceDefinition datasets.millrace.dev of release acme in namespace ml but"
    )
    assert "no ClusterRole millrace-edit" in why
    assert clusterwide.unfit([DATASETS, EDIT], [definition, EDIT]) == ""


def test_whose_it_is_without_helm_is_not_known():
    assert clusterwide.owner(DATASETS) == "somebody who did not use Helm"


HOME = "millrace-demo-system"


class Policies(Kubectl):
    """kubectl of a cluster with these policies over approvals."""

    def __init__(self, **selectors: Manifest) -> None:
        super().__init__(Path("kubectl"), Path("kubeconfig"), "default")
        named = {f"millrace-model-approvals-{namespace.replace('_', '-')}": one for namespace, one in selectors.items()}
        object.__setattr__(self, "items", [policy(name, one) for name, one in named.items()])

    def run(self, *args: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        return json.dumps({"items": self.items})  # type: ignore[attr-defined]


def policy(name: str, selector: Manifest) -> Manifest:
    spec = {"matchConstraints": {"namespaceSelector": selector}}
    return {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}


def named(operator: str, *namespaces: str) -> Manifest:
    values = {"values": list(namespaces)} if namespaces else {}
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": operator, **values}]}


@pytest.mark.parametrize(
    ("selector", "rules"),
    [
        ({}, True),
        (named("In", "ml"), False),
        (named("In", "ml", "millrace-demo"), True),
        (named("NotIn", "millrace-system"), True),
        (named("NotIn", "millrace-system", "millrace-demo"), False),
        (named("Exists"), True),
        (named("DoesNotExist"), False),
        ({"matchLabels": {"millrace.dev/made-by": "millrace-demo"}}, True),
        ({"matchLabels": {"team": "a"}}, False),
    ],
)
def test_whether_somebodys_policies_rule_our_namespace_too(selector: Manifest, rules: bool):
    found = clusterwide.ruling(Policies(acme=selector), "millrace-demo")
    assert (found is not None) is rules


def test_our_own_policies_are_nobody_elses():
    assert clusterwide.ruling(Policies(millrace_demo_system={}), "millrace-demo") is None
    ours = {"metadata": {"name": f"millrace-statuses-{HOME}"}, "kind": "ValidatingAdmissionPolicy"}
    everybodys = {"metadata": {"name": "millrace-edit"}, "kind": "ClusterRole"}
    assert clusterwide.shared([ours, everybodys], HOME) == [everybodys]


def test_what_an_earlier_version_left_is_ours_and_is_in_nobodys_way_once_it_goes():
    left = Policies(old={})
    (old,) = json.loads(left.run())["items"]
    old["metadata"] |= {"labels": {marker.LABEL: "millrace-demo"}, "annotations": {
        "meta.helm.sh/release-name": "millrace-demo", "meta.helm.sh/release-namespace": "millrace-demo"}}  # fmt: skip
    object.__setattr__(left, "items", [old])
    assert clusterwide.brought(left, "") == [old]
    assert clusterwide.ruling(left, "millrace-demo") == old
    assert clusterwide.ruling(left, "millrace-demo", [clusterwide.key(old)]) is None
    old["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = "ml"
    assert clusterwide.brought(left, "") == [], "of another release"


def test_what_is_made_here_waits_for_as_long_as_the_operator_asks_for():
    assert clusterwide.LOADED_WITHIN == policies.LOADED_WITHIN
