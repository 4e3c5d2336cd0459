"""Verdicts on a canary: wrong at most at the stated rate, and none without enough requests."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from millrace.api.deployment import AnalysisMetric, AnalysisResult
from millrace.contract.router import RevisionTraffic
from millrace.decide.deployment import analysis, sequential
from millrace.decide.deployment.metrics import Stratum
from millrace.decide.deployment.sequential import Side, Table

INF = float("inf")


def metric(builtin: str = "ErrorRate", limit: float = 0.01, **more: Any) -> AnalysisMetric:
    return AnalysisMetric.model_validate(
        {"name": "m", "builtin": builtin, "thresholdRange": {"max": limit}, "minSamples": 100, **more}
    )


def compared(margin: float = 0.02, **more: Any) -> AnalysisMetric:
    return AnalysisMetric.model_validate(
        {"name": "m", "builtin": "ErrorRate", "compare": {"maxIncrease": margin}, "minSamples": 100, **more}
    )


def requests(total: int, *, failed: int = 0, refused: int = 0) -> RevisionTraffic:
    """`failed` were saved by a retry, as a canary's failures are."""
    return RevisionTraffic(attempts=total, completed=total, saved=failed, refused=refused)


def alone(failed: int, completed: int) -> Stratum:
    """A canary, and stable with three times its requests and no error."""
    return Stratum(requests(completed, failed=failed), requests(3 * completed))


def judge(asked: AnalysisMetric, *strata: Stratum) -> AnalysisResult:
    return analysis.judge(asked, strata)


def within_the_stated_rate(wrong: float, streams: int, confidence: float) -> bool:
    """Three standard deviations above what is stated."""
    alpha = 1 - confidence
    return wrong <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / streams)


def wrong_verdicts(rate: float, limit: float, side: Side, *, streams: int, rows: int, confidence: float) -> float:
    """Share of streams with a false verdict after any row, where a verdict is asked for after every row."""
    chance = random.Random(1)
    wrong = 0

    @functools.cache  # streams come through the same counts
    def is_shown(events: int, trials: int) -> bool:
        return sequential.is_shown(side, limit, events, trials, confidence)

    for _ in range(streams):
        events = 0
        for trials in range(1, rows + 1):
            events += chance.random() < rate
            if is_shown(events, trials):
                wrong += 1
                break
    return wrong / streams


@pytest.mark.parametrize(("side", "rate"), [(Side.ABOVE, 0.05), (Side.BELOW, 0.05)])
def test_looking_after_every_request_keeps_the_stated_rate_of_wrong_verdicts(side: Side, rate: float) -> None:
    """At the limit itself, the hardest case: 400 streams of 600 rows at confidence 0.9."""
    wrong = wrong_verdicts(rate, 0.05, side, streams=400, rows=600, confidence=0.9)
    assert within_the_stated_rate(wrong, 400, 0.9)


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


# --- beside stable

Rate = Callable[[int], float]
"""The share of the callers' requests that is bad, by the number of the request: what both revisions refuse."""


def steady(share: float) -> Rate:
    return lambda _: share


def bursts(number: int) -> float:
    """One caller who sends nothing but nonsense, for 100 requests of every 400."""
    return 1.0 if number % 400 < 100 else 0.0


def growing(number: int) -> float:
    """From nothing to half of all requests."""
    return number / 4000


def wrong_beside_stable(
    side: Side, common: Rate, extra: float, *, weights: tuple[float, ...], streams: int = 100, rows: int = 2000
) -> float:
    """Share of streams in which the test ever says what is not true of a canary that fails `extra` more than stable.

    The weight goes through `weights` in equal parts, and each is a table; it is looked at every 50 requests, at
    confidence 0.9 and margin 0.05.
    """
    chance = random.Random(7)
    wrong = 0
    for _ in range(streams):
        tables = [[0, 0, 0, 0] for _ in weights]
        for number in range(rows):
            stage = number * len(weights) // rows
            here = chance.random() < weights[stage]
            bad = chance.random() < common(number)
            event = bad or (here and chance.random() < extra)
            table = tables[stage]
            table[0 if here else 2] += 1
            table[1 if here else 3] += event
            looks = number % 50 == 49
            if looks and sequential.difference_is_shown(side, 0.05, [Table(*one) for one in tables], 0.9):
                wrong += 1
                break
    return wrong / streams


@pytest.mark.parametrize("weights", [(0.05,), (0.5,), (0.05, 0.25, 0.5)], ids=["5 %", "50 %", "in steps"])
@pytest.mark.parametrize("common", [steady(0.2), bursts, growing], ids=["steady", "bursts", "growing"])
def test_a_caller_who_sends_nonsense_to_both_condemns_nobody(common: Rate, weights: tuple[float, ...]) -> None:
    """The canary is exactly as good as stable, and what both refuse comes and goes."""
    wrong = wrong_beside_stable(Side.ABOVE, common, 0.0, weights=weights)
    assert within_the_stated_rate(wrong, 100, 0.9)


