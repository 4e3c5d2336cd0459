"""No run starts on a version that may hold an Id that is to be forgotten."""

from __future__ import annotations

from typing import Any

from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.contract.erasure import of_list
from millrace.decide import training_run as decisions
from millrace.decide.training_run import Observation
from run_worlds import NOW, VERSION, after, make_run, world

ALICE, BOB = (f"0f7a41c2-{digit * 64}" for digit in "ab")


def forgetting(*ids: str, carried_out: str | None, **status: Any) -> Dataset:
    """A Dataset with a version; `carried_out` is the list that it is without."""
    spec = {
        "source": {"storageUri": "s3://lake/churn.csv"},
        "format": "CSV",
        "erasure": {"field": "customer", "keyRef": {"name": "key"}, "ids": dict.fromkeys(ids, "DSR-1")},
    }
    known = {"listDigest": carried_out, "carriedOut": carried_out} if carried_out is not None else None
    told = {"current": VERSION, "erasure": known, **status}
    return Dataset.model_validate({"metadata": {"name": "churn", "namespace": "ml"}, "spec": spec, "status": told})


def says(seen: Observation) -> tuple[bool, str, str]:
    """Whether the run has its version, whether it waits for a person, and what it says."""
    told = after(seen).run.status
    stalled = conditions.find(told.conditions, conditions.STALLED)
    assert stalled is not None
    return told.resolved is not None, stalled.status, str(told.message)


def test_a_run_waits_until_there_is_a_version_without_them() -> None:
    for carried_out in (None, of_list("customer", [ALICE])):
        seen = world(make_run(), dataset=forgetting(ALICE, BOB, carried_out=carried_out))
        resolved, stalled, text = says(seen)
        assert (resolved, stalled) == (False, "False")
        assert "Dataset churn has Ids to forget that its current version may hold" in text
        assert decisions.decide(seen).children == ()
    done = world(make_run(), dataset=forgetting(ALICE, BOB, carried_out=of_list("customer", [ALICE, BOB])))
    assert says(done)[0] is True


def test_a_dataset_that_forgets_nobody_yet_holds_no_run_up() -> None:
    assert says(world(make_run(), dataset=forgetting(carried_out=None)))[0] is True


def test_a_run_that_waits_for_what_only_a_person_can_bring_is_stalled() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "ErasureKeyMissing", "lastTransitionTime": NOW}
    resolved, status, text = says(world(make_run(), dataset=forgetting(ALICE, carried_out=None, conditions=[stalled])))
    assert (resolved, status) == (False, "True")
    assert text.endswith("Next: kubectl -n ml describe mds churn")


def test_a_run_that_has_its_version_goes_on() -> None:
    seen = after(world(make_run(), dataset=forgetting(carried_out=None)))
    later = seen.model_copy(update={"dataset": forgetting(ALICE, carried_out=None)})
    assert len(decisions.decide(later).children) == 1
