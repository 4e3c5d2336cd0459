"""Rows and numbers that go by way of the disk come back as if there were memory for all of them."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data_kit import tasks, versions
from hypothesis import given, settings

from millrace.contract.dataset import Rule, Unique
from millrace_runtime.discretion import Discretion
from millrace_runtime.snapshot import freeze, histograms, parquetfile, records, rules, shuffle
from millrace_runtime.snapshot.ahead import ahead
from millrace_runtime.snapshot.records import Records, spans
from millrace_runtime.snapshot.shuffle import KEY, Shuffle

LABEL = {"name": "y", "type": "Int64", "role": "Label"}
ID = {"name": "id", "type": "Int64", "role": "Id"}
WHEN = {"name": "when", "type": "Timestamp", "role": "EventTime"}
FRACTIONS = {"train": 0.5, "validation": 0.1, "test": 0.4}
HOWS = {
    "random": ([], {}),
    "by id": ([ID], {}),
    "by group": ([], {"groupBy": ["house"]}),
    "by id and group": ([ID], {"groupBy": ["house"]}),
    "stratified": ([ID], {"method": "Stratified", "field": "plan"}),
    "by time": ([ID, WHEN], {"method": "Time"}),
}


def people(count=600, seed=0):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(count) // 2 + seed * 10_000,
            "house": chance.integers(0, count // 3, count),
            "when": pd.Timestamp("2025-01-01") + pd.to_timedelta(chance.integers(0, 90, count), unit="D"),
            "x": chance.normal(size=count).round(1),
            "plan": chance.choice(["basic", "plus", "pro"], count),
            "y": chance.integers(0, 2, count),
        }
    )


def history(folder, fields, split):
    """Four versions: rows are added, rows leave, other fractions, other columns tell rows apart."""
    dataset = tasks.Dataset(folder)
    rows = pd.concat([people(), people(150).assign(id=70_000)])
    steps = [
        (rows, fields, split),
        (pd.concat([rows[160:], people(160, 1)]), fields, split),
        (pd.concat([rows, people(160, 1)]), fields, {**split, "fractions": FRACTIONS}),
        (rows, [*fields, {"name": "x", "type": "Float64", "role": "Ignore"}], {**split, "fractions": FRACTIONS}),
    ]
    found = []
    for number, (wanted, named, how) in enumerate(steps):
        held = wanted.sample(frac=1, random_state=number) if "little" in folder.name else wanted
        dataset.put("a.parquet", pa.Table.from_pandas(held, preserve_index=False))
        report = dataset.look(format="Parquet", schema={"fields": [LABEL, *named]}, split=how)
        assert report.outcome == "Frozen"
        found.append((report.digest, report.splits, report.quality, versions.quality(report)))
    return found


@pytest.mark.parametrize("how", HOWS)
def test_versions_are_the_same_with_memory_for_a_few_rows_and_for_all(tmp_path, monkeypatch, how):
    fields, split = HOWS[how]
    wanted = history(tmp_path / "much", fields, split)
    monkeypatch.setattr(shuffle, "MEMORY_BYTES", 10_000)
    monkeypatch.setattr(shuffle, "SPAN_BYTES", 2_000)
    monkeypatch.setattr(records, "MEMORY_BYTES", 2_000)
    monkeypatch.setattr(records, "SPAN_BYTES", 1_000)
    monkeypatch.setattr(records, "BLOCK", 7)
    monkeypatch.setattr(parquetfile, "BATCH_BYTES", 5_000)
    assert history(tmp_path / "little", fields, split) == wanted


rows_ = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 99)), max_size=60)


@settings(deadline=None, max_examples=30)
@given(st.lists(rows_, min_size=1, max_size=4), st.sampled_from([1, 100, 10_000]), st.sampled_from([1, 100, 10_000]))
def test_records_come_back_once_each_by_ranges_of_their_keys(tmp_path_factory, many, memory, span):
    folder = tmp_path_factory.mktemp("records")
    held = [Records(folder / str(number), row="i8") for number in range(len(many))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MEMORY_BYTES", memory)
        patch.setattr(records, "SPAN_BYTES", span)
        patch.setattr(records, "BLOCK", 3)
        for each, rows in zip(held, many, strict=True):
            for key, value in rows:
                each.add(np.array([key], "u8"), np.array([value], "i8"))
        for _ in range(2):
            ranges = [tuple(np.concatenate(list(span_)) for span_ in many_) for many_ in spans(*held)]
            for number, rows in enumerate(many):
                found = [(int(one["key"]), int(one["row"])) for span_ in ranges for one in span_[number]]
                assert sorted(found) == sorted(rows)
            highest = [max((int(one["key"].max()) for one in span_ if len(one)), default=-1) for span_ in ranges]
            lowest = [min((int(one["key"].min()) for one in span_ if len(one)), default=2**64) for span_ in ranges]
            assert all(high < low for high, low in zip(highest, lowest[1:], strict=False) if high >= 0)


def test_a_key_that_most_records_have_comes_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MEMORY_BYTES", 100)
    monkeypatch.setattr(records, "SPAN_BYTES", 1_000)
    monkeypatch.setattr(records, "BLOCK", 7)
    held = Records(tmp_path, row="i8")
    held.add(np.full(500, 7 << 56, "u8"), np.arange(500))
    held.add(np.array([7 << 56, 1], "u8"), np.array([500, 501]))
    pieces = [len(piece) for (span,) in spans(held) for piece in span]
    assert (sum(pieces), max(pieces)) == (502, 7)
    found = [records.counted(span) for (span,) in spans(held)]
    assert [(int(key), int(count)) for keys, counts in found for key, count in zip(keys, counts, strict=True)] == [
        (1, 1),
        (7 << 56, 501),
    ]


def rows_of(table):
    return list(zip(*table.to_pydict().values(), strict=True))


keys_ = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([7, 7 << 56, (7 << 56) + 1]))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(keys_, max_size=40), max_size=5), st.sampled_from([1, 200, 10_000]), st.sampled_from([1, 300]))
def test_rows_come_back_once_each_in_the_order_of_their_keys_also_where_most_are_equal(
    tmp_path_factory, blocks, memory, span
):
    held = Shuffle(tmp_path_factory.mktemp("shuffle"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "MEMORY_BYTES", memory)
        patch.setattr(shuffle, "SPAN_BYTES", span)
        wanted = []
        for number, keys in enumerate(blocks):
            held.add(
                pa.table(
                    {
                        KEY: pa.array(keys, pa.uint64()),
                        "text": pa.array([f"{number} {key}" for key in keys], pa.string()),
                    }
                )
            )
            wanted += [(key, f"{number} {key}") for key in keys]
        before = [row for table in held.blocks() for row in rows_of(table)]
        after = [row for table, order in held.ordered() for row in rows_of(table.take(order))]
    assert sorted(before) == sorted(after) == sorted(wanted)
    assert [key for key, _ in after] == sorted(key for key, _ in wanted)


letters_ = st.one_of(st.none(), st.sampled_from(["", *"abcdefghijklmnopqrstuvwxyzé😀\ufffd"]), st.text(max_size=2))


@settings(deadline=None)
@given(st.lists(letters_, max_size=100))
def test_labels_are_counted_by_arrow_as_one_by_one(values):
    assert freeze._categorical(pa.array(values, pa.string())) == histograms.categorical(values)


def test_rows_whose_numbers_are_equal_by_chance_do_not_break_a_rule(tmp_path, monkeypatch):
    monkeypatch.setattr(rules._Repeated, "_numbers", lambda _, table: np.asarray(table["a"], "u8") // 2)
    table = pa.table({"a": [0, 1, 2, 3, 5, 5, 5]})
    (check,) = rules.checks([Rule("once", unique=Unique(("a",)))], ["a"], Path(tmp_path), Discretion())
    check.see(table)
    failed = check.failed(iter([table]))
    assert (failed.observed, failed.message) == ("2", "2 rows repeat the key (a), such as a=5")
    (check,) = rules.checks([Rule("once", unique=Unique(("a",)))], ["a"], Path(tmp_path), Discretion())
    check.see(table.slice(0, 4))
    assert check.failed(iter([table.slice(0, 4)])) is None


def test_what_goes_wrong_ahead_is_raised_where_it_would_have_been():
    def some():
        yield "first"
        yield "second"
        raise ValueError("third")

    made = ahead(some())
    assert [next(made), next(made)] == ["first", "second"]
    with pytest.raises(ValueError, match="third"):
        next(made)
