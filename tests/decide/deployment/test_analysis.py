"""Verdicts on a canary: wrong at most at the stated rate, and none without enough requests."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from millrace.api.deployment import AnalysisMetric
from millrace.decide.deployment import analysis, sequential
from millrace.decide.deployment.analysis import Tally
from millrace.decide.deployment.sequential import Side

INF = float("inf")


def metric(builtin: str = "ErrorRate", limit: float = 0.01, **more: Any) -> AnalysisMetric:
    return AnalysisMetric.model_validate(
        {"name": "m", "builtin": builtin, "thresholdRange": {"max": limit}, "minSamples": 100, **more}
    )


def errors(failed: int, completed: int) -> Tally:
    return Tally(attempts=completed, completed=completed, failed=failed)


def wrong_verdicts(rate: float, limit: float, side: Side, *, streams: int, rows: int, confidence: float) -> float:
    """Share of streams with a false verdict after any row, where a verdict is asked for after every row."""
    chance = random.Random(1)
    wrong = 0
    for _ in range(streams):
        events = 0
        for trials in range(1, rows + 1):
            events += chance.random() < rate
            if sequential.is_shown(side, limit, events, trials, confidence):
                wrong += 1
                break
    return wrong / streams


@pytest.mark.parametrize(("side", "rate"), [(Side.ABOVE, 0.05), (Side.BELOW, 0.05)])
def test_looking_after_every_request_keeps_the_stated_rate_of_wrong_verdicts(side: Side, rate: float) -> None:
    """At the limit itself, the hardest case: 400 streams of 600 rows at confidence 0.9."""
    wrong = wrong_verdicts(rate, 0.05, side, streams=400, rows=600, confidence=0.9)
    assert wrong <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_a_fixed_sample_test_looked_at_as_often_would_not_keep_it() -> None:
    """The test above can fail: a z-test that is looked at after every row does."""
    chance, wrong = random.Random(1), 0
    for _ in range(200):
        events = 0
        for trials in range(1, 601):
            events += chance.random() < 0.05
            if trials >= 30 and events / trials - 0.05 > 1.2816 * math.sqrt(0.05 * 0.95 / trials):
                wrong += 1
                break
    assert wrong / 200 > 0.2


def test_no_data_never_passes() -> None:
    assert analysis.judge(metric(), Tally()).phase == "Pending"
    assert analysis.together([]) == "Running"


def test_a_few_good_requests_are_not_enough() -> None:
    assert analysis.judge(metric(), errors(0, 99)).phase == "Running"
    assert analysis.judge(metric(limit=0.5), errors(0, 99)).phase == "Running", "minSamples is 100"
    assert analysis.judge(metric(limit=0.5), errors(0, 100)).phase == "Successful"


def test_enough_good_requests_pass_and_bad_ones_fail_at_once() -> None:
    passed = next(n for n in range(100, 2000) if analysis.judge(metric(), errors(0, n)).phase == "Successful")
    assert passed <= 400
    assert analysis.judge(metric(), errors(3, 3)).phase == "Failed"
    assert analysis.judge(metric(), errors(50, 1000)).phase == "Failed"
    assert analysis.judge(metric(), errors(10, 1000)).phase == "Running"


def test_requests_that_stable_answered_say_nothing_about_the_canary() -> None:
    assert analysis.judge(metric(), Tally(attempts=0, completed=5000, failed=0)).phase == "Pending"


def test_latency_counts_requests_over_the_largest_bound_within_the_limit() -> None:
    def tally(fast: int, total: int) -> Tally:
        return Tally(attempts=total, completed=total, latency_ms=((50.0, fast), (100.0, fast), (INF, total)))

    asked = metric("LatencyP95", 0.06)
    assert analysis.judge(asked, tally(1000, 1000)).phase == "Successful"
    assert analysis.judge(asked, tally(800, 1000)).phase == "Failed"
    assert analysis.judge(asked, tally(950, 1000)).phase == "Running"
    assert analysis.judge(asked, tally(800, 1000)).value == "0.2"


def test_a_bound_equal_to_the_limit_counts_as_within() -> None:
    seen = Tally(attempts=400, completed=400, latency_ms=((100.0, 400), (INF, 400)))
    assert analysis.judge(metric("LatencyP95", 0.1), seen).phase == "Successful"


@given(st.floats(1e-6, 0.999), st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([0.5, 0.95, 0.9999]))
def test_the_two_claims_are_never_shown_together(limit: float, events: int, quiet: int, confidence: float) -> None:
    shown = [
        sequential.is_shown(side, limit, events, events + quiet, max(confidence, 0.6))
        for side in (Side.ABOVE, Side.BELOW)
    ]
    assert not all(shown)


@given(st.floats(0.001, 0.9), st.integers(1, 2000))
def test_more_failures_never_look_better(limit: float, trials: int) -> None:
    levels = [sequential.evidence(Side.ABOVE, limit, events, trials) for events in range(0, trials + 1, 7)]
    assert all(low <= high + 1e-9 for low, high in itertools.pairwise(levels))


def test_samples_are_rounded_to_what_a_person_reads() -> None:
    assert [analysis.rounded(count) for count in (0, 7, 99, 101, 12345)] == [0, 7, 99, 100, 12000]
