"""Laws of the split, over generated tables and histories."""

from __future__ import annotations

import collections
import random

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
from data_kit import data
from hypothesis import given, settings

from millrace_runtime.snapshot import freeze, identity, split
from millrace_runtime.snapshot.spec import Fractions, Method, Split

NAMES = ("number", "text", "truth")
values = st.tuples(
    st.one_of(st.none(), st.integers(-3, 3)), st.sampled_from([None, "", "a", "b", "a\x00"]), st.booleans()
)
tables = st.lists(values, max_size=60)
splits = st.builds(
    Split,
    method=st.sampled_from(list(Method)),
    field=st.just("text"),
    seed=st.integers(0, 5),
    fractions=st.sampled_from([Fractions(), Fractions(0.5, 0.25, 0.25), Fractions(0.7, 0.0, 0.3)]),
)


def table_of(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    kinds = (pa.int64(), pa.string(), pa.bool_())
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(NAMES, columns, kinds, strict=True)})


def divided(rows, how, known=None):
    """Return the keys and parts of a table, by way of what is stored of them."""
    table = table_of(rows)
    full = identity.contents(table, NAMES)
    keys = identity.distinct(full, full)
    parts = split.assign(keys, how, table["text"].to_pylist(), known)
    return freeze.read_index(freeze.index(keys, parts, known)), dict(zip(keys.tolist(), parts.tolist(), strict=True))


@settings(deadline=None, max_examples=60)
@given(tables, tables, splits, splits)
def test_no_row_ever_moves_to_another_part_in_a_later_version(old, new, first, second):
    known, before = divided(old, first)
    _, after = divided(old + new, second, known)
    assert {key: after[key] for key in before} == before


@settings(deadline=None, max_examples=60)
@given(tables, tables, splits, splits)
def test_a_row_that_left_and_came_back_has_its_old_part(old, between, first, second):
    known, before = divided(old, first)
    known, _ = divided(between, second, known)
    _, after = divided(old, second, known)
    assert after == before


@settings(deadline=None, max_examples=60)
@given(tables, splits, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, how, chance):
    shuffled = rows.copy()
    chance.shuffle(shuffled)
    assert divided(rows, how)[1] == divided(shuffled, how)[1]


@settings(deadline=None, max_examples=60)
@given(tables)
def test_every_row_has_a_key_of_its_own_and_equal_rows_share_their_content_hash(rows):
    table = table_of(rows)
    full = identity.contents(table, NAMES)
    assert len(set(identity.distinct(full, full).tolist())) == len(rows)
    assert len(set(full.tolist())) == len({(number, text, truth) for number, text, truth in rows})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(), st.sampled_from("abc"), st.booleans()), unique=True, min_size=1), splits)
def test_stratified_keeps_each_class_at_its_shares_within_one_row(rows, how):
    rows = [(number % 2**62, text, truth) for number, text, truth in rows]
    stratified = Split(Method.STRATIFIED, "text", how.seed, how.fractions)
    _, parts = divided(rows, stratified)
    table = table_of(rows)
    full = identity.contents(table, NAMES)
    keys = identity.distinct(full, full).tolist()
    shares = (how.fractions.train, how.fractions.validation, how.fractions.test)
    for group in set(table["text"].to_pylist()):
        members = [parts[key] for key, text in zip(keys, table["text"].to_pylist(), strict=True) if text == group]
        for part, share in enumerate(shares):
            assert abs(members.count(part) - share * len(members)) <= 1


def test_random_shares_are_within_four_standard_deviations():
    rows = [(number, "a", True) for number in range(20_000)]
    counts = collections.Counter(divided(rows, Split(seed=3))[1].values())
    for part, share in enumerate((0.8, 0.1, 0.1)):
        assert abs(counts[part] - share * 20_000) < 4 * (20_000 * share * (1 - share)) ** 0.5


def test_single_new_rows_of_a_stratum_reach_every_part_over_time():
    how = Split(Method.STRATIFIED, "text")
    rows, known = [], None
    for number in range(300):
        rows.append((number, "a", True))
        known, parts = divided(rows, how, known)
    counts = collections.Counter(parts.values())
    assert abs(counts[0] - 240) < 30
    assert min(counts[1], counts[2]) > 12


def test_another_seed_is_another_split():
    rows = [(number, "a", True) for number in range(100)]
    assert divided(rows, Split(seed=1))[1] != divided(rows, Split(seed=2))[1]


def test_what_a_value_says_counts_and_not_how_it_is_stored():
    kinds = (pa.int64(), pa.float32(), pa.float64(), pa.bool_())
    stored = [pa.table({"x": pa.array([1, None, 0]).cast(kind)}) for kind in kinds]
    hashes = [identity.contents(table, ["x"]).tolist() for table in stored]
    assert hashes[0] == hashes[1] == hashes[2] == hashes[3]
    text = identity.contents(pa.table({"x": pa.array(["1", None, "0"])}), ["x"]).tolist()
    assert text[0] != hashes[0][0]
    assert text[1] == identity.contents(pa.table({"x": pa.array([None, "1"], pa.string())}), ["x"])[0]


def test_old_rows_keep_their_split_when_a_second_file_is_uploaded(dataset):
    low, high = data.slices()
    (dataset.source / "a.csv").write_text(low.to_csv(index=False))
    how = {"method": "Stratified", "field": "visited", "seed": 7}
    first = dataset.look(split=how)
    (dataset.source / "b.csv").write_text(high.to_csv(index=False))
    second = dataset.look(split=how)
    keys, parts = freeze.read_index(
        (dataset.folder / "store" / first.uri.split("/store/")[1] / "index.parquet").read_bytes()
    )
    more, later = freeze.read_index(
        (dataset.folder / "store" / second.uri.split("/store/")[1] / "index.parquet").read_bytes()
    )
    after = dict(zip(more.tolist(), later.tolist(), strict=True))
    assert [after[key] for key in keys.tolist()] == parts.tolist()
    assert second.rows == len(low) + len(high)
    shares = np.bincount(later[~np.isin(more, keys)]) / len(high)
    assert np.allclose(shares, [0.8, 0.1, 0.1], atol=0.001)


def test_a_new_column_does_not_make_old_rows_new(dataset):
    lines = [f"{i},{i % 7}" for i in range(300)]
    dataset.write("a.csv", "\n".join(["a,b", *lines]))
    first = dataset.look(split={"method": "Stratified", "field": "b"})
    chance = random.Random(1)
    dataset.write("a.csv", "\n".join(["a,b,c", *(f"{line},{chance.random()}" for line in lines)]))
    fields = [{"name": "c", "type": "Float64"}]
    second = dataset.look(schema={"fields": fields}, split={"method": "Stratified", "field": "b", "seed": 99})
    assert second.outcome == "Frozen"
    assert second.splits == first.splits
    folder = dataset.folder / "store"
    read = [(folder / each.uri.split("/store/")[1] / "index.parquet").read_bytes() for each in (first, second)]
    assert read[0] == read[1]
