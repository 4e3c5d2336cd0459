"""A rollout when people decide about the model meanwhile, told as worlds."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.decide.deployment.observation import Trouble
from millrace_kit.simulation import SimulatedCluster, make_model

from .test_rollout import canary, condition, event_reasons, until


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


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


def test_a_retry_does_not_bring_back_what_failed(serving: SimulatedCluster) -> None:
    """It asks for a weaker verb than `unquarantine` does."""
    serving.broken[f"sha256:{2:064x}"] = Trouble(reason="ModelNotLoadable")
    serving.add(make_model("churn", 2))
    serving.settle(5)
    (failed,) = serving.status.quarantined
    serving.change(actions={"retry": {"revision": failed.revision}})
    serving.settle(5)
    assert serving.status.quarantined == (failed,)
    assert event_reasons(serving).count("RolledBack") == 1
    assert "Unquarantined" not in event_reasons(serving)
