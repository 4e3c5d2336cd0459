"""Who may say what, each with an own token: alice edits, bob approves, carol does both, the operator operates, flux
applies for others, and both it and argo are cluster administrators, as admin is.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from apiserver_kit.planes import ARGO, CI, FLUX

Manifest = dict[str, Any]

WEAK = [{"required": 0}, {"required": 1, "distinctFromAuthor": False}]
RUN = "millrace.dev/training-run"
RUN_UID = "millrace.dev/training-run-uid"


def imported(samples: dict[str, Manifest], author: str | None, applied_by: str = "", **spec: Any) -> Manifest:
    """A model that somebody brings along."""
    model = copy.deepcopy(samples["model-minimal"])
    model["spec"].update(spec)
    model["spec"]["provenance"] = {"author": author, "appliedBy": applied_by}
    model["spec"]["provenance"] = {name: user for name, user in model["spec"]["provenance"].items() if user}
    if not model["spec"]["provenance"]:
        del model["spec"]["provenance"]
    return model


def run_by(samples: dict[str, Manifest], author: str, policy: Manifest | None = None, applied_by: str = "") -> Manifest:
    run = copy.deepcopy(samples["training-run-minimal"])
    run["spec"]["author"] = author
    if applied_by:
        run["spec"]["appliedBy"] = applied_by
    if policy is not None:
        run["spec"]["output"]["approvalPolicy"] = policy
    return run


def entry(model: Manifest, user: str, decision: str = "Approve", **more: str) -> Manifest:
    return {"user": user, "decision": decision, "digest": model["spec"]["artifact"]["digest"], **more}


def decide(api: Any, model: Manifest, by: str, *entries: Manifest) -> Any:
    """Add decisions at the end, as `by`."""
    so_far = api.get(model)["spec"].get("approvals", [])
    return api.patch(model, {"spec": {"approvals": [*so_far, *entries]}}, user=by)


def refused(answer: Any, *fragments: str) -> None:
    assert answer.code == 403, f"{answer.code} {answer.message}"
    assert "ValidatingAdmissionPolicy 'millrace-" in answer.message
    for fragment in fragments:
        assert fragment in answer.message


def accepted(answer: Any) -> None:
    assert answer.ok, f"{answer.code} {answer.message}"


@pytest.fixture
def model(made: Any, samples: dict[str, Manifest]) -> Manifest:
    """What the operator made of alice's run."""
    manifest = copy.deepcopy(samples["model"])
    manifest["spec"]["provenance"]["author"] = "alice"
    manifest["metadata"]["labels"] |= {RUN: "churn-gb", RUN_UID: "4f6c"}
    created: Manifest = made(manifest, user="operator")
    return created


@pytest.fixture
def carols(made: Any, samples: dict[str, Manifest]) -> Manifest:
    """What the operator made of a run by carol, who may approve."""
    manifest = copy.deepcopy(samples["model"])
    manifest["spec"]["provenance"]["author"] = "carol"
    created: Manifest = made(manifest, user="operator")
    return created


# ------------------------------------------------------------------------------------------------------- decisions
def test_an_editor_edits_a_label(api: Any, model: Manifest) -> None:
    accepted(api.patch(model, {"metadata": {"labels": {"team": "growth"}}}, user="alice"))


def test_an_editor_does_not_approve(api: Any, model: Manifest) -> None:
    refused(decide(api, model, "alice", entry(model, "alice")), "alice lacks the verb approve", "millrace-approver")


def test_an_editor_does_not_reject_either(api: Any, model: Manifest) -> None:
    refused(decide(api, model, "alice", entry(model, "alice", "Reject")), "alice lacks the verb approve")


def test_nobody_creates_a_model_that_carries_somebody_elses_approval(api: Any, samples: dict[str, Manifest]) -> None:
    for user in ("alice", "carol", "operator"):
        forged = imported(samples, user)
        forged["spec"]["approvals"] = [entry(forged, "bob")]
        refused(api.create(forged, user=user, dry_run=True))


def test_an_approver_does_not_decide_in_another_name(api: Any, model: Manifest) -> None:
    refused(decide(api, model, "bob", entry(model, "alice")), "your own user name: set user: bob")


def test_an_approver_approves(api: Any, model: Manifest) -> None:
    accepted(decide(api, model, "bob", entry(model, "bob", comment="looked at the card")))


def test_an_approver_takes_it_back_and_nobody_brings_it_forward_again(api: Any, model: Manifest) -> None:
    yes, no = entry(model, "bob", comment="yes"), entry(model, "bob", "Revoke")
    accepted(decide(api, model, "bob", yes))
    accepted(decide(api, model, "bob", no))
    refused(decide(api, model, "alice", yes), "alice lacks the verb approve")
    refused(decide(api, model, "carol", yes), "your own user name: set user: carol")
    swapped = api.patch(model, {"spec": {"approvals": [no, yes]}}, user="alice")
    assert swapped.code == 422
    assert "append-only" in swapped.message


