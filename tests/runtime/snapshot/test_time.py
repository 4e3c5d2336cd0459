"""Time: the newest rows are tested on, and what was trained on is never tested on as time goes by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from data_kit import versions

LABEL = {"name": "y", "type": "Int64", "role": "Label"}
ID = {"name": "id", "type": "Int64", "role": "Id"}
WHEN = {"name": "when", "type": "Timestamp", "role": "EventTime"}


def days(first, count, per_day=10):
    chance = np.random.default_rng(first)
    rows = count * per_day
    when = pd.Timestamp("2025-01-01") + pd.to_timedelta(first + np.arange(rows) // per_day, unit="D")
    return pd.DataFrame(
        {
            "id": np.arange(rows) + first * per_day,
            "when": when,
            "x": chance.normal(size=rows),
            "y": chance.integers(0, 2, rows),
        }
    )


def look(dataset, rows, *fields, name="a.csv", **split):
    dataset.write(name, rows.to_csv(index=False))
    fields = fields or (ID, WHEN)
    return dataset.look(schema={"fields": [LABEL, *fields]}, split={"method": "Time", **split})


@pytest.mark.parametrize(
    "fields,split",
    [
        ((ID, WHEN), {}),
        ((ID, WHEN), {"field": "when"}),
        ((ID, {**WHEN, "role": "Feature"}), {"field": "when"}),
        ((ID,), {"field": "when"}),
    ],
    ids=["the event time", "the event time by name", "a feature", "an inferred column"],
)
def test_the_newest_rows_are_tested_on_and_the_oldest_trained_on(dataset, fields, split):
    report = look(dataset, days(0, 100), *fields, **split)
    held = {name: rows.when for name, rows in versions.parts(report).items()}
    assert held["train"].max() < held["validation"].min()
    assert held["validation"].max() < held["test"].min()
    assert (report.splits.train, report.splits.validation, report.splits.test) == (800, 100, 100)


@pytest.mark.parametrize("kind", ["Int64", "Float64"])
def test_a_number_may_be_the_time(dataset, kind):
    rows = days(0, 100).assign(when=lambda held: held.id // 10 + 1900)
    report = look(dataset, rows, ID, {**WHEN, "type": kind})
    assert versions.parts(report)["test"].when.min() == 1990


def test_one_moment_is_never_divided(dataset):
    report = look(dataset, days(0, 7, 100))
    versions.part_of(report, "when")
    assert min(report.splits.train, report.splits.test) > 0


def test_as_time_goes_by_old_test_rows_are_trained_on_and_never_the_other_way(dataset):
    first = look(dataset, days(0, 100))
    second = look(dataset, days(100, 50), name="b.csv")
    third = look(dataset, days(150, 10), name="c.csv")
    assert second.quality.moved_rows == 200
    for earlier, later in ((first, second), (second, third), (first, third)):
        assert versions.values(earlier, "id")["train"] <= versions.values(later, "id")["train"]
        assert not versions.values(earlier, "id")["train"] & versions.values(later, "id")["test"]
    newest = versions.parts(third)["test"].when.min()
    assert all((rows.when < newest).all() for name, rows in versions.parts(third).items() if name != "test")
    assert abs(third.splits.test / 1600 - 0.1) < 0.02


def test_rows_that_come_late_are_trained_on(dataset):
    look(dataset, days(0, 100))
    late = days(10, 1).assign(id=lambda rows: rows.id + 90_000, x=7.5)
    second = look(dataset, late, name="late.csv")
    assert set(late.id.map(str)) <= versions.values(second, "id")["train"]


def test_a_trained_row_whose_time_is_set_forward_stays_trained_on(dataset):
    rows = days(0, 100)
    first = look(dataset, rows)
    moved = rows.assign(
        when=rows.when.where(rows.id % 7 > 0, pd.Timestamp("2030-01-01") + pd.to_timedelta(rows.id, unit="h"))
    )
    second = look(dataset, moved)
    assert not versions.values(first, "id")["train"] & versions.values(second, "id")["test"]
    assert second.splits.test > 0


@pytest.mark.parametrize("then", [{"method": "Time"}, {"method": "Random"}, {"method": "Stratified", "field": "y"}])
@pytest.mark.parametrize("now", [{"method": "Random"}, {"method": "Stratified", "field": "y"}, {"method": "Time"}])
def test_another_method_never_tests_on_what_was_trained_on(dataset, then, now):
    first = look(dataset, days(0, 100), **then)
    second = look(dataset, days(100, 20), name="b.csv", **now)
    assert not versions.values(first, "id")["train"] & versions.values(second, "id")["test"]
    assert second.splits.test > 0


def test_rows_of_one_id_go_with_its_newest_row(dataset):
    rows = days(0, 100).assign(id=lambda held: held.id % 500)
    report = look(dataset, rows)
    versions.part_of(report, "id")
    held = {name: rows.groupby("id").when.max() for name, rows in versions.parts(report).items()}
    assert held["train"].max() <= held["test"].min()
    assert report.quality.shared_rows == 1000


def test_a_row_is_an_id_at_a_time_where_both_are_ids(dataset):
    rows = days(0, 100).assign(id=lambda held: held.id % 10)
    report = look(dataset, rows, ID, {**WHEN, "role": "Id"}, field="when")
    assert (report.splits.train, report.splits.test, report.quality.shared_rows) == (800, 100, 0)


@pytest.mark.parametrize(
    "rows,fields,split,said",
    [
        (days(0, 9), (ID,), {"field": "ghost"}, 'divided by column "ghost", which is not frozen'),
        (days(0, 9), (ID,), {"field": "y"}, "which is the label: no time"),
        (days(0, 9).assign(when="soon"), (ID,), {"field": "when"}, "which is a String: no time"),
        (days(0, 9), (ID, {**WHEN, "role": "Ignore"}), {"field": "when"}, 'column "when", which is not frozen'),
        (days(0, 9), (ID,), {}, "no column says when they happened"),
        (days(0, 9).assign(when=lambda held: held.when.where(held.id > 3)), (ID, WHEN), {}, "is missing in 4 rows"),
    ],
)
def test_a_column_that_is_no_time_is_refused_by_name(dataset, rows, fields, split, said):
    report = look(dataset, rows, *fields, **split)
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert said in report.message


@pytest.mark.parametrize("column,said", [("ghost", "is not frozen"), ("when", "is not frozen"), ("y", "is the label")])
def test_a_column_that_cannot_group_is_refused_by_name(dataset, column, said):
    report = look(dataset, days(0, 9), ID, {**WHEN, "role": "Ignore"}, method="Random", groupBy=[column])
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert f'grouped by column "{column}", which {said}' in report.message
