"""Which entries of a Model's approvals count: those that the admission policies are known to have checked."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.api.model import Model
from millrace.decide import model as decisions
from millrace.decide.model import Observation, Rejection

from .test_model import A, after, kstatus, make_model, truth, world


def written(seen: Observation, *votes: Any) -> Observation:
    """The same Model with these entries in all, and what its status said so far."""
    model = make_model(*votes, required=seen.model.spec.approval_policy.required)
    return seen.model_copy(update={"model": model.model_copy(update={"status": seen.model.status})})


def touched(seen: Observation, epoch: str) -> Observation:
    """The policies were taken away, changed or put back, and are in force."""
    return seen.model_copy(update={"policy_in_force": True, "policy_epoch": epoch, "admitted": False})


def gone(seen: Observation) -> Observation:
    return seen.model_copy(update={"policy_in_force": False, "policy_epoch": "", "admitted": False})


def message(seen: Observation) -> str:
    return str(seen.model.status.message)


def test_an_approval_written_while_the_policies_were_away_never_counts() -> None:
    seen = after(world(make_model()))
    seen = after(written(gone(seen), ("bob", "Approve")))
    assert truth(seen, "Approved") == ("False", "PolicyNotInForce")
    seen = after(touched(seen, "second"))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    assert "bob wrote while the admission policies were not in force" in message(seen)
    assert truth(after(touched(seen, "third")), "Approved") == ("False", "PendingApproval")


def test_it_does_not_count_either_when_nobody_saw_that_they_were_away() -> None:
    seen = after(world(make_model()))
    seen = after(touched(written(seen, ("bob", "Approve")), "second"))
    assert truth(seen, "Approved") == ("False", "PendingApproval")


def test_the_same_person_says_it_again_and_it_counts() -> None:
    seen = after(written(gone(after(world(make_model()))), ("bob", "Approve")))
    seen = after(touched(seen, "second"))
    seen = after(written(seen, ("bob", "Approve"), ("bob", "Approve")))
    assert truth(seen, "Approved") == ("True", "QuorumReached")


def test_what_was_counted_before_the_policies_were_touched_counts_on() -> None:
    seen = after(world(make_model(("bob", "Approve"))))
    seen = after(touched(after(gone(seen)), "second"))
    assert truth(seen, "Approved") == ("True", "QuorumReached")


def test_a_forged_revocation_of_a_rejection_counts_for_nothing_and_a_forged_rejection_holds_back() -> None:
    seen = after(world(make_model(("bob", "Approve"), ("eve", "Reject"))))
    freed = after(touched(written(gone(seen), ("bob", "Approve"), ("eve", "Reject"), ("eve", "Revoke")), "second"))
    assert truth(freed, "Approved") == ("False", "Rejected")
    seen = after(world(make_model(("bob", "Approve"))))
    held = after(touched(written(gone(seen), ("bob", "Approve"), ("eve", "Reject")), "second"))
    assert truth(held, "Approved") == ("False", "Rejected")
    taken = after(touched(written(gone(seen), ("bob", "Approve"), ("bob", "Revoke")), "second"))
    assert truth(taken, "Approved") == ("False", "PendingApproval")


@pytest.mark.parametrize("required", [0, 1])
def test_a_model_created_while_the_policies_were_away_counts_for_nothing(required: int) -> None:
    seen = after(gone(world(make_model(("bob", "Approve"), required=required))))
    assert kstatus(seen) == ["Stalled"]
    seen = after(touched(seen, "first"))
    assert truth(seen, "Approved") == ("False", "CreatedUnchecked")
    assert "create it again with this spec but for its approvals. Next: kubectl -n ml get mmd churn-7" in message(seen)
    late = written(seen, ("bob", "Approve"), ("eve", "Approve"))
    assert truth(after(late), "Approved") == ("False", "CreatedUnchecked")


def test_but_one_that_the_operator_made_meanwhile_is_what_its_run_says() -> None:
    seen = touched(after(gone(world(make_model(("bob", "Approve"))))), "first")
    seen = after(seen.model_copy(update={"is_own": True}))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    seen = after(written(seen, ("bob", "Approve"), ("bob", "Approve")))
    assert truth(seen, "Approved") == ("True", "QuorumReached")


def test_what_an_operator_counted_that_kept_no_epoch_counts_on() -> None:
    status = {"observedGeneration": 2, "approvals": {"required": 1, "granted": 1, "rejected": 0}}
    model = make_model(("bob", "Approve"), **status)
    seen = after(touched(world(model), "second"))
    assert truth(seen, "Approved") == ("True", "QuorumReached")
    assert (
        truth(after(touched(written(seen, ("bob", "Approve"), ("bob", "Revoke")), "second")), "Approved")[0] == "False"
    )


def test_while_nobody_knows_which_policies_there_are_a_new_entry_waits_for_them() -> None:
    seen = after(world(make_model()))
    seen = written(seen, ("bob", "Approve"))
    unknown = seen.model_copy(update={"policy_in_force": None, "policy_epoch": "", "admitted": None})
    waiting = after(unknown)
    assert truth(waiting, "Approved") == ("Unknown", "PolicyUnknown")
    again = waiting.model_copy(update={"policy_in_force": True, "policy_epoch": "first", "admitted": True})
    assert truth(after(again), "Approved") == ("True", "QuorumReached")


def test_bytes_that_were_rejected_under_another_name_are_rejected() -> None:
    seen = world(make_model(("bob", "Approve")))
    seen = after(seen.model_copy(update={"elsewhere": (Rejection(model="churn-3", users=("eve",)),)}))
    assert truth(seen, "Approved") == ("False", "Rejected")
    assert "eve rejected this digest under the name churn-3" in message(seen)
    assert "kubectl -n ml edit mmd churn-3" in message(seen)


def test_who_applied_for_the_author_does_not_approve_either() -> None:
    model = make_model(("flux", "Approve"))
    provenance = {"author": "ada", "appliedBy": "flux"}
    spec = model.spec.model_dump(by_alias=True) | {"provenance": provenance}
    applied = Model.model_validate(model.model_dump(by_alias=True) | {"spec": spec})
    assert truth(after(world(applied)), "Approved") == ("False", "PendingApproval")
    assert applied.spec.artifact.digest == A


def test_judging_again_changes_nothing() -> None:
    seen = after(written(gone(after(world(make_model()))), ("bob", "Approve")))
    seen = after(touched(seen, "second"))
    plan = decisions.decide(seen)
    assert plan.status == seen.model.status.wire()
    assert plan.events == ()


# --- what is said of it


def lost(seen: Observation) -> bool:
    return "must be said again" in message(seen)


def test_what_was_said_again_is_not_asked_for_again() -> None:
    seen = after(written(gone(after(world(make_model(required=2)))), ("bob", "Approve")))
    seen = after(touched(seen, "second"))
    assert lost(seen)
    seen = after(written(seen, ("bob", "Approve"), ("bob", "Approve")))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    assert not lost(seen)
    assert message(seen).startswith("Waiting for 1 more approval(s) of 2, not by the author ada; bob has approved it.")


def test_a_revocation_that_counts_is_not_said_not_to() -> None:
    seen = after(world(make_model(("bob", "Approve"))))
    seen = after(touched(written(gone(seen), ("bob", "Approve"), ("bob", "Revoke")), "second"))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    assert not lost(seen)


def test_nobody_is_asked_to_say_again_what_would_not_count_either() -> None:
    seen = after(written(gone(after(world(make_model()))), ("ada", "Approve")))
    seen = after(touched(seen, "second"))
    assert truth(seen, "Approved") == ("False", "PendingApproval")
    assert not lost(seen)


def test_who_applied_is_told_that_it_approves_nothing() -> None:
    model = make_model(("flux", "Approve"))
    spec = model.spec.model_dump(by_alias=True) | {"provenance": {"author": "ada", "appliedBy": "flux"}}
    seen = after(world(Model.model_validate(model.model_dump(by_alias=True) | {"spec": spec})))
    assert ", not by the author ada, nor by flux, who applied it. Next:" in message(seen)


@pytest.mark.parametrize("in_force", [True, False, None])
@pytest.mark.parametrize("epoch", ["", "first", "second"])
def test_nothing_is_approved_by_entries_that_nobody_judged(in_force: bool | None, epoch: str) -> None:
    seen = written(after(world(make_model())), ("bob", "Approve"))
    seen = after(seen.model_copy(update={"policy_in_force": in_force, "policy_epoch": epoch}))
    is_counted = in_force is True and epoch == "first"
    assert (truth(seen, "Approved")[0] == "True") is is_counted
