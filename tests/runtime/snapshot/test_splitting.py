"""Laws of the split, over generated tables and histories, then over whole versions."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from data_kit import data, versions
from hypothesis import given, settings

from millrace.contract.dataset import Fractions, Method, Split
from millrace_runtime.snapshot import split
from millrace_runtime.snapshot.split import TEST, TRAIN, UNKNOWN, VALIDATION

keys_ = st.lists(st.integers(1, 2**64 - 1), min_size=2, max_size=80, unique=True).map(
    lambda one: np.array(sorted(one), "u8")
)
shares = st.sampled_from(
    [Fractions(), Fractions(0.5, 0.25, 0.25), Fractions(0.7, 0.0, 0.3), Fractions(0.9, 0.05, 0.05)]
)
splits = st.builds(Split, method=st.sampled_from(list(Method)), seed=st.integers(0, 5), fractions=shares)
parts_ = st.sampled_from([TRAIN, VALIDATION, TEST, UNKNOWN])


@dataclass(frozen=True)
class Rows:
    """`codes` is the unit of each."""

    codes: Any
    keys: Any
    known: Any
    strata: Any = None
    times: Any = None


def assign(rows, how, before=None):
    """A part per row."""
    units = split.gather(rows.keys[rows.codes], rows.known, rows.strata, rows.times)
    assert np.array_equal(units.keys, rows.keys)
    return split.assign(units, how, before)[rows.codes]


@st.composite
def worlds(draw, methods=tuple(Method)):
    """Units of one to three rows, each with a class, a time and a past."""
    keys = draw(keys_)
    sizes = draw(st.lists(st.integers(1, 3), min_size=len(keys), max_size=len(keys)))
    codes = np.repeat(np.arange(len(keys)), sizes)
    known = np.array(draw(st.lists(parts_, min_size=len(keys), max_size=len(keys))), "i1")
    strata = np.array(draw(st.lists(st.integers(1, 3), min_size=len(codes), max_size=len(codes))), "u8")
    times = np.array(draw(st.lists(st.integers(-5, 5), min_size=len(codes), max_size=len(codes))), "i8")
    how = Split(draw(st.sampled_from(methods)), "field", draw(st.integers(0, 5)), draw(shares))
    stratified = strata if how.method is Method.STRATIFIED else None
    return Rows(codes, keys, known[codes], stratified, times if how.method is Method.TIME else None), how


def of(keys, known=None, **more):
    return Rows(np.arange(len(keys)), keys, np.full(len(keys), UNKNOWN, "i1") if known is None else known, **more)


@settings(deadline=None)
@given(worlds(), shares)
def test_a_part_only_ever_moves_towards_training(world, before):
    units, how = world
    parts = assign(units, how, before)
    assert (parts <= units.known).all()


@settings(deadline=None)
@given(worlds(), shares)
def test_the_rows_of_a_unit_are_never_divided(world, before):
    units, how = world
    parts = assign(units, how, before)
    assert len(set(zip(units.codes.tolist(), parts.tolist(), strict=True))) == len(units.keys)


@settings(deadline=None)
@given(worlds((Method.RANDOM, Method.STRATIFIED)))
def test_a_unit_that_has_a_part_keeps_it_while_the_fractions_stay(world):
    units, how = world
    parts = assign(units, how, how.fractions)
    moved = (units.known != UNKNOWN) & (parts != units.known)
    # One is taken, where there would be nothing to train on.
    assert len(np.unique(units.codes[moved])) <= (not (units.known == TRAIN).any())
    assert (parts[moved] == TRAIN).all()


@settings(deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(world, chance):
    units, how = world
    order = np.array(chance.sample(range(len(units.codes)), len(units.codes)))
    pick = [None if one is None else one[order] for one in (units.strata, units.times)]
    shuffled = Rows(units.codes[order], units.keys, units.known[order], *pick)
    assert np.array_equal(assign(units, how)[order], assign(shuffled, how))


@settings(deadline=None)
@given(keys_, splits, st.data())
def test_random_depends_on_nothing_but_the_unit_itself(keys, how, chance):
    how = Split(Method.RANDOM, None, how.seed, how.fractions)
    every = assign(of(keys), how)
    some = np.array(chance.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys))), bool)
    drawn = split._cut(split.draws(keys, how.seed), how.fractions)
    # But for the one unit that a part which chance left empty is given.
    assert (every != drawn).sum() <= 2
    if {TRAIN, TEST} <= set(drawn[some].tolist()):
        assert np.array_equal(assign(of(keys[some]), how), drawn[some])


@settings(deadline=None)
@given(worlds())
def test_no_part_with_a_share_is_left_empty_where_it_may_have_a_unit(world):
    units, how = world
    parts = assign(units, how)
    assert (parts == TRAIN).any()
    never_seen = np.isin(units.known, [UNKNOWN, TEST])
    assert (parts == TEST).any() or len(np.unique(units.codes[never_seen])) < 1 + (not (units.known == TRAIN).any())


def test_of_two_units_the_one_that_is_not_trained_on_is_tested_on():
    """The one that is trained on has the higher draw, and would be taken first."""
    units = split.Units(
        np.array([1, 10349], "u8"), np.full(2, UNKNOWN, np.int8), np.array([1, 3]), np.array([2, 1], "u8")
    )
    parts = split.assign(units, Split(Method.STRATIFIED, "field", 0, Fractions(0.9, 0.05, 0.05)))
    assert parts.tolist() == [TRAIN, TEST]


@pytest.mark.parametrize("method", [Method.RANDOM, Method.STRATIFIED])
def test_the_shares_hold(method):
    keys = np.sort(np.random.default_rng(0).integers(1, 2**63, 20_000).astype("u8"))
    classes = (keys % 7).astype("u8") if method is Method.STRATIFIED else None
    counts = np.bincount(assign(of(keys, strata=classes), Split(method, "field", 3)), minlength=3)
    for part, share in enumerate((0.8, 0.1, 0.1)):
        assert abs(counts[part] - share * 20_000) < 4 * (20_000 * share * (1 - share)) ** 0.5


@settings(deadline=None)
@given(keys_, shares, st.integers(0, 5), st.data())
def test_stratified_keeps_each_class_at_its_shares_within_one_unit(keys, fractions, seed, chance):
    classes = np.array(chance.draw(st.lists(st.integers(1, 3), min_size=len(keys), max_size=len(keys))), "u8")
    parts = assign(of(keys, strata=classes), Split(Method.STRATIFIED, "field", seed, fractions))
    for one in np.unique(classes):
        members = parts[classes == one]
        for part, share in enumerate((fractions.train, fractions.validation, fractions.test)):
            assert abs((members == part).sum() - share * len(members)) <= 2


def test_single_new_units_of_a_class_reach_every_part_over_time():
    parts = [
        int(assign(of(np.array([3, 5, key], "u8"), np.array([0, 2, UNKNOWN], "i1"), strata=np.ones(3, "u8")),
                         Split(Method.STRATIFIED, "field"))[2])
        for key in range(7, 307)
    ]  # fmt: skip
    counts = collections.Counter(parts)
    assert abs(counts[0] - 240) < 30
    assert min(counts[1], counts[2]) > 12


def test_another_seed_is_another_split():
    keys = np.arange(1, 101, dtype="u8")
    assert not np.array_equal(assign(of(keys), Split(seed=1)), assign(of(keys), Split(seed=2)))


@pytest.mark.parametrize(
    "before,after,counts,moved",
    [
        ((0.8, 0.1, 0.1), (0.9, 0.05, 0.05), (9000, 500, 500), 1000),
        ((0.8, 0.0, 0.2), (0.8, 0.1, 0.1), (8000, 1000, 1000), 1000),
        ((0.6, 0.2, 0.2), (0.6, 0.1, 0.3), (6000, 2000, 2000), 0),
        ((0.6, 0.1, 0.3), (0.7, 0.2, 0.1), (7000, 2000, 1000), 2000),
        ((0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (9000, 500, 500), 0),
        ((0.8, 0.1, 0.1), (0.9, 0.1, 0.0), (9000, 1000, 0), 1000),
    ],
)
@pytest.mark.parametrize("classes", [1, 5])
def test_other_fractions_move_as_few_units_as_it_takes_and_none_out_of_train(before, after, counts, moved, classes):
    keys = np.arange(1, 10_001, dtype="u8")
    known = np.repeat([TRAIN, VALIDATION, TEST], [round(10_000 * share) for share in before]).astype("i1")
    strata = (keys % np.uint64(classes)) if classes > 1 else None
    parts = assign(
        of(keys, known, strata=strata),
        Split(Method.STRATIFIED if classes > 1 else Method.RANDOM, None, 0, Fractions(*after)),
        Fractions(*before),
    )
    assert np.abs(np.bincount(parts, minlength=3) - counts).max() <= classes
    assert abs((parts != known).sum() - moved) <= 2 * classes


def test_time_tests_on_the_newest_rows_and_trains_on_the_oldest():
    times = np.arange(100) // 3
    parts = assign(of(np.arange(1, 101, dtype="u8"), times=times), Split(Method.TIME, "t"))
    assert np.abs(np.bincount(parts) - [80, 10, 10]).max() <= 2
    assert times[parts == TRAIN].max() < times[parts == VALIDATION].min()
    assert times[parts == VALIDATION].max() < times[parts == TEST].min()


@settings(deadline=None)
@given(worlds((Method.TIME,)))
def test_one_moment_is_never_divided_but_by_what_was_trained_on(world):
    units, how = world
    fresh = Rows(units.codes, units.keys, np.full(len(units.codes), UNKNOWN, "i1"), None, units.times)
    parts = assign(fresh, how)
    newest = np.full(len(units.keys), -9)
    np.maximum.at(newest, units.codes, units.times)
    pairs = set(zip(newest[units.codes].tolist(), parts.tolist(), strict=True))
    assert len(pairs) == len(np.unique(newest)) or len(np.unique(newest)) == 1
    ordered = [part for _, part in sorted(pairs)]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize("days", [2, 3])
def test_a_day_that_holds_most_rows_leaves_something_to_train_and_to_test_on(days):
    times = np.repeat(range(days), [1] * (days - 1) + [97])
    parts = assign(of(np.arange(1, len(times) + 1, dtype="u8"), times=times), Split(Method.TIME, "t"))
    assert parts[0] == TRAIN
    assert parts[-1] == TEST


def test_old_rows_keep_their_split_when_a_second_file_is_uploaded(dataset):
    low, high = data.slices()
    (dataset.source / "a.csv").write_text(low.assign(row=range(len(low))).to_csv(index=False))
    how = {
        "split": {"method": "Stratified", "field": "visited", "seed": 7},
        "schema": {"fields": [{"name": "row", "type": "Int64", "role": "Id"}]},
    }
    before = versions.part_of(dataset.look(**how), "row")
    (dataset.source / "b.csv").write_text(high.assign(row=range(50_000, 50_000 + len(high))).to_csv(index=False))
    second = dataset.look(**how)
    after = versions.part_of(second, "row")
    assert {row: after[row] for row in before} == before
    counts = collections.Counter(part for row, part in after.items() if row not in before)
    assert np.allclose([counts[part] / len(high) for part in versions.PARTS], [0.8, 0.1, 0.1], atol=0.001)
    assert (second.rows, second.quality.moved_rows) == (len(low) + len(high), 0)
