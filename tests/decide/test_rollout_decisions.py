"""A rollout when people decide about the model meanwhile, told as worlds."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.simulation import SimulatedCluster, make_model

from .test_rollout import canary, condition, said, until


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


def test_an_aborted_canary_stays_away_until_its_quarantine_is_lifted(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"pause": {"duration": "1h"}}]))
    serving.add(make_model("churn", 2))
    serving.settle(5)
    found = serving.status.canary
    assert found is not None
    serving.change(actions={"abort": {"revision": found.revision, "reason": "wrong prices"}})
    serving.settle(30)
    assert serving.status.canary is None
    assert serving.status.rollout is not None
    assert serving.status.rollout.last_verdict == "Aborted"
    assert said(serving).count("Aborted") == 1
    aborted = {"abort": {"revision": found.revision, "reason": "wrong prices"}}
    serving.change(actions={**aborted, "retry": {"revision": found.revision}})
    serving.settle(5)
    assert serving.status.canary is None, "the verb retry lifts no quarantine, which takes the verb approve"
    assert len(serving.status.quarantined) == 1
    serving.change(actions={**aborted, "unquarantine": {"revision": found.revision}})
    serving.settle(5)
    assert serving.status.canary is not None, "the old abort is not carried out again"
    assert serving.status.canary.revision == found.revision


def test_a_canary_whose_approval_is_taken_back_gives_way(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(4)
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(1)
    assert serving.status.canary is None
    assert not serving.status.quarantined
    assert serving.status.rollout is not None
    assert (serving.status.rollout.last_verdict_reason or "").startswith("ApprovalRevoked")


def test_a_canary_whose_model_is_deleted_gives_way_and_the_verdict_says_so(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(4)
    del serving.models["churn-2"]
    serving.settle(1)
    assert serving.status.canary is None
    assert serving.status.rollout is not None
    assert serving.status.rollout.last_verdict_reason == "ModelDeleted: Model churn-2 was deleted"


def decided(model: Any) -> Any:
    """The Model with one more decision in its spec than its status has counted."""
    stated = model.status.conditions[0].model_copy(update={"observed_generation": 1})
    status = model.status.model_copy(update={"conditions": (stated,)})
    return model.model_copy(update={"status": status, "metadata": model.metadata.model_copy(update={"generation": 2})})


def test_nothing_starts_on_approvals_that_were_counted_before_the_last_decision(serving: SimulatedCluster) -> None:
    serving.add(decided(make_model("churn", 2)))
    serving.settle(5)
    assert serving.status.canary is None
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-1"


def test_a_canary_goes_nowhere_on_approvals_that_were_counted_before_the_last_decision(
    serving: SimulatedCluster,
) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"pause": {"duration": "5s"}}]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25)
    serving.add(decided(make_model("churn", 2)))
    serving.settle(30)
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 25
    assert condition(serving, "Progressing") == ("True", "ApprovalsNotCounted")
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(1)
    assert serving.status.canary is None, "the decision was a rejection"


def test_stable_goes_on_when_its_approval_is_taken_back(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 1, approved=False))
    serving.settle(5)
    assert serving.status.stable is not None
    assert serving.status.stable.weight == 100
    assert "keeps serving" in (serving.status.message or "")