@pytest.mark.parametrize("side", [Side.ABOVE, Side.BELOW])
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_beside_stable_the_stated_rate_holds_at_the_margin_itself(side: Side, weight: float) -> None:
    wrong = wrong_beside_stable(side, steady(0.0), 0.05, weights=(weight,))
    assert within_the_stated_rate(wrong, 100, 0.9)


def test_counts_added_up_over_other_weights_would_condemn_a_good_canary() -> None:
    """Why requests under other weights are another table: callers go mad just as the canary's share grows."""
    at_5, at_50 = Table(50, 0, 950, 0), Table(250, 125, 250, 125)
    mixed = Table(50 + 250, 0 + 125, 950 + 250, 0 + 125)
    assert not sequential.difference_is_shown(Side.ABOVE, 0.02, [at_5, at_50], 0.95)
    assert sequential.difference_is_shown(Side.ABOVE, 0.02, [mixed], 0.95)


def test_a_model_that_refuses_what_stable_takes_fails_and_is_told_in_numbers() -> None:
    """Eleven inputs instead of nine: every request is answered 400, and no server fails."""
    seen = Stratum(requests(100, refused=100), requests(300))
    for asked in (metric(), compared()):
        assert judge(asked, seen).phase == "Failed"
    message = judge(compared(), seen).message or ""
    assert message.startswith(
        "100 of 100 requests failed or were refused (4xx), 0 of 300 at stable over the same time; "
        "up to 2 % of all requests more than at stable may: that is too many"
    )
    assert (judge(compared(), seen).value, judge(compared(), seen).baseline) == ("1", "0")


def test_what_stable_refuses_as_often_passes_once_it_is_sure() -> None:
    few = Stratum(requests(200, refused=40), requests(600, refused=120))
    many = Stratum(requests(12000, refused=2400), requests(36000, refused=7200))
    for asked in (metric(limit=0.02), compared()):
        assert judge(asked, few).phase == "Running"
        assert judge(asked, many).phase == "Successful"


def test_stables_own_failures_excuse_a_compared_canary_and_no_other() -> None:
    outage = Stratum(requests(1000, failed=300), requests(3000, failed=900))
    assert judge(compared(), outage).phase == "Running"
    assert judge(metric(), outage).phase == "Failed"


def test_with_all_the_traffic_nothing_is_compared() -> None:
    everything = Stratum(requests(5000, refused=5000), RevisionTraffic())
    assert judge(compared(), everything).phase == "Pending"
    assert judge(metric(), everything).phase == "Successful", "server errors are counted, refusals only beside stable"
    assert judge(metric(), Stratum(requests(5000, failed=500), RevisionTraffic())).phase == "Failed"


def test_refusals_that_may_be_stables_condemn_nobody_and_pass_nobody() -> None:
    """90 of 100 requests were answered by stable, because no server of the canary could be tried."""
    canary = RevisionTraffic(attempts=1000, completed=10000, refused=900)
    seen = Stratum(canary, requests(30000, refused=0))
    assert judge(compared(), seen).phase == "Running"
    assert judge(compared(), seen).value is None
    assert "between 0 and 900 of 1000" in (judge(compared(), seen).message or "")


def test_what_more_requests_would_not_settle_is_not_said_to_be_too_few() -> None:
    """Every request took 150 ms, and the router counts those over 0.1 s and over 0.25 s."""
    took = RevisionTraffic(attempts=5000, completed=5000, latency_ms={100.0: 0, 250.0: 5000, INF: 5000})
    told = judge(metric("LatencyP95", 0.2), Stratum(took)).message or ""
    assert "between 0 and 5000 of 5000 requests took over 0.2 s" in told
    assert told.endswith(": that leaves it open so far")
    few = judge(metric(), alone(2, 100)).message or ""
    assert few.endswith(": too few requests to be sure yet")


# --- what every verdict needs


def test_no_data_never_passes() -> None:
    assert judge(metric()).phase == "Pending"
    assert judge(compared()).phase == "Pending"
    assert judge(compared(), Stratum()).phase == "Pending"
    assert analysis.together([]) == "Running"


def test_a_few_good_requests_are_not_enough() -> None:
    assert judge(metric(), alone(0, 99)).phase == "Running"
    assert judge(metric(limit=0.5), alone(0, 99)).phase == "Running", "minSamples is 100"
    assert judge(metric(limit=0.5), alone(0, 100)).phase == "Successful"


def test_a_few_bad_requests_are_not_enough_either() -> None:
    """2 failures of 2 say little about a model, and `minSamples: 100` says that they decide nothing."""
    slow = Stratum(RevisionTraffic(attempts=99, completed=99, latency_ms={100.0: 0, INF: 99}), requests(99))
    for failed in (2, 99):
        for asked in (metric(), compared()):
            assert judge(asked, alone(failed, failed)).phase == "Running"
            assert f"at least {asked.min_samples} requests are needed" in (judge(asked, alone(2, 2)).message or "")
    assert judge(metric("LatencyP95", 0.1), slow).phase == "Running"
    assert judge(metric(), alone(100, 100)).phase == "Failed", "once they are there it is immediate"


