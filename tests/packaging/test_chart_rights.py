"""Who may what where, as the chart renders it: the operator's roles, and the admission policies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .test_chart import attempt, pods, template

pytestmark = pytest.mark.programs

Manifest = dict[str, Any]


def rights(manifests: list[Manifest]) -> dict[str, list[Manifest]]:
    """Where the operator may do something -> the rules; `*` is everywhere."""
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one["rules"]
        for one in manifests
        if one["kind"] in ("Role", "ClusterRole")
    }
    found: dict[str, list[Manifest]] = {}
    for one in manifests:
        subjects = one.get("subjects") or [{}]
        if subjects[0].get("name") == "millrace-operator":
            assert subjects[0]["namespace"] == "millrace-system"
            namespace = one["metadata"].get("namespace")
            rules = roles[one["roleRef"]["kind"], namespace, one["roleRef"]["name"]]
            found.setdefault(namespace or "*", []).extend(rules)
    return found


def verbs(rules: list[Manifest]) -> set[str]:
    return {verb for rule in rules for verb in rule["verbs"]}


def test_the_operator_has_a_role_in_each_namespace_it_watches_and_only_looks_at_two_policies_elsewhere():
    found = rights(template("watchNamespaces={ml,fraud}"))
    assert found.keys() == {"millrace-system", "ml", "fraud", "*"}
    assert found["ml"] == found["fraud"]
    assert {resource for rule in found["millrace-system"] for resource in rule["resources"]} == {"leases"}
    assert verbs(found["*"]) == {"get"}
    named = [f"millrace-{one}-millrace-system" for one in ("model-approvals", "training-runs")]
    assert all(rule["resourceNames"] == named for rule in found["*"])
    for rule in [rule for rules in found.values() for rule in rules]:
        assert not {"secrets", "*"} & set(rule["resources"])
        assert not {"*", "approve", "register", "impersonate", "bind", "escalate", "deletecollection"} & set(
            rule["verbs"]
        )


@pytest.mark.parametrize("setting", ["watchNamespaces={*}", "watchLabel=millrace.dev/watched=true"])
def test_an_operator_that_watches_all_has_the_same_rights_everywhere(setting: str):
    manifests = template(setting, "store.existingSecret=mine")
    found = rights(manifests)
    assert found.keys() == {"millrace-system", "*"}
    one = rights(template("watchNamespaces={ml}"))["ml"]
    assert [rule for rule in one if rule not in found["*"]] == []
    environment = {
        item["name"]: item.get("value") for item in dict(pods(manifests))["millrace-operator"]["containers"][0]["env"]
    }
    assert environment["MILLRACE_WATCH"] in ("*", "millrace.dev/watched=true")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["watchNamespaces={ml,millrace-system}"], "whoever may edit there can act as the operator"),
        (["watchNamespaces={*}"], "the embedded store has credentials for namespaces that are named"),
        (
            ["watchNamespaces={ml}", "admission.trustedAppliers={system:serviceaccount:ml:flux}"],
            "system:serviceaccount:ml:flux lives in a namespace that is watched",
        ),
        (
            ["watchNamespaces={ml}", "admission.approvingAccounts={system:serviceaccount:ml:bot}"],
            "whoever may edit there can act as it",
        ),
    ],
)
def test_what_would_let_an_editor_be_somebody_else_is_refused(settings: list[str], says: str):
    done = attempt(*settings)
    assert done.returncode != 0
    assert says in done.stderr


@pytest.mark.parametrize("watch", ["watchNamespaces={*}", "watchLabel=millrace.dev/watched=true"])
def test_what_the_policies_do_not_rule_the_operator_does_not_watch(watch: str):
    manifests = template(watch, "store.existingSecret=s", "admission.otherNamespaces={lab,fraud}")
    environment = {
        item["name"]: item.get("value") for item in dict(pods(manifests))["millrace-operator"]["containers"][0]["env"]
    }
    assert environment["MILLRACE_OTHER_NAMESPACES"] == "lab,fraud"
    where = policies(manifests)["millrace-model-approvals"]["matchConstraints"]["namespaceSelector"]
    assert where["matchExpressions"][0]["operator"] == "NotIn"
    assert where["matchExpressions"][0]["values"] == ["lab", "fraud"]


def test_an_older_installation_may_stay_where_its_objects_are():
    found = rights(template("watchNamespaces={millrace-system}", "operator.shareNamespace=true"))
    assert found.keys() == {"millrace-system", "*"}


def policies(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Name without the release -> spec."""
    found = [one for one in manifests if one["kind"] == "ValidatingAdmissionPolicy"]
    assert all(one["metadata"]["name"].endswith("-millrace-system") for one in found), "releases share no policy"
    return {one["metadata"]["name"].removesuffix("-millrace-system"): one["spec"] for one in found}