@pytest.mark.parametrize("user", ["alice", "bob", "operator"])
def test_decisions_are_not_removed(user: str, api: Any, model: Manifest) -> None:
    accepted(decide(api, model, "bob", entry(model, "bob")))
    if user == "operator":
        assert api.patch(model, {"spec": {"approvals": []}}, user=user).code == 403
        return
    emptied = api.patch(model, {"spec": {"approvals": []}}, user=user)
    removed = api.patch(model, [{"op": "remove", "path": "/spec/approvals"}], user=user, patch="json-patch")
    assert (emptied.code, removed.code) == (422, 422)
    assert "append-only" in emptied.message
    assert "append-only" in removed.message


def test_an_approval_is_about_this_artifact(api: Any, model: Manifest) -> None:
    answer = decide(api, model, "bob", entry(model, "bob") | {"digest": "sha256:" + "0" * 64})
    assert answer.code == 422
    assert "must name this artifact's digest" in answer.message


def test_the_author_does_not_approve_even_with_the_verb(api: Any, carols: Manifest) -> None:
    refused(decide(api, carols, "carol", entry(carols, "carol")), "carol is the author")
    accepted(decide(api, carols, "bob", entry(carols, "bob")))


def test_the_author_may_reject(api: Any, carols: Manifest) -> None:
    accepted(decide(api, carols, "carol", entry(carols, "carol", "Reject")))


def test_nobody_loosens_the_rule_and_approves_in_one_go(api: Any, carols: Manifest) -> None:
    both = {"approvalPolicy": {"distinctFromAuthor": False}, "approvals": [entry(carols, "carol")]}
    refused(api.patch(carols, {"spec": both}, user="carol"), "never weaker")


