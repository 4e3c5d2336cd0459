"""The real tier tells a workload, puts a fault into it, and sees what the operator did about it."""

from __future__ import annotations

import pytest

from millrace_harness import plans, real_workers
from millrace_harness.run import Told

pytestmark = pytest.mark.apiserver

WORKLOAD = "run-makes-model"
FAULTS = ("crash-after", "reply-lost")
PLACE = "apply jobs"


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    """The workload undisturbed, and under the first plan of each fault; by fault."""
    with real_workers.opened(1) as pool:
        (undisturbed,) = pool.undisturbed([WORKLOAD], lambda _: None)
        every = list(plans.every(WORKLOAD, undisturbed.trace))
        chosen = [next(one for one in every if one.fault == fault and one.place == PLACE) for fault in FAULTS]
        found = pool.disturbed(chosen, {WORKLOAD: undisturbed.end}, lambda _: None, keeps_history=True)
    return {"": undisturbed} | {one.plan.partition("/")[0]: one for one in found}


def test_every_telling_comes_to_its_end(told: dict[str, Told]) -> None:
    assert [finding for one in told.values() for finding in one.findings] == []
    assert all(one.reached for one in told.values())


def test_a_killed_operator_writes_once_more_and_its_successor_goes_on(told: dict[str, Told]) -> None:
    written = [one.sender for one in told["crash-after"].history.changes if one.name.kind not in ("leases", "events")]
    assert {"controllers", "kubelet", "operator-1", "operator-2", "user"} == set(written)
    assert "operator-1" not in written[written.index("operator-2") :]


def test_a_write_whose_answer_was_lost_is_known_to_be_the_operators(told: dict[str, Told]) -> None:
    made = [one for one in told["reply-lost"].history.changes if one.before is None and one.name.kind == "jobs"]
    assert {one.sender for one in made} == {"operator-1"}