def ruled(*settings: str) -> dict[str, list[Manifest]]:
    """Which namespaces each policy is about."""
    found = policies(template(*settings))
    return {
        name: spec["matchConstraints"]["namespaceSelector"].get("matchExpressions", []) for name, spec in found.items()
    }


def test_the_policies_know_the_operator_and_whom_the_values_name_by_their_user_names():
    flux, bot = "system:serviceaccount:flux-system:kustomize-controller", "system:serviceaccount:ci:bot"
    values = (f"admission.trustedAppliers={{{flux}}}", f"admission.approvingAccounts={{{bot}}}")
    found = policies(template("watchNamespaces={ml,fraud}", *values))
    asks = 'request.userInfo.username in ["system:serviceaccount:millrace-system:millrace-operator"]'
    for name in ("millrace-model-approvals", "millrace-training-runs"):
        assert {"name": "operates", "expression": asks} in found[name]["variables"]
    assert found["millrace-statuses"]["validations"][0]["expression"] == asks
    assert found["millrace-operator-pods"]["matchConditions"] == [{"name": "who", "expression": asks}]
    assert f'["{flux}"]' in json.dumps(found["millrace-training-runs"]).replace("\\", "")
    assert f'["{bot}"]' in json.dumps(found["millrace-deployment-actions"]).replace("\\", "")
    assert "millrace-system:millrace-store" in json.dumps(found["millrace-store-secrets"]["matchConditions"])


@pytest.mark.parametrize(
    ("settings", "people", "elsewhere"),
    [
        (["watchNamespaces={ml}"], ("In", ["ml"]), ("NotIn", ["ml", "millrace-system"])),
        (["watchNamespaces={ml}", "admission.otherNamespaces={lab}"], ("In", ["ml"]),
         ("NotIn", ["ml", "millrace-system", "lab"])),
        (["watchNamespaces={ml}", "admission.otherNamespaces={*}"], ("In", ["ml"]), ("In", ["millrace-system"])),
        # Its own too: there the operator asks whether they hold.
        (["watchNamespaces={*}", "store.existingSecret=s", "admission.otherNamespaces={lab}"],
         ("NotIn", ["lab"]), ("In", ["millrace-system"])),
        (["watchLabel=team=ml", "store.existingSecret=s"], ("Exists", None), ("NotIn", ["millrace-system"])),
    ],
    ids=["named", "beside another release", "beside one that watches the rest", "all",
         "labelled: a label comes and goes"],
)  # fmt: skip
def test_the_policies_rule_where_the_operator_watches_and_warn_where_nobody_does(
    settings: list[str], people: tuple[str, list[str] | None], elsewhere: tuple[str, list[str]]
):
    found = ruled(*settings)
    name, (operator, values) = "kubernetes.io/metadata.name", people
    wanted = {"key": name, "operator": operator, **({"values": values} if values else {})}
    for policy in (
        "model-approvals",
        "model-deletions",
        "training-runs",
        "dataset-secrets",
        "deployment-actions",
        "statuses",
        "quarantine-records",
    ):
        assert found[f"millrace-{policy}"] == [wanted], policy
    assert {"key": name, "operator": elsewhere[0], "values": elsewhere[1]} in found["millrace-unwatched"]
    for policy in ("operators-own-namespace", "operator-pods", "store-secrets"):
        assert found[f"millrace-{policy}"] == [], policy
    labelled = {"key": "team", "operator": "NotIn", "values": ["ml"]}
    assert (labelled in found["millrace-unwatched"]) is (settings[0] == "watchLabel=team=ml")


def test_all_policies_deny_but_the_one_that_another_release_may_know_better():
    bindings = [one for one in template() if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    warning = [one["metadata"]["name"] for one in bindings if one["spec"]["validationActions"] != ["Deny", "Audit"]]
    assert warning == ["millrace-unwatched-millrace-system"]


def test_the_charts_policies_are_those_that_the_operator_prints():
    from millrace.render import admission

    home, account = "millrace-system", admission.account
    trusted = admission.trust(
        [account(home, "millrace-operator")], stores=[account(home, "millrace-store")], home=home, namespaces=["ml"]
    )
    printed = [one for one in admission.manifests(trusted, home) if one["kind"] == "ValidatingAdmissionPolicy"]
    found = policies(template("watchNamespaces={ml}"))
    assert {one["metadata"]["name"].removesuffix(f"-{home}"): one["spec"] for one in printed} == found
