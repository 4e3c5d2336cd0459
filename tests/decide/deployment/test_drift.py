"""Drift: the stated false-alarm rate over a long horizon, and how soon a change is seen.

The streams are those of the comparison with rules in use today: one or more unit-normal features, a reference of 5,000
rows, a mean that shifts. `tests/benchmarks/drift` prints the full table.
"""

from __future__ import annotations

import bisect
import itertools
import random
import statistics

import pytest

from millrace.decide.deployment import drift, sequential
from millrace.decide.deployment.drift import Memory, Rule, Verdict

BINS = 14


def edges() -> list[float]:
    normal = statistics.NormalDist()
    return [normal.inv_cdf(k / BINS) for k in range(1, BINS)]


EDGES = edges()


def histogram(values: list[float]) -> tuple[int, ...]:
    counts = [0] * (BINS + 1)
    for value in values:
        counts[bisect.bisect_right(EDGES, value)] += 1
    return tuple(counts)


def stream(
    seed: int, rule: Rule, *, rows: int, shift: float = 0.0, at: int = 0, features: int = 1, step: int = 100
) -> tuple[int | None, Memory]:
    """The row of the first alarm, if any, looking every `step` rows."""
    chance = random.Random(seed)
    names = [f"f{index}" for index in range(features)]
    reference = {name: histogram([chance.gauss(0, 1) for _ in range(5000)]) for name in names}
    live = dict.fromkeys(names, (0,) * (BINS + 1))
    memory = Memory()
    for row in range(step, rows + 1, step):
        mean = shift if row > at else 0.0
        for name in names:
            fresh = histogram([chance.gauss(mean, 1) for _ in range(step)])
            live[name] = tuple(map(sum, zip(live[name], fresh, strict=True)))
        memory, _ = drift.look(memory, live, reference, rule)
        if memory.alarm is not None:
            return row, memory
    return None, memory


def test_without_drift_alarms_stay_under_the_stated_rate() -> None:
    """20 streams of 40,000 rows, 400 looks each, margin 0 and a stated rate of one in five."""
    rule = Rule(false_alarm_rate=0.2, margin=0.0)
    alarms = sum(stream(seed, rule, rows=40_000, step=100)[0] is not None for seed in range(20))
    assert alarms <= 6


def test_the_rate_holds_over_all_features_together() -> None:
    rule = Rule(false_alarm_rate=0.2, margin=0.0)
    alarms = sum(stream(seed, rule, rows=5_000, features=8)[0] is not None for seed in range(12))
    assert alarms <= 4


@pytest.mark.parametrize(("shift", "slowest"), [(1.0, 400), (0.5, 1500)])
def test_a_change_is_seen_soon(shift: float, slowest: int) -> None:
    delays = []
    for seed in range(8):
        row, _ = stream(seed, Rule(), rows=10_000, shift=shift, at=4000)
        assert row is not None
        assert row > 4000
        delays.append(row - 4000)
    assert statistics.median(delays) <= slowest


def test_a_long_quiet_past_does_not_hide_a_change() -> None:
    """After 60,000 quiet rows a change is seen within a fiftieth of them; a single test would need thousands."""
    row, memory = stream(3, Rule(), rows=70_000, shift=1.0, at=60_000)
    assert row is not None
    assert row - 60_000 <= 1200
    assert len(memory.starts) < 25, "the memory stays small"


def test_a_difference_within_the_margin_is_no_drift() -> None:
    assert stream(1, Rule(margin=0.1), rows=40_000, shift=0.1)[0] is None


def test_the_first_alarm_stays() -> None:
    reference = {"x": (100, 100, 100, 0)}
    memory, verdict = drift.look(Memory(), {"x": (3000, 0, 0, 0)}, reference, Rule(margin=0.0))
    assert verdict.state == "Drifted"
    memory, later = drift.look(memory, {"x": (10**6, 10**6, 10**6, 0)}, reference, Rule(margin=0.0))
    assert later == verdict


def test_missing_values_count_as_a_change() -> None:
    reference = {"x": (500, 500, 0)}
    _, verdict = drift.look(Memory(), {"x": (300, 300, 600)}, reference, Rule())
    assert (verdict.state, verdict.worst_feature) == ("Drifted", "x")


def test_too_few_rows_are_no_verdict() -> None:
    _, verdict = drift.look(Memory(), {"x": (499, 0, 0)}, {"x": (0, 5000, 0)}, Rule(min_samples=500))
    assert verdict.state == "InsufficientData"
    assert verdict.samples == 499
    assert drift.look(Memory(), {}, {}, Rule())[1] == Verdict()


def test_a_feature_without_its_reference_is_left_out() -> None:
    live = {"x": (600, 0, 0), "y": (0, 600, 0)}
    _, verdict = drift.look(Memory(), live, {"x": (600, 0, 0), "y": (600, 0)}, Rule())
    assert (verdict.state, verdict.worst_feature) == ("None", "x")


def test_a_later_start_needs_more_evidence() -> None:
    reference = {"x": (500, 500, 0)}
    window = {"x": (700, 300, 0)}

    def excess(number: int) -> float:
        memory = Memory(starts=(drift.Start(number, 0, {}),), next_number=number + 1)
        return drift.look(memory, window, reference, Rule())[1].excess

    assert excess(1) > excess(50) > excess(5000)


def test_no_start_is_ever_used_twice_and_their_levels_add_up() -> None:
    _, memory = stream(5, Rule(), rows=20_000)
    numbers = [start.number for start in memory.starts]
    assert numbers == sorted(set(numbers))
    assert sum(1 / (k * (k + 1)) for k in range(1, 10_000)) < 1
    ages = [20_000 - start.rows for start in memory.starts][1:-1]
    assert all(older > younger for older, younger in itertools.pairwise(ages))


def test_the_bounds_are_those_of_the_papers() -> None:
    """C of the empirical-process bound and r(10,000), as evaluated with the authors' formula; DKW by hand."""
    for alpha, constant, radius in [
        (0.05, 8.12, 0.0267),
        (0.025, 8.62, 0.0273),
        (0.01, 9.28, 0.0282),
        (1e-4, 12.6, 0.0322),
    ]:
        assert sequential._lil_constant(alpha) == pytest.approx(constant, abs=0.011)
        assert sequential.empirical_radius(10_000, alpha) == pytest.approx(radius, abs=0.0001)
    assert sequential.dkw_radius(2000, 0.025) == pytest.approx(0.0331, abs=0.0001)
    assert sequential.dkw_radius(0, 0.025) == float("inf")


def test_psi_is_zero_for_the_same_shares_and_grows() -> None:
    assert drift.population_stability((10, 20, 30), (100, 200, 300)) == pytest.approx(0)
    assert drift.population_stability((30, 20, 10), (100, 200, 300)) > 0.2
    assert drift.population_stability((0, 0), (1, 1)) == 0


def test_a_verdict_says_how_many_of_the_newest_rows_it_is_about() -> None:
    """A shift after a long quiet past is seen in the rows since, and score and PSI are theirs."""
    memory, before, now = drift.Memory(), {"x": (500, 500)}, {"x": (500, 1500)}
    for live in ({"x": (100, 100)}, before, now):
        memory, verdict = drift.look(memory, live, {"x": (5000, 5000)}, drift.Rule())
    assert (verdict.state, verdict.samples, verdict.window) == ("Drifted", 2000, 1000)
    assert verdict.score == 0.5