def test_where_the_run_waived_the_distinction_the_author_approves(
    api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    waived = copy.deepcopy(samples["model"])
    waived["spec"]["provenance"]["author"] = "carol"
    waived["spec"]["approvalPolicy"] = {"required": 1, "distinctFromAuthor": False}
    model = made(waived, user="operator")
    accepted(decide(api, model, "carol", entry(model, "carol")))


def test_a_service_account_does_not_decide_whatever_verbs_it_has_unless_it_is_named(api: Any, model: Manifest) -> None:
    for account in (FLUX, ARGO):
        refused(decide(api, model, account, entry(model, account)), "is a service account", "approvingAccounts")
    accepted(decide(api, model, CI, entry(model, CI)))


# --------------------------------------------------------------------------------------------------------- policies
def test_an_editor_does_not_change_the_policy(api: Any, model: Manifest) -> None:
    stricter = {"spec": {"approvalPolicy": {"required": 2}}}
    refused(api.patch(model, stricter, user="alice"), "alice lacks the verb approve")
    accepted(api.patch(model, stricter, user="bob"))


@pytest.mark.parametrize("user", ["alice", "bob", "carol", FLUX, "admin"])
def test_a_policy_becomes_stricter_and_never_weaker(user: str, api: Any, model: Manifest) -> None:
    accepted(api.patch(model, {"spec": {"approvalPolicy": {"required": 2}}}, user="bob"))
    for weaker in (*WEAK, {"required": 1}):
        refused(api.patch(model, {"spec": {"approvalPolicy": weaker}}, user=user), "never weaker")
    removal = [{"op": "remove", "path": "/spec/approvalPolicy"}]
    refused(api.patch(model, removal, user=user, patch="json-patch"), "never weaker")


@pytest.mark.parametrize("policy", WEAK)
def test_a_model_with_a_weak_policy_is_created_by_the_operator_only(
    policy: Manifest, api: Any, samples: dict[str, Manifest]
) -> None:
    def create(user: str) -> Any:
        return api.create(imported(samples, user, approvalPolicy=policy), user=user, dry_run=True)

    for user in ("alice", "carol", FLUX, "admin"):
        refused(create(user), "has passed no gates")
    accepted(create("operator"))


# ------------------------------------------------------------------------------------------------------- provenance
def test_an_editor_does_not_claim_a_training_run(api: Any, samples: dict[str, Manifest]) -> None:
    for user in ("alice", "carol", "admin", FLUX):
        claim = imported(samples, user)
        claim["spec"]["provenance"]["trainingRunRef"] = {"name": "churn-gb"}
        refused(api.create(claim, user=user, dry_run=True), "only the operator claims a training run")


def test_an_import_in_ones_own_name_is_accepted(api: Any, samples: dict[str, Manifest]) -> None:
    accepted(api.create(imported(samples, "alice"), user="alice", dry_run=True))


def test_an_import_in_another_name_or_in_none_is_refused(api: Any, samples: dict[str, Manifest]) -> None:
    for user in ("alice", "admin", ARGO):
        for author in ("bob", None):
            answer = api.create(imported(samples, author, applied_by=user), user=user, dry_run=True)
            refused(answer, f"spec.provenance.author must be your own user name: set author: {user}")


def test_a_trusted_applier_imports_for_the_author_and_says_that_it_did(
    api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    refused(api.create(imported(samples, None, applied_by=FLUX), user=FLUX, dry_run=True), "provenance.author must be")
    for said in ("", "carol", ARGO):
        answer = api.create(imported(samples, "carol", applied_by=said), user=FLUX, dry_run=True)
        refused(answer, f"spec.provenance.appliedBy says who applied: set appliedBy: {FLUX}")
    model = made(imported(samples, "carol", applied_by=FLUX), user=FLUX)
    refused(decide(api, model, "carol", entry(model, "carol")), "carol is the author")
    accepted(decide(api, model, "bob", entry(model, "bob")))


@pytest.mark.parametrize("user", ["carol", "admin"])
def test_whoever_imports_a_model_does_not_approve_it(
    user: str, api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    model = made(imported(samples, user), user=user)
    refused(decide(api, model, user, entry(model, user)), f"{user} is the author")
    born_approved = imported(samples, "carol")
    born_approved["metadata"]["name"], born_approved["spec"]["version"] = "rent-2", "2"
    born_approved["spec"]["approvals"] = [entry(born_approved, "carol")]
    refused(api.create(born_approved, user="carol", dry_run=True), "carol is the author")


@pytest.mark.parametrize("label", [RUN, RUN_UID])
def test_the_labels_that_tie_a_model_to_its_run_are_the_operators(
    label: str, api: Any, model: Manifest, samples: dict[str, Manifest]
) -> None:
    labelled = imported(samples, "alice")
    labelled["metadata"]["labels"] = {label: "4f6c"}
    refused(api.create(labelled, user="alice", dry_run=True), "to the operator")
    for value in ("other", None):
        refused(api.patch(model, {"metadata": {"labels": {label: value}}}, user="bob"), "to the operator")


# ------------------------------------------------------------------------------------------------------------- runs
def test_a_run_is_asked_for_in_ones_own_name(api: Any, samples: dict[str, Manifest]) -> None:
    accepted(api.create(run_by(samples, "alice"), user="alice", dry_run=True))
    for user in ("alice", "admin", ARGO):
        for author in ("bob", "operator"):
            answer = api.create(run_by(samples, author, applied_by=user), user=user, dry_run=True)
            refused(answer, f"spec.author must be your own user name: set author: {user}")


def test_a_trusted_applier_asks_for_a_run_in_the_authors_name_and_its_own(
    api: Any, samples: dict[str, Manifest]
) -> None:
    accepted(api.create(run_by(samples, "alice", applied_by=FLUX), user=FLUX, dry_run=True))
    refused(api.create(run_by(samples, "alice"), user=FLUX, dry_run=True), f"set appliedBy: {FLUX}")
    refused(api.create(run_by(samples, "alice", applied_by=FLUX), user="alice", dry_run=True), "set appliedBy: alice")


@pytest.mark.parametrize("policy", WEAK)
def test_automatic_approval_is_asked_for_by_those_who_may_approve(
    policy: Manifest, api: Any, samples: dict[str, Manifest]
) -> None:
    refused(api.create(run_by(samples, "alice", policy), user="alice", dry_run=True), "verb approve")
    for account in (FLUX, ARGO):
        applied = run_by(samples, account, policy)
        said = "is a service account or a trusted applier, and these do not approve"
        refused(api.create(applied, user=account, dry_run=True), said)
    accepted(api.create(run_by(samples, "admin", policy), user="admin", dry_run=True))
    accepted(api.create(run_by(samples, "carol", policy), user="carol", dry_run=True))


def test_the_operator_clones_a_run_with_its_author_and_its_policy(api: Any, samples: dict[str, Manifest]) -> None:
    accepted(api.create(run_by(samples, "carol", {"required": 0}), user="operator", dry_run=True))


def test_the_name_that_the_operator_asks_with_is_refused_to_all(api: Any, samples: dict[str, Manifest]) -> None:
    for user in ("admin", "operator"):
        probe = run_by(samples, user)
        probe["metadata"]["name"] = "millrace-policy-probe"
        refused(api.create(probe, user=user, dry_run=True), "reserved")


# ---------------------------------------------------------------------------------------------------------- actions
ACTION = {"revision": "3aa210c4"}
ALARM = {**ACTION, "evaluatedTime": "2026-11-21T08:00:00Z"}
VERBS = {"abort": "abort", "retry": "retry", "unquarantine": "approve", "acknowledgeDrift": "acknowledge"}


@pytest.fixture
def deployment(made: Any, samples: dict[str, Manifest]) -> Manifest:
    created: Manifest = made(samples["deployment-monitored"], user="alice")
    return created


@pytest.mark.parametrize("action,verb", VERBS.items())
def test_an_action_needs_its_verb(action: str, verb: str, api: Any, deployment: Manifest) -> None:
    body = ALARM if action == "acknowledgeDrift" else ACTION
    asked = {"spec": {"actions": {action: body}}}
    refused(api.patch(deployment, asked, user="alice"), f"spec.actions.{action}: alice lacks the verb {verb}")
    accepted(api.patch(deployment, asked, user="bob"))
    accepted(api.patch(deployment, {"spec": {"replicas": 3}}, user="alice"))
    other = {"spec": {"actions": {action: {"revision": "c0ffee01"}}}}
    refused(api.patch(deployment, other, user="alice"), f"spec.actions.{action}")


def test_an_abort_is_not_taken_back_before_it_was_carried_out_and_by_anybody_afterwards(
    api: Any, deployment: Manifest
) -> None:
    actions = {"abort": ACTION, "retry": ACTION, "unquarantine": ACTION, "acknowledgeDrift": ALARM}
    harmless = {"retry": None, "unquarantine": None, "acknowledgeDrift": None}
    canary = {"model": "churn-2", "version": 2, "digest": f"sha256:{'0' * 64}", "weight": 5, **ACTION}
    running = {"status": {"canary": {**canary, "since": "2026-11-21T08:00:00Z"}}}
    accepted(api.patch(deployment, running, user="operator", subresource="/status"))
    accepted(api.patch(deployment, {"spec": {"actions": actions}}, user="bob"))
    refused(api.patch(deployment, {"spec": {"actions": {"abort": None}}}, user="alice"), "spec.actions.abort")
    refused(api.patch(deployment, {"spec": {"actions": None}}, user="alice"), "spec.actions.abort")
    accepted(api.patch(deployment, {"spec": {"actions": harmless}}, user="alice"))
    accepted(api.patch(deployment, {"status": {"canary": None}}, user="operator", subresource="/status"))
    accepted(api.patch(deployment, {"spec": {"actions": None}}, user="alice"))


def test_a_service_account_does_not_unquarantine_whatever_verbs_it_has(api: Any, deployment: Manifest) -> None:
    asked = {"spec": {"actions": {"unquarantine": ACTION}}}
    refused(api.patch(deployment, asked, user=FLUX), "spec.actions.unquarantine", "is a service account")
    accepted(api.patch(deployment, asked, user="bob"))
    accepted(api.patch(deployment, {"metadata": {"labels": {"team": "growth"}}}, user=FLUX))


def test_a_deployment_is_not_created_with_actions_by_an_editor(api: Any, samples: dict[str, Manifest]) -> None:
    refused(api.create(samples["deployment"], user="alice", dry_run=True), "spec.actions.abort")


# ------------------------------------------------------------------------------------------------------ quarantines
RECORDS = {"group": "apps", "resource": "controllerrevisions", "namespace": "ml"}


def may(api: Any, user: str, verb: str) -> bool:
    """Whether somebody may do that with what quarantines are written in."""
    review = {"spec": {"resourceAttributes": {**RECORDS, "verb": verb}}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", kind | review, user=user)
    return bool(answer.body["status"]["allowed"])


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
def test_people_neither_forge_nor_remove_a_quarantine(user: str, api: Any) -> None:
    assert not any(may(api, user, verb) for verb in ("create", "update", "patch", "delete", "deletecollection"))


def test_the_operator_writes_quarantines_and_never_changes_one(api: Any) -> None:
    assert {verb for verb in ("create", "update", "patch", "delete", "list") if may(api, "operator", verb)} == {
        "create",
        "list",
    }


@pytest.mark.parametrize("role", ["edit", "admin"])
def test_kubernetes_own_roles_do_not_write_quarantines_either(role: str, api: Any) -> None:
    """Why they are ControllerRevisions and no ConfigMaps: whoever edits everything in a namespace edits those."""
    found = api.call("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregate-to-{role}").body
    written = {
        (group, resource)
        for rule in found["rules"]
        if set(rule["verbs"]) - {"get", "list", "watch"}
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert ("", "configmaps") in written or role == "admin"
    assert not {("apps", "controllerrevisions"), ("apps", "*"), ("*", "*")} & written
