"""A Model's approvals and uses, without a cluster."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.api import conditions
from millrace.api.model import Model
from millrace.decide import model as decisions
from millrace.decide.model import Observation, Use, approvals
from millrace.decide.plan import Plan
from millrace.render import quarantine as records

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def make_model(
    *votes: tuple[str, str] | tuple[str, str, str], required: int = 1, distinct: bool = True, **status: Any
) -> Model:
    approvals = [{"user": vote[0], "decision": vote[1], "digest": vote[2] if len(vote) > 2 else A} for vote in votes]
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 1]}
    spec = {
        "modelName": "churn",
        "version": "7",
        "artifact": {"storageUri": "s3://millrace/7.onnx", "digest": A},
        "signature": {"inputs": [tensor], "outputs": [tensor]},
        "provenance": {"author": "ada"},
        "goldenSetUri": "s3://millrace/golden.json",
        "referenceProfileUri": "s3://millrace/profile.json",
        "approvalPolicy": {"required": required, "distinctFromAuthor": distinct},
        "approvals": approvals or None,
    }
    metadata = {"name": "churn-7", "namespace": "ml", "generation": 1 + len(votes)}
    return Model.model_validate({"kind": "Model", "metadata": metadata, "spec": spec, "status": status})


def world(model: Model, *uses: Use, policy: bool | None = True) -> Observation:
    """Policies that were there before the Model was, and have not been touched since."""
    return Observation(
        now=NOW,
        model=model,
        uses=uses,
        policy_in_force=policy,
        policy_message="as tried",
        policy_epoch="first",
        admitted=None if policy is None else True,
    )


def after(seen: Observation, **more: Any) -> Observation:
    plan = decisions.decide(seen)
    assert plan.status is not None
    model = Model.model_validate(seen.model.model_dump(by_alias=True) | {"status": plan.status})
    return seen.model_copy(update={"model": model, **more})


def truth(seen: Observation, kind: str) -> tuple[str, str]:
    found = conditions.find(seen.model.status.conditions, kind)
    assert found is not None, kind
    return found.status, found.reason


def kstatus(seen: Observation) -> list[str]:
    kinds = ("Ready", "Reconciling", "Stalled")
    return [kind for kind in kinds if conditions.is_true(seen.model.status.conditions, kind)]


def patch_in(text: str) -> Any:
    """The JSON patch of the printed command, as the shell of alice would have it."""
    command = text.rpartition(" Next: ")[2]
    words = shlex.split(command.replace("$(kubectl auth whoami -o jsonpath={.status.userInfo.username})", "alice"))
    return json.loads(words[-1])


def test_a_new_model_waits_for_people_and_shows_how_to_approve_it() -> None:
    seen = after(world(make_model()))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    assert kstatus(seen) == ["Stalled"], "nothing changes before a person does"
    text = str(seen.model.status.message)
    assert "not by the author ada" in text
    patch = patch_in(text)
    assert patch[0]["path"] == "/spec/approvals"
    assert patch[0]["value"][0]["digest"] == A


def test_the_shown_patch_appends_where_there_are_approvals() -> None:
    text = str(after(world(make_model(("bob", "Approve"), required=2))).model.status.message)
    assert patch_in(text)[0]["path"] == "/spec/approvals/-"


def test_somebody_elses_approval_makes_it_ready() -> None:
    seen = after(world(make_model(("bob", "Approve"))))
    assert truth(seen, "Approved") == ("True", "QuorumReached")
    assert kstatus(seen) == ["Ready"]
    assert seen.model.status.approvals is not None
    assert seen.model.status.approvals.granted == 1


def test_zero_required_is_approved_by_the_gates_alone_and_says_so_once() -> None:
    plan = decisions.decide(world(make_model(required=0)))
    assert [(event.type, event.reason) for event in plan.events] == [("Normal", "AutoApproved")]
    assert "approved" in plan.events[0].message
    assert decisions.decide(after(world(make_model(required=0)))).events == ()


@pytest.mark.parametrize(
    "votes, granted",
    [
        ([("ada", "Approve")], 0),
        ([("bob", "Approve"), ("bob", "Approve")], 1),
        ([("bob", "Approve", B)], 0),
        ([("bob", "Approve"), ("bob", "Revoke")], 0),
        ([("bob", "Revoke"), ("bob", "Approve")], 1),
        ([("bob", "Reject"), ("bob", "Approve")], 1),
        ([("bob", "Approve"), ("eve", "Approve")], 2),
    ],
    ids=["author", "twice", "another-digest", "revoked", "revoked-before", "changed-mind", "two-people"],
)
def test_an_approval_counts_once_a_person_for_these_very_bytes(votes: list[Any], granted: int) -> None:
    assert len(approvals.count(make_model(*votes)).granted) == granted


def test_an_author_may_approve_where_the_policy_says_so() -> None:
    assert truth(after(world(make_model(("ada", "Approve"), distinct=False))), "Approved")[0] == "True"


def test_one_rejection_outweighs_a_quorum_until_it_is_taken_back() -> None:
    votes = [("bob", "Approve"), ("eve", "Reject")]
    seen = after(world(make_model(*votes)))
    assert truth(seen, "Approved") == ("False", "Rejected")
    assert kstatus(seen) == ["Stalled"]
    assert "eve rejected" in str(seen.model.status.message)
    assert truth(after(world(make_model(*votes, ("eve", "Revoke")))), "Approved")[0] == "True"


def test_a_crowd_of_rejections_is_shortened() -> None:
    seen = after(world(make_model(*[(f"user-{n}", "Reject") for n in range(9)])))
    assert "and 4 more rejected" in str(seen.model.status.message)


@pytest.mark.parametrize("model", [make_model(("bob", "Approve")), make_model(required=0)], ids=["manual", "automatic"])
def test_without_the_admission_policies_no_approval_counts(model: Model) -> None:
    seen = after(world(model, policy=False))
    assert truth(seen, "Approved") == ("False", "PolicyNotInForce")
    assert kstatus(seen) == ["Stalled"]
    assert "as tried" in str(seen.model.status.message)
    assert decisions.decide(seen).wake_after == 60


def test_while_nobody_knows_about_the_policies_a_new_model_waits() -> None:
    seen = after(world(make_model(required=0), policy=None))
    assert truth(seen, "Approved") == ("Unknown", "PolicyUnknown")
    assert kstatus(seen) == ["Reconciling"]
    assert decisions.decide(seen).wake_after == 5


def test_while_nobody_knows_about_the_policies_an_approved_model_stays_approved() -> None:
    seen = after(world(make_model(("bob", "Approve"))))
    assert truth(after(seen.model_copy(update={"policy_in_force": None})), "Approved")[0] == "True"


def test_revoking_needs_no_policy() -> None:
    approved = after(world(make_model(("bob", "Approve"))))
    revoked = make_model(("bob", "Approve"), ("bob", "Revoke")).model_copy(update={"status": approved.model.status})
    assert truth(after(world(revoked, policy=None)), "Approved") == ("False", "PendingApproval")


def use(role: Any = "Stable", **more: Any) -> Use:
    return Use.model_validate(
        {"deployment": "live", "role": role, "model": "churn-7", "digest": A, "weight": 100, **more}
    )


def test_the_version_that_serves_is_the_champion_and_the_one_on_trial_the_challenger() -> None:
    model = make_model(("bob", "Approve"))
    stable, canary = after(world(model, use())), after(world(model, use("Canary", weight=5)))
    assert stable.model.status.aliases == ("champion",)
    assert truth(stable, "InUse") == ("True", "Stable")
    assert canary.model.status.aliases == ("challenger",)
    assert truth(canary, "InUse") == ("True", "Canary")
    assert canary.model.status.deployed_in[0].weight == 5


@pytest.mark.parametrize("other", [use(digest=B), use(model="churn-6"), use(deployment="Not.A.Name"), use(weight=101)])
def test_a_deployment_of_other_bytes_or_another_version_does_not_count(other: Use) -> None:
    seen = after(world(make_model(("bob", "Approve")), other))
    assert seen.model.status.aliases == ()
    assert truth(seen, "InUse") == ("False", "NotDeployed")


def test_many_uses_are_bounded() -> None:
    seen = after(world(make_model(("bob", "Approve")), *[use(deployment=f"d-{n}") for n in range(99)]))
    assert len(seen.model.status.deployed_in) == 64
    assert "and 59 more" in str(conditions.find(seen.model.status.conditions, "InUse"))


def test_a_model_that_is_being_deleted_is_left_alone() -> None:
    model = make_model()
    going = model.model_copy(update={"metadata": model.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert decisions.decide(world(going)) == Plan()


users = st.sampled_from(["ada", "bob", "eve"]) | st.text(min_size=1, max_size=256)
votes = st.lists(
    st.tuples(users, st.sampled_from(["Approve", "Reject", "Revoke"]), st.sampled_from([A, A, B])), max_size=10
)
uses = st.lists(
    st.builds(
        Use,
        deployment=st.sampled_from(["live", "other"]) | st.text(max_size=70),
        role=st.sampled_from(["Stable", "Canary"]),
        model=st.sampled_from(["churn-7", "churn-6"]),
        digest=st.sampled_from([A, B, ""]),
        weight=st.integers(-1, 101),
    ),
    max_size=4,
)
policies = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(votes, st.integers(0, 3), st.booleans(), uses, policies)
def test_no_list_of_votes_approves_against_the_rules(
    cast: list[Any], required: int, distinct: bool, served: list[Use], policy: list[bool | None]
) -> None:
    """Laws: total, quiescent, exactly one kstatus condition holds; and what `Approved` may mean."""
    seen = world(make_model(*cast, required=required, distinct=distinct), *served)
    for in_force in policy:
        known = None if in_force is None else True
        seen = seen.model_copy(update={"policy_in_force": in_force, "admitted": known})
        seen = after(seen)
        again = decisions.decide(seen)
        assert again.status == seen.model.status.wire()
        assert again.events == ()
        assert len(kstatus(seen)) == 1
        if conditions.is_true(seen.model.status.conditions, "Approved"):
            counted = approvals.count(seen.model, approvals.judgement(seen.model).excluded)
            assert in_force is not False
            assert not counted.rejected
            assert len(counted.granted) >= required
            assert not (distinct and "ada" in counted.granted)


def test_a_version_that_is_only_tried_is_in_its_canary() -> None:
    approved = after(world(make_model(("bob", "Approve"))))
    tried = Use(deployment="churn", role="Canary", model="churn-7", digest=A, weight=100)
    seen = after(approved.model_copy(update={"uses": (tried,)}))
    assert seen.model.status.phase == "Canary"
    told = next(one.message for one in seen.model.status.conditions if one.type == "InUse")
    assert told == "It is tried on 100 % of the traffic of mdep/churn."


def test_an_approved_version_says_whether_it_is_tried_serves_or_is_not_in_use() -> None:
    seen = after(world(make_model(required=0)))
    told = ["It is tried on 25 % of the traffic of mdep/churn.", "It serves 100 % of the traffic of mdep/churn."]
    for role, weight, said in (("Canary", 25, told[0]), ("Stable", 100, told[1])):
        use = Use(deployment="churn", role=role, model="churn-7", digest=A, weight=weight)
        seen = after(seen.model_copy(update={"uses": (use,)}))
        assert seen.model.status.message == f"churn-7 is approved by its gates: no person is required. {said}"
    replaced = after(seen.model_copy(update={"uses": ()}))
    assert (replaced.model.status.message or "").endswith(". No Deployment serves this version.")


def test_the_status_of_a_model_has_no_empty_headings() -> None:
    written = after(world(make_model(required=0))).model.status.wire()
    assert "uncounted" not in written["approvals"]
    assert not {"aliases", "deployedIn"} & written.keys()


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("GoldenSetMismatch: row 3 differs", "churn-7 failed in mdep/churn (GoldenSetMismatch: row 3 differs)"),
        ("Aborted: wrong column", "churn-7 was stopped by a person in mdep/churn (Aborted: wrong column)"),
    ],
)
def test_a_quarantine_says_whether_the_model_failed_or_a_person_stopped_it(reason: str, said: str) -> None:
    facts = {"digest": A, "model": "churn-7", "revision": "4b3817d5", "deployment": "churn", "time": NOW}
    record = records.condemned("uid-churn", NOW, **facts, reason=reason)
    seen = after(world(make_model(("bob", "Approve"))).model_copy(update={"records": (record,), "wanting": ("churn",)}))
    assert (seen.model.status.message or "").startswith(f"{said}, so no Deployment rolls it out.")
