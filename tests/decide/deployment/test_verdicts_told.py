"""What is told of the verdicts on a canary, while it is tried and after."""

from __future__ import annotations

import pytest

from millrace.api.deployment import AnalysisMetric
from millrace.decide.deployment import analysis
from millrace_kit.simulation import SimulatedCluster, make_model
from verdict_worlds import canary, condition, rolled_back, serving_cluster, stable, until


@pytest.fixture
def serving() -> SimulatedCluster:
    return serving_cluster()


def test_what_a_canary_was_promoted_by_stays_until_the_next_one_starts(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: stable(serving) == "churn-2", 50)
    (result,) = serving.status.analysis
    assert (result.name, result.phase) == ("default-error-rate", "Successful")
    passed = "1 of 1 metrics passed (1 of them built in), see status.analysis"
    assert passed in condition(serving, "Progressing")[2]
    assert [one for one in serving.events if one.reason == "Promoted"][-1].message.endswith(passed)
    serving.settle(60)
    assert serving.status.analysis == (result,)
    serving.add(make_model("churn", 3))
    until(serving, lambda: serving.status.canary is not None, 50)
    assert all(one.phase == "Pending" for one in serving.status.analysis)


def test_what_a_canary_failed_of_stays_too(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: rolled_back(serving), 50, errors=0.3)
    assert [one.phase for one in serving.status.analysis] == ["Failed"]


def test_while_steps_go_by_the_line_says_how_many_metrics_have_passed(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(3)
    told = serving.status.message or ""
    assert "0 of 1 metrics passed (1 of them built in): steps go on until one fails, promotion waits for all" in told


def test_the_step_is_counted_as_the_message_counts_it(serving: SimulatedCluster) -> None:
    serving.change(strategy={"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "1h"}}]}})
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.rollout is not None
    assert (serving.status.rollout.current_step_index, serving.status.rollout.step) == (1, "2 of 2")
    assert "step 2 of 2" in (serving.status.message or "")


def test_past_its_last_step_a_canary_is_not_at_it(serving: SimulatedCluster) -> None:
    serving.change(strategy={"canary": {"steps": [{"setWeight": 25}]}})
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert "past its last step" in (serving.status.message or "")
    assert serving.status.rollout is not None
    assert serving.status.rollout.step == "1 of 1 done"


def test_a_threshold_says_of_what_it_is_a_share() -> None:
    slow = AnalysisMetric.model_validate({"name": "slow", "builtin": "LatencyP95", "thresholdRange": {"max": 0.5}})
    errors = AnalysisMetric.model_validate({"name": "e", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}})
    beside = AnalysisMetric.model_validate({"name": "b", "builtin": "ErrorRate", "compare": {"maxIncrease": 0.02}})
    told = [analysis.judge(one, []).threshold for one in (slow, errors, beside)]
    assert told == ["share over 0.5 s <= 0.05", "errors <= 0.02", "errors <= stable + 0.02"]


@pytest.mark.parametrize("limit", [1.23456789e-300, 123456789.125, 1.7e308])
def test_no_threshold_is_longer_than_its_field(limit: float) -> None:
    asked = {"name": "slow", "builtin": "LatencyP95", "thresholdRange": {"max": limit}}
    told = analysis.judge(AnalysisMetric.model_validate(asked), []).threshold
    assert told is not None
    assert len(told) <= 32
    assert told.endswith(" <= 0.05")


def test_a_rule_that_nobody_wrote_says_so_and_how_to_turn_it_off(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight > 0, 50)
    serving.serve(20)
    serving.settle(2)
    (result,) = serving.status.analysis
    assert (result.message or "").startswith("built in, unless spec.strategy.canary.disableDefaults turns it off: ")
