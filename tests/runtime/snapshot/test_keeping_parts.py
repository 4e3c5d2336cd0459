"""What people do to a source between two versions, and which part a row has afterwards."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from data_kit import versions

from millrace_runtime.snapshot import forgotten, history

ID = {"name": "customer", "type": "Int64", "role": "Id"}
LABEL = {"name": "left", "type": "Int64", "role": "Label"}
FRACTIONS = {"train": 0.5, "validation": 0.1, "test": 0.4}


def customers(count=1000, seed=0):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer": np.arange(100_000, 100_000 + count),
            "age": chance.integers(18, 90, count),
            "spend": chance.normal(50, 20, count).round(2),
            "plan": chance.choice(["basic", "plus", "pro"], count),
            "left": chance.integers(0, 2, count),
        }
    )


def look(dataset, rows, *fields, name="a.csv", **changes):
    dataset.write(name, rows.to_csv(index=False))
    return dataset.look(**({"schema": {"fields": [LABEL, *fields]}, "split": {"fractions": FRACTIONS}} | changes))


def corrected(rows):
    return rows.assign(left=np.where(np.arange(len(rows)) % 10, rows.left, 1 - rows.left))


@pytest.mark.parametrize(
    "edit,fields",
    [
        (lambda rows: rows.assign(age=rows.age + 1), [ID]),
        (lambda rows: rows.assign(age=rows.age + 1, spend=rows.spend * 1.1, plan="pro"), [ID]),
        (corrected, [ID]),
        (lambda rows: rows, [ID, {"name": "spend", "type": "Float64", "role": "Ignore"}]),
        (lambda rows: rows, [{**ID, "type": "String"}]),
        (lambda rows: rows, [{**ID, "type": "Float64"}]),
        (lambda rows: rows.assign(customer=rows.customer.map("00{}".format)), [{**ID, "type": "String"}]),
        (lambda rows: rows.assign(region="north"), [ID, {"name": "region", "type": "String"}]),
        (lambda rows: rows[rows.columns[::-1]].sample(frac=1, random_state=0), [ID]),
        (lambda rows: rows.drop(columns="plan"), [ID, {"name": "plan", "type": "Category", "role": "Ignore"}]),
        (lambda rows: rows.rename(columns={"customer": "client"}).assign(age=3), [{**ID, "name": "client"}]),
        (lambda rows: pd.concat([rows, rows.assign(age=5)]), [ID]),
    ],
    ids=[
        "a feature grows", "every feature changes", "a tenth of the labels is corrected", "a column is ignored",
        "the id becomes text", "the id becomes a float", "the id gets leading zeros", "a column is added",
        "rows and columns are shuffled", "a column is gone", "the id gets another name", "each id has two rows",
    ],
)  # fmt: skip
def test_an_id_keeps_its_part(dataset, edit, fields):
    rows = customers()
    before = versions.part_of(look(dataset, rows, ID), "customer")
    strict = [*fields, *fields_of(edit(rows), fields)]
    second = look(dataset, edit(rows), schema={"mode": "Strict", "fields": [LABEL, *strict]})
    name = next(field["name"] for field in fields if field["role"] == "Id")
    after = versions.part_of(second, name)
    assert {who.removeprefix("00").removesuffix(".0"): part for who, part in after.items()} == before
    assert second.outcome == "Frozen"
    assert second.quality.moved_rows == 0


def fields_of(rows, declared):
    types = {"int64": "Int64", "float64": "Float64"}
    named = {"left", *(field["name"] for field in declared)}
    return [
        {"name": name, "type": types.get(str(rows[name].dtype), "String")} for name in rows.columns if name not in named
    ]


@pytest.mark.parametrize(
    "edit,fields",
    [
        (corrected, []),
        (lambda rows: rows, [{"name": "spend", "type": "Float64", "role": "Ignore"}]),
        (lambda rows: rows, [{"name": "age", "type": "String"}]),
        (lambda rows: rows, [{"name": "spend", "type": "Float32"}]),
        (lambda rows: rows.assign(region=range(len(rows))), [{"name": "region", "type": "Int64"}]),
        (lambda rows: rows.assign(region=range(len(rows))).drop(columns="plan"), [{"name": "region", "type": "Int64"}]),
        (lambda rows: rows.assign(number=range(len(rows))), [{"name": "number", "type": "Int64", "role": "Id"}]),
        (lambda rows: rows, [{"name": "spend", "type": "Float64", "role": "Id"}]),
    ],
    ids=[
        "labels are corrected", "a column is ignored", "a column becomes text", "a column becomes narrower",
        "a column is added", "a column goes and one comes", "an id is added", "a feature becomes the id",
    ],
)  # fmt: skip
def test_a_row_without_an_id_keeps_its_part_as_long_as_its_old_features_stay(dataset, edit, fields):
    rows = customers().drop(columns="customer").drop_duplicates(["age", "plan"])
    rows = rows.assign(spend=np.arange(len(rows)) / 4, left=np.arange(len(rows)) % 2)
    first = look(dataset, rows)
    edited = edit(rows)
    columns = [*fields, *fields_of(edited, fields)]
    second = look(dataset, edited, schema={"mode": "Strict", "fields": [LABEL, *columns]})
    assert (second.outcome, second.rows, second.quality.moved_rows) == ("Frozen", len(rows), 0)
    names = ["plan", "age"] if "spend" not in versions.parts(second)["train"] else ["spend"]
    before, after = (
        {part: held.astype({"age": int}) for part, held in versions.parts(each).items()} for each in (first, second)
    )
    for part in versions.PARTS:
        assert set(map(tuple, after[part][names].to_numpy())) == set(map(tuple, before[part][names].to_numpy()))


def test_copies_of_a_row_are_never_in_two_parts(dataset):
    """Noise, each row eight times: a decision tree knew every test row by heart."""
    chance = np.random.default_rng(1)
    noise = pd.DataFrame(chance.normal(size=(300, 4)), columns=list("abcd")).assign(left=chance.integers(0, 2, 300))
    report = look(dataset, pd.concat([noise] * 8).sample(frac=1, random_state=0))
    held = versions.values(report, "a")
    assert not held["train"] & held["test"]
    assert not held["train"] & held["validation"]
    assert (report.quality.duplicate_rows, report.rows) == (2100, 2400)
    assert abs(report.splits.test / 2400 - 0.4) < 0.1


def test_copies_that_differ_in_their_label_are_never_in_two_parts(dataset):
    rows = customers(300).drop(columns="customer")
    report = look(dataset, pd.concat([rows, rows.assign(left=1 - rows.left)]))
    held = versions.values(report, "age", "spend", "plan")
    assert not held["train"] & held["test"]
    assert report.quality.conflicting_rows == 600


@pytest.mark.parametrize("fields", [[], [ID]], ids=["no id", "an id"])
@pytest.mark.parametrize("method", [{}, {"method": "Stratified", "field": "left"}], ids=["Random", "Stratified"])
def test_a_group_stays_together_over_versions_with_or_without_an_id(dataset, fields, method):
    rows = customers(900)
    rows["family"] = rows.customer // 3
    how = {"split": {"groupBy": ["family"], "fractions": FRACTIONS, **method}}
    before = versions.part_of(look(dataset, rows, *fields, **how), "family")
    grown = pd.concat(
        [
            rows,
            customers(300, 1).assign(customer=lambda new: new.customer + 500_000, family=rows.family[::3].to_numpy()),
        ]
    )
    second = look(dataset, grown.assign(age=grown.age + 1), *fields, **how)
    assert versions.part_of(second, "family") == before
    assert second.rows == 1200


def test_a_row_that_changes_its_group_takes_no_trained_row_to_the_test_part(dataset):
    rows = customers(900)
    rows["family"] = rows.customer // 3
    how = {"split": {"groupBy": ["family"], "fractions": FRACTIONS}}
    first = look(dataset, rows, ID, **how)
    chance = np.random.default_rng(3)
    moved = rows.assign(family=np.where(chance.random(900) < 0.1, chance.permutation(rows.family), rows.family))
    second = look(dataset, moved, ID, **how)
    versions.part_of(second, "family")
    assert not versions.values(first, "customer")["train"] & versions.values(second, "customer")["test"]


def test_an_id_that_rows_are_grouped_by_is_the_groups_and_not_the_rows(dataset):
    rows = customers(900)
    rows["family"] = rows.customer // 3
    fields, how = (
        [ID, {"name": "family", "type": "Int64", "role": "Id"}],
        {"split": {"groupBy": ["family"], "fractions": FRACTIONS}},
    )
    first = look(dataset, rows, *fields, **how)
    assert first.quality.shared_rows == 0
    chance = np.random.default_rng(3)
    second = look(dataset, rows.assign(family=chance.permutation(rows.family)), *fields, **how)
    versions.part_of(second, "family")
    assert not versions.values(first, "customer")["train"] & versions.values(second, "customer")["test"]


def test_rows_are_grouped_although_no_earlier_version_was(dataset):
    rows = customers(900).drop(columns="customer")
    rows["family"] = [f"F{number}" for number in range(300)] * 3
    first = look(dataset, rows)
    second = look(
        dataset, rows, split={"groupBy": ["family"], "fractions": {"train": 0.2, "validation": 0.0, "test": 0.8}}
    )
    versions.part_of(second, "family")
    ours = ("age", "spend", "plan")
    assert not versions.values(first, *ours)["train"] & versions.values(second, *ours)["test"]
    assert second.quality.moved_rows > 0


def test_rows_without_an_id_go_by_their_features(dataset):
    rows = customers().assign(customer=lambda held: held.customer.where(held.index % 2 == 0))
    report = look(dataset, pd.concat([rows, rows[rows.customer.isna()]]), ID)
    assert abs(report.splits.test / report.rows - 0.4) < 0.06
    held = versions.values(report, "age", "spend", "plan")
    assert not held["train"] & held["test"]


def test_another_seed_counts_for_new_rows_only(dataset):
    rows = customers()
    before = versions.part_of(look(dataset, rows, ID), "customer")
    new = customers(500, 1).assign(customer=lambda held: held.customer + 500_000)
    second = look(dataset, new, ID, name="b.csv", split={"fractions": FRACTIONS, "seed": 5})
    after = versions.part_of(second, "customer")
    assert {who: after[who] for who in before} == before
    assert second.quality.moved_rows == 0


@pytest.mark.parametrize(
    "fractions,moved,train",
    [
        ({"train": 0.7, "validation": 0.1, "test": 0.2}, True, 0.7),
        ({"train": 0.2, "validation": 0.1, "test": 0.7}, False, 0.5),
    ],
    ids=["more for training", "less for training"],
)
def test_other_fractions_are_a_new_version_that_says_how_many_rows_moved(dataset, fractions, moved, train):
    rows = customers(4000)
    first = look(dataset, rows, ID)
    second = look(dataset, rows, ID, split={"fractions": fractions})
    assert (first.outcome, second.outcome) == ("Frozen", "Frozen")
    assert first.digest != second.digest
    before, after = versions.part_of(first, "customer"), versions.part_of(second, "customer")
    assert sum(before[who] != after[who] for who in before) == second.quality.moved_rows
    assert (second.quality.moved_rows > 0) == moved
    assert abs(second.splits.train / 4000 - train) < 0.03
    assert look(dataset, rows, ID, split={"fractions": fractions}).outcome == "Unchanged"
    # Rows that come later are divided as the spec says.
    third = look(
        dataset, customers(4000, 1).assign(customer=lambda new: new.customer + 500_000), ID, name="b.csv",
        split={"fractions": fractions},
    )  # fmt: skip
    assert abs((third.splits.train - second.splits.train) / 4000 - fractions["train"]) < 0.03


def test_a_row_that_left_and_comes_back_has_its_old_part_after_two_versions(dataset):
    rows = customers()
    before = versions.part_of(look(dataset, rows, ID), "customer")
    look(dataset, rows[500:], ID)
    look(dataset, rows[500:].assign(age=1), ID, split={"fractions": FRACTIONS, "seed": 9})
    last = look(dataset, rows, ID, split={"fractions": FRACTIONS, "seed": 9})
    assert versions.part_of(last, "customer") == before


def test_a_row_that_left_is_known_again_though_rows_are_told_apart_by_other_columns_since(dataset):
    rows = customers().drop(columns="customer")
    first = look(dataset, rows)
    second = look(dataset, rows[500:], split={"fractions": FRACTIONS, "seed": 9})
    plan = {"name": "plan", "type": "Category", "role": "Ignore"}
    third = look(dataset, rows[500:], plan, split={"fractions": FRACTIONS, "seed": 9})
    last = look(dataset, rows, plan, split={"fractions": FRACTIONS, "seed": 9})
    ever = set[object]().union(*(versions.values(each, "age", "spend")["train"] for each in (first, second, third)))
    assert not ever & versions.values(last, "age", "spend")["test"]


def test_a_row_that_left_before_there_was_an_id_is_known_again_by_its_features(dataset):
    rows = customers().drop(columns="customer")
    first = look(dataset, rows)
    with_ids = rows.assign(customer=range(len(rows)))
    how = {"split": {"fractions": FRACTIONS, "seed": 9}}
    look(dataset, with_ids[500:], ID, **how)
    last = look(dataset, with_ids, ID, **how)
    names = ("age", "spend", "plan")
    assert not versions.values(first, *names)["train"] & versions.values(last, *names)["test"]
    assert last.splits.test > 100


def test_a_version_of_long_ago_that_is_gone_from_the_store_stops_nothing(dataset):
    rows = customers().drop(columns="customer")
    first = look(dataset, rows)
    look(dataset, rows[500:])
    shutil.rmtree(first.uri.removeprefix("file://"))
    last = look(dataset, rows[500:], {"name": "plan", "type": "Category", "role": "Ignore"})
    assert last.outcome == "Frozen"


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_memory_that_is_damaged_stops_the_next_version_instead_of_dividing_anew(dataset, damage):
    first = look(dataset, customers(), ID)
    path = dataset.folder / "store" / first.uri.split("/store/")[1] / history.ASSIGNMENT_FILE
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"x")
    second = look(dataset, customers(1200), ID)
    assert second.outcome == "Failed"
    assert second.reason == ("StoreUnavailable" if damage == "gone" else "DigestMismatch")


def test_what_is_too_much_to_remember_is_never_tested_on(dataset, monkeypatch):
    monkeypatch.setattr(forgotten, "DEPARTED_UNITS", 100)
    monkeypatch.setattr(forgotten, "_FILTER_BYTES", 4096)
    rows = customers(2000)
    how = {"split": {"fractions": FRACTIONS}}
    first = look(dataset, rows, ID, **how)
    look(dataset, rows[:200], ID, **how)
    look(dataset, rows[:100], ID, **how)
    how = {"split": {"fractions": FRACTIONS, "seed": 77}}
    last = look(dataset, rows, ID, **how)
    assert not versions.values(first, "customer")["train"] & versions.values(last, "customer")["test"]
    assert last.splits.test > 100


@pytest.mark.parametrize("fields", [[], [ID]], ids=["no id", "an id"])
def test_a_version_of_an_older_operator_is_read_and_its_copies_come_together(dataset, fields):
    chance = np.random.default_rng(1)
    rows = pd.concat([customers(600), customers(200)], ignore_index=True)
    if not fields:
        rows = rows.drop(columns="customer")
    part = chance.choice(versions.PARTS, len(rows), p=[0.5, 0.2, 0.3]).tolist()
    types = [{"name": "age", "type": "Int64"}, {"name": "spend", "type": "Float64"}, {"name": "plan", "type": "String"}]
    dataset.previous = versions.frozen_by_an_older_operator(dataset.folder, rows, part, [*fields, *types, LABEL])
    new = customers(300, 2).assign(customer=lambda held: held.customer + 500_000)[rows.columns]
    report = look(dataset, pd.concat([rows, new]), *fields)
    assert report.outcome == "Frozen", report.message
    names = ["customer"] if fields else ["age", "spend", "plan"]
    keys = list(rows[names].itertuples(index=False, name=None))
    after = {
        tuple(row): name for name, held in versions.parts(report).items() for row in held[names].to_numpy().tolist()
    }
    best = {
        key: min((p for k, p in zip(keys, part, strict=True) if k == key), key=versions.PARTS.index) for key in keys
    }
    assert {key: after[key] for key in best} == best
    assert report.quality.moved_rows == sum(best[key] != was for key, was in zip(keys, part, strict=True))
    again = look(dataset, pd.concat([rows, new]), *fields)
    assert again.outcome == "Unchanged"


def test_a_version_that_repeats_an_older_one_forgets_nothing(dataset):
    rows = customers()
    first = look(dataset, rows[:500], ID)
    second = look(dataset, rows, ID)
    assert look(dataset, rows[:500], ID).digest == first.digest
    last = look(dataset, rows, ID, split={"fractions": FRACTIONS, "seed": 9})
    assert versions.part_of(last, "customer") == versions.part_of(second, "customer")


def test_the_part_of_a_row_is_the_same_in_every_dataset_with_its_seed(dataset, tmp_path):
    other = type(dataset)(tmp_path / "other")
    rows = customers(2000)
    few = versions.part_of(look(dataset, rows[::2], ID), "customer")
    every = versions.part_of(look(other, rows.assign(age=1), ID), "customer")
    assert {who: every[who] for who in few} == few


def test_a_report_is_the_same_as_what_stands_in_the_store(dataset):
    report = look(dataset, customers(), ID)
    assert dataclasses.asdict(versions.quality(report)) == dataclasses.asdict(report.quality)
