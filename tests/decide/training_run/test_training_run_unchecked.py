"""A run that no admission policy checked: who wrote `required: 0` into it, nobody knows."""

from __future__ import annotations

import pytest

from millrace.decide import training_run as decisions
from millrace.decide.training_run import Observation
from run_worlds import after, make_dataset, make_run, message, ready_to_register, resolved, truth, world


def begun(admitted: bool | None) -> Observation:
    """After the first pass."""
    return after(world(make_run(), dataset=make_dataset(), admitted=admitted))


@pytest.mark.parametrize(
    ("admitted", "said"),
    [(True, "Checked"), (False, "Unchecked"), (None, "Unknown")],
    ids=["before", "after", "unknown"],
)
def test_the_first_pass_says_whether_the_policies_were_there_before_it(admitted: bool | None, said: str) -> None:
    seen = begun(admitted)
    assert seen.run.status.admission == said
    later = after(seen.model_copy(update={"admitted": True}))
    assert later.run.status.admission == ("Checked" if said == "Unknown" else said), "what is known stays"


def test_its_model_needs_somebody_elses_approval_whatever_it_says() -> None:
    (model,) = decisions.decide(ready_to_register()).creates
    assert model["spec"]["approvalPolicy"] == {"required": 0, "distinctFromAuthor": True}
    unchecked = resolved().run.status.model_copy(update={"admission": "Unchecked"})
    seen = ready_to_register()
    seen = seen.model_copy(update={"run": seen.run.model_copy(update={"status": unchecked})})
    (model,) = decisions.decide(seen).creates
    assert model["spec"]["approvalPolicy"] == {"required": 1, "distinctFromAuthor": True}


def test_while_nobody_knows_no_model_is_made() -> None:
    seen = ready_to_register()
    unknown = seen.run.model_copy(update={"status": seen.run.status.model_copy(update={"admission": "Unknown"})})
    asked = seen.model_copy(update={"run": unknown, "admitted": None})
    plan = decisions.decide(asked)
    assert (plan.creates, plan.wake_after) == ((), 5)
    told = after(asked)
    assert truth(told, "Reconciling") == ("True", "PolicyUnknown"), "it is not being measured any more"
    assert truth(told, "GatesPassed") == ("True", "AllPassed")
    assert "validatingadmissionpolicies" in message(told).partition(" Next: ")[2]
    assert decisions.decide(told.model_copy(update={"admitted": True})).creates


def test_a_run_that_an_operator_pinned_which_did_not_ask_is_as_it_was() -> None:
    seen = ready_to_register()
    older = seen.run.model_copy(update={"status": seen.run.status.model_copy(update={"admission": None})})
    (model,) = decisions.decide(seen.model_copy(update={"run": older, "admitted": False})).creates
    assert model["spec"]["approvalPolicy"]["required"] == 0


def test_who_applied_is_copied_to_the_model() -> None:
    seen = ready_to_register()
    spec = seen.run.spec.model_copy(update={"applied_by": "flux"})
    (model,) = decisions.decide(seen.model_copy(update={"run": seen.run.model_copy(update={"spec": spec})})).creates
    assert model["spec"]["provenance"]["author"] == "ada"
    assert model["spec"]["provenance"]["appliedBy"] == "flux"
