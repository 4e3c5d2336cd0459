"""The bins that drift is counted in: what training never saw has bins of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from millrace.contract.profile import FeatureHistogram
from millrace.decide.deployment import drift
from millrace_runtime.snapshot import histograms


def histogram(values, **changes):
    return FeatureHistogram(name="x", input="numeric", **histograms.numeric(np.asarray(values, np.float32), **changes))


def counted(made, values):
    return tuple(np.bincount([made.bin_of(value) for value in values], minlength=made.bins).tolist())


def verdict(trained, live, rows=5000):
    made = histogram(trained)
    served = counted(made, np.asarray(live, np.float32)[:rows])
    memory, seen = drift.Memory(), drift.Verdict()
    for share in range(1, 11):
        partly = tuple(count * share // 10 for count in served)
        memory, seen = drift.look(memory, {"x": partly}, {"x": made.counts}, drift.Rule())
    return seen.state


CHANCE = np.random.default_rng(0)
BLIND = {
    "a constant that becomes another": (np.full(5000, 0.0), np.full(5000, 999.0)),
    "a constant that becomes a little more": (np.full(5000, 7.0), np.full(5000, 7.5)),
    "a constant that becomes less": (np.full(5000, 7.0), np.full(5000, -7.0)),
    "a constant that becomes noise": (np.full(5000, 7.0), CHANCE.normal(1000, 1, 5000)),
    "0 and 1 that become noise": (CHANCE.integers(0, 2, 5000), CHANCE.normal(0, 100, 5000)),
    "0 and 1 that become halves": (CHANCE.integers(0, 2, 5000), np.full(5000, 0.5)),
    "0 and 1 that become 0 and 2": (CHANCE.integers(0, 2, 5000), CHANCE.integers(0, 2, 5000) * 2),
    "five grades of which one is new": (CHANCE.integers(1, 6, 5000), CHANCE.integers(2, 7, 5000)),
    "ten grades that move beyond the top": (CHANCE.integers(0, 10, 5000), CHANCE.integers(2, 12, 5000)),
    "a range that is left at the top": (CHANCE.uniform(0, 1, 5000), CHANCE.uniform(1, 2, 5000)),
    "a range that is left at the bottom": (CHANCE.uniform(0, 1, 5000), CHANCE.uniform(-1, 0, 5000)),
    "a tenth that is coded as -999": (
        CHANCE.uniform(0, 1, 5000),
        np.where(CHANCE.uniform(size=5000) < 0.15, -999, 0.5),
    ),
    "mostly zeros that become a little": (
        np.where(CHANCE.uniform(size=5000) < 0.8, 0.0, CHANCE.exponential(size=5000)),
        np.where(CHANCE.uniform(size=5000) < 0.8, 0.001, CHANCE.exponential(size=5000)),
    ),
    "mostly a hundred that become some other number": (
        np.where(CHANCE.uniform(size=5000) < 0.5, 100.0, CHANCE.normal(100, 20, 5000)),
        np.where(CHANCE.uniform(size=5000) < 0.5, 100.5, CHANCE.normal(100, 20, 5000)),
    ),
    "an empty column that has values": (np.full(5000, np.nan), np.full(5000, 1.0)),
}
QUIET = {
    "a constant": (np.full(5000, 7.0), np.full(5000, 7.0)),
    "0 and 1": (CHANCE.integers(0, 2, 5000), CHANCE.integers(0, 2, 5000)),
    "grades": (CHANCE.integers(0, 10, 5000), CHANCE.integers(0, 10, 5000)),
    "noise": (CHANCE.normal(size=5000), CHANCE.normal(size=5000)),
    "mostly zeros": (
        np.where(CHANCE.uniform(size=5000) < 0.8, 0.0, CHANCE.exponential(size=5000)),
        np.where(CHANCE.uniform(size=5000) < 0.8, 0.0, CHANCE.exponential(size=5000)),
    ),
    "heavy tails": (CHANCE.standard_cauchy(5000), CHANCE.standard_cauchy(5000)),
}


@pytest.mark.parametrize("what", BLIND)
def test_drift_is_seen_where_training_saw_nothing(what):
    trained, live = BLIND[what]
    assert verdict(trained, live) == "Drifted"


@pytest.mark.parametrize("what", QUIET)
def test_more_of_the_same_is_no_drift(what):
    trained, live = QUIET[what]
    assert verdict(trained, live) == "None"


@pytest.mark.parametrize("values", [[7.0], [0, 1], [1, 2, 3], range(7)])
def test_each_of_a_few_values_has_a_bin_of_its_own_and_what_lies_between_another(values):
    made = histogram(list(values) * 3)
    own = [made.bin_of(value) for value in values]
    assert len(set(own)) == len(values)
    assert all(made.counts[at] == 3 for at in own)
    between = [made.bin_of(value + 0.5) for value in values]
    assert not set(between) & set(own)
    assert sum(made.counts[at] for at in set(between)) == 0


@pytest.mark.parametrize("count", [8, 13])
def test_each_of_some_values_has_a_bin_of_its_own(count):
    made = histogram(list(range(count)) * 2)
    assert [made.counts[made.bin_of(value)] for value in range(count)] == [2] * count


def test_what_lies_behind_the_most_frequent_of_some_values_is_counted_apart():
    made = histogram([*range(10), 3, 3, 7])
    for value in (3, 7):
        assert made.counts[made.bin_of(value + 0.5)] == 0
        assert made.bin_of(value + 0.5) not in {made.bin_of(one) for one in range(10)}


def test_a_value_that_most_rows_have_has_a_bin_of_its_own_among_many():
    values = np.where(np.arange(1000) % 3 == 0, np.arange(1000), 50)
    made = histogram(values)
    own = made.bin_of(50)
    assert made.counts[own] == (values == 50).sum()
    assert made.bin_of(np.nextafter(np.float32(50), np.float32(np.inf))) == own + 1
    assert made.bin_of(np.nextafter(np.float32(50), np.float32(-np.inf))) == own - 1


@settings(deadline=None)
@given(
    arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(6, 16),
)
def test_below_the_smallest_and_above_the_largest_nothing_was_trained_on(values, most):
    made = histogram(values, most=most)
    assert made.bins <= most
    assert made.counts[0] == 0
    assert made.counts[-2] == 0
    assert made.bin_of(float(np.nextafter(values.min(), np.float32(-np.inf)))) == 0
    assert made.bin_of(float(np.nextafter(values.max(), np.float32(np.inf)))) == made.bins - 2
    assert counted(made, values) == made.counts
    assert FeatureHistogram.from_json(made.to_json()) == made


@pytest.mark.parametrize("values", [[np.inf, -np.inf, 1.0], [3.4028235e38, 1.0], [np.nan], [0.0, -0.0], [1e-45, 0.0]])
def test_odd_values_make_bins_that_can_be_written_down(values):
    made = histogram(values)
    assert sum(made.counts) == len(values)
    assert FeatureHistogram.from_json(made.to_json()) == made


def test_the_neighbour_of_a_number_is_that_of_its_own_precision():
    wide = histograms.numeric(np.array([20240101.0, 20240102.0]))
    narrow = histograms.numeric(np.array([1.0, 2.0], np.float32))
    assert wide["edges"][1] == np.nextafter(20240101.0, np.inf)
    assert narrow["edges"][1] == float(np.nextafter(np.float32(1.0), np.float32(np.inf)))


def test_the_most_frequent_labels_are_kept_when_there_is_room_for_few():
    made = histograms.categorical(["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2 + ["e", None, ""], most=5)
    assert made == {"kind": "categorical", "labels": ("a", "b", "c"), "counts": (5, 4, 3, 3, 2)}
