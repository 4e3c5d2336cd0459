"""Gates: arithmetic that decides whether a Model is made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api.training_run import Evaluation, Metric
from millrace.decide.training_run import gates

FLOOR = {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.65}}
NOT_WORSE = {"name": "not-worse", "metric": "roc_auc", "baseline": {"maxRegression": 0.005}}
BETTER = {"name": "better", "metric": "log_loss", "baseline": {"minImprovement": 0.01}}
LOSS_NOT_WORSE = {"name": "loss", "metric": "log_loss", "baseline": {"maxRegression": 0.01}}
BAND = {"name": "band", "metric": "brier", "threshold": {"min": 0.1, "max": 0.3}}


def judge(gate: Any, value: str | None, champion: str | None = None, name: str | None = "churn-1") -> Any:
    metric = str(gate["metric"])
    evaluation = Evaluation.model_validate({"metrics": ["roc_auc", "log_loss", "brier"], "gates": [gate]})
    (result,) = gates.evaluate(evaluation, metrics(metric, value), metrics(metric, champion), name)
    return result


def metrics(name: str, value: str | None) -> tuple[Metric, ...]:
    return () if value is None else (Metric.model_validate({"name": name, "value": value}),)


@pytest.mark.parametrize(
    "gate, value, champion, passed",
    [
        (FLOOR, "0.65", None, True),
        (FLOOR, "0.6499999", None, False),
        (BAND, "0.1", None, True),
        (BAND, "0.3", None, True),
        (BAND, "0.31", None, False),
        (NOT_WORSE, "0.695", "0.7", True),
        (NOT_WORSE, "0.6949", "0.7", False),
        (BETTER, "0.49", "0.5", True),
        (BETTER, "0.491", "0.5", False),
        (LOSS_NOT_WORSE, "0.51", "0.5", True),
        (LOSS_NOT_WORSE, "0.5101", "0.5", False),
    ],
)
def test_a_gate_holds_up_to_its_very_limit(gate: Any, value: str, champion: str | None, passed: bool) -> None:
    assert judge(gate, value, champion).passed is passed


def test_a_result_tells_what_was_seen_and_what_was_wanted() -> None:
    result = judge(NOT_WORSE, "0.59", "0.68")
    assert result.observed == "0.59"
    assert result.threshold == ">= 0.675"
    assert result.message == "roc_auc 0.59 is not >= 0.675 (champion churn-1 on the same rows: 0.68)"


def test_a_comparison_without_a_champion_passes_and_says_so() -> None:
    result = judge(NOT_WORSE, "0.5", None, None)
    assert result.passed
    assert result.message == "holds, as there was no champion to compare with"


@pytest.mark.parametrize("value", [None, "1e99999999999999999999"])
def test_what_was_not_measured_does_not_pass(value: str | None) -> None:
    assert not judge(FLOOR, value).passed
    assert not judge(NOT_WORSE, value, None, None).passed


def test_a_champion_that_was_not_measured_is_not_beaten() -> None:
    result = judge(NOT_WORSE, "0.99", None, "churn-1")
    assert not result.passed
    assert "churn-1" in result.message


def test_the_summary_names_every_gate_that_failed_and_no_other() -> None:
    evaluation = Evaluation.model_validate({"metrics": ["roc_auc", "brier"], "gates": [FLOOR, BAND, NOT_WORSE]})
    results = gates.evaluate(evaluation, metrics("roc_auc", "0.5"), (), None)
    text = gates.summary(results)
    assert "floor: roc_auc 0.5 is not >= 0.65" in text
    assert "band: brier was not measured" in text
    assert "not-worse" not in text


numbers = st.from_regex(r"\A-?[0-9]{1,8}(\.[0-9]{1,8})?([eE][-+]?[0-9]{1,9})?\Z").filter(lambda text: len(text) <= 32)
bounds = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@given(st.none() | numbers, st.none() | numbers, bounds, st.sampled_from(["maxRegression", "minImprovement"]))
def test_no_numbers_make_a_gate_raise(value: str | None, champion: str | None, margin: float, kind: str) -> None:
    gate = {"name": "g", "metric": "roc_auc", "baseline": {kind: margin}}
    result = judge(gate, value, champion)
    if value is None or champion is None:
        assert not result.passed
