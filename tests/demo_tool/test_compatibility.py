"""Whether kinds, policies and roles that somebody else brought can be used beside this checkout's operator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.render import admission, roles
from millrace_demo import clusterwide, compatibility

Manifest = dict[str, Any]

DATASETS: Manifest = yaml.safe_load((Path(__file__).parents[2] / "crds" / "millrace.dev_datasets.yaml").read_text())
POLICY: Manifest = next(one for one in admission.manifests() if one["metadata"]["name"] == "millrace-training-runs")
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
    "what the API server adds": (
        POLICY,
        lambda one: (
            one["spec"]["matchConstraints"].update(matchPolicy="Equivalent", namespaceSelector={}, objectSelector={}),
            one["spec"]["matchConstraints"]["resourceRules"][0].update(scope="*"),
        ),
    ),
}
OTHER: dict[str, tuple[Manifest, Callable[[Manifest], object], str]] = {
    "a field that is not there": (DATASETS, lambda one: fields(one)["properties"].pop("refresh"), "properties.refresh"),
    "one more that is required": (DATASETS, lambda one: fields(one)["required"].append("refresh"), "spec.required"),
    "a bound of their own": (DATASETS, lambda one: fields(one).update(maxProperties=2), "spec.maxProperties"),
    "a version that is not there": (DATASETS, lambda one: version(one).update(name="v1"), "spec.versions.v1alpha1"),
    "a version that is not served": (DATASETS, lambda one: version(one).update(served=False), "v1alpha1.served"),
    "no status": (DATASETS, lambda one: version(one).pop("subresources"), "v1alpha1.subresources"),
    "another scope": (DATASETS, lambda one: one["spec"].update(scope="Cluster"), "spec.scope"),
    "another expression": (
        POLICY,
        lambda one: one["spec"]["validations"][0].update(expression="true"),
        "validations[0].expression",
    ),
    "one expression fewer": (POLICY, lambda one: one["spec"]["validations"].pop(), "spec.validations"),
    "some namespaces only": (
        POLICY,
        lambda one: one["spec"]["matchConstraints"].update(namespaceSelector={"matchLabels": {"team": "a"}}),
        "matchConstraints.namespaceSelector",
    ),
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


def test_a_policy_that_is_not_there_is_not_put_over_other_peoples_objects():
    theirs = {"annotations": {"meta.helm.sh/release-name": "acme", "meta.helm.sh/release-namespace": "ml"}}
    definition = changed(DATASETS, lambda one: one["metadata"].update(theirs))
    why = clusterwide.unfit([DATASETS, POLICY], [definition])
    assert why.startswith(
        "it has the CustomResourceDefinition datasets.millrace.dev of release acme in namespace ml but"
    )
    assert "no ValidatingAdmissionPolicy millrace-training-runs" in why
    assert clusterwide.unfit([DATASETS, POLICY], [definition, POLICY]) == ""


def test_whose_it_is_without_helm_is_not_known():
    assert clusterwide.owner(DATASETS) == "somebody who did not use Helm"