def test_enough_good_requests_pass_and_bad_ones_fail() -> None:
    passed = next(n for n in range(100, 2000) if judge(metric(), alone(0, n)).phase == "Successful")
    assert passed <= 400
    assert judge(metric(), alone(50, 1000)).phase == "Failed"
    assert judge(metric(), alone(10, 1000)).phase == "Running"


def test_requests_that_stable_answered_say_nothing_about_the_canary() -> None:
    untried = RevisionTraffic(attempts=0, completed=5000)
    assert judge(metric(), Stratum(untried, requests(5000))).phase == "Pending"


# --- latency


def latency(total: int, **counts: int) -> Stratum:
    """Requests at or under a bound: `at_100=950` is 950 within 100 ms."""
    bounds = {float(name.removeprefix("at_")): count for name, count in counts.items()}
    return Stratum(RevisionTraffic(attempts=total, completed=total, latency_ms=bounds | {INF: total}))


@pytest.mark.parametrize(
    "fast, phase", [(1000, "Successful"), (800, "Failed"), (950, "Running")], ids=["fast", "slow", "at the limit"]
)
def test_a_limit_that_the_router_counts_is_judged_exactly(fast: int, phase: str) -> None:
    found = judge(metric("LatencyP95", 0.1), latency(1000, at_50=fast, at_100=fast, at_250=1000))
    assert (found.phase, found.value) == (phase, f"{1 - fast / 1000:g}")


def test_a_limit_between_two_bounds_blames_no_model_whose_requests_are_between_them_too() -> None:
    """All requests take 150 ms and 200 may be: the router counts up to 100 and up to 250."""
    found = judge(metric("LatencyP95", 0.2), latency(500, at_50=0, at_100=0, at_250=500))
    assert found.phase == "Running"
    assert found.value is None
    assert (found.message or "").startswith(
        "between 0 and 500 of 500 requests took over 0.2 s (only a max of 0.1 s or 0.25 s would be counted exactly)"
    )


def test_between_two_bounds_a_model_fails_by_the_upper_one_and_passes_by_the_lower_one() -> None:
    asked = metric("LatencyP95", 0.2)
    assert judge(asked, latency(500, at_100=500, at_250=500)).phase == "Successful"
    slow = judge(asked, latency(500, at_100=0, at_250=300))
    assert (slow.phase, slow.value) == ("Failed", "0.4")
    assert "between 200 and 500 of 500 requests took over 0.2 s" in (slow.message or "")


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 12.0), min_size=100, max_size=160), st.floats(0.001, 11.0))
def test_no_sentence_about_latency_is_ever_false(took: list[float], limit: float) -> None:
    """Whatever the requests took: a verdict that names a number of slow requests is true of the requests themselves."""
    from millrace.contract.router import LATENCY_BUCKETS_MS

    counts = {bound: sum(one * 1000 <= bound for one in took) for bound in (*LATENCY_BUCKETS_MS, INF)}
    seen = Stratum(RevisionTraffic(attempts=len(took), completed=len(took), latency_ms=counts))
    found = judge(metric("LatencyP95", limit), seen)
    slow = sum(one > limit for one in took) / len(took)
    if found.phase == "Failed":
        assert slow > 0.05
    if found.phase == "Successful":
        assert slow < 0.05
    if found.value is not None and found.phase == "Running":
        assert abs(float(found.value) - slow) < 1e-5


# --- laws


@given(st.floats(1e-6, 0.999), st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([0.5, 0.95, 0.9999]))
def test_the_two_claims_are_never_shown_together(limit: float, events: int, quiet: int, confidence: float) -> None:
    shown = [
        sequential.is_shown(side, limit, events, events + quiet, max(confidence, 0.6))
        for side in (Side.ABOVE, Side.BELOW)
    ]
    assert not all(shown)


COUNTS = st.tuples(st.integers(0, 10**5), st.integers(0, 10**5))


@given(st.floats(1e-6, 0.999), COUNTS, COUNTS)
@settings(deadline=None)
def test_beside_stable_the_two_claims_are_never_shown_together(
    margin: float, here: tuple[int, int], there: tuple[int, int]
) -> None:
    table = Table(sum(here), here[0], sum(there), there[0])
    shown = [sequential.difference_is_shown(side, margin, [table], 0.95) for side in (Side.ABOVE, Side.BELOW)]
    assert not all(shown)


@given(st.floats(0.001, 0.9), st.integers(1, 2000))
def test_more_failures_never_look_better(limit: float, trials: int) -> None:
    levels = [sequential.evidence(Side.ABOVE, limit, events, trials) for events in range(0, trials + 1, 7)]
    assert all(low <= high + 1e-9 for low, high in itertools.pairwise(levels))


def test_samples_are_rounded_to_what_a_person_reads() -> None:
    assert [analysis.rounded(count) for count in (0, 7, 99, 101, 12345)] == [0, 7, 99, 100, 12000]
