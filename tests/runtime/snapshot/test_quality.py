"""What a version's report says of its rows: copies, contradictions, near copies, and features that know the label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from data_kit import versions

ID = {"name": "id", "type": "Int64", "role": "Id"}
HALF = {"fractions": {"train": 0.5, "validation": 0.0, "test": 0.5}}


def rows_of(count=2000, features=5, seed=0):
    chance = np.random.default_rng(seed)
    made = pd.DataFrame(chance.normal(size=(count, features)), columns=[f"x{at}" for at in range(features)])
    return made.assign(id=range(count), y=chance.integers(0, 2, count))


def look(dataset, rows, label="Int64", ids=True, **changes):
    dataset.write("a.csv", rows.to_csv(index=False))
    fields = [{"name": "y", "type": label, "role": "Label"}, *([ID] if ids else [])]
    report = dataset.look(**({"schema": {"fields": fields}, "split": HALF} | changes))
    assert report.outcome == "Frozen", report.message
    return report.quality


def test_clean_rows_have_nothing_to_report(dataset):
    found = look(dataset, rows_of())
    assert found.to_dict() == {
        "duplicateRows": 0, "conflictingRows": 0, "sharedRows": 0, "copiedRows": 0, "nearCopiedRows": 0, "movedRows": 0,
        "comparedHeldOut": found.compared_held_out, "comparedTrain": found.compared_train, "leakageSuspects": [],
    }  # fmt: skip
    assert found.compared_held_out + found.compared_train == 2000


def test_rows_that_repeat_others_are_counted(dataset):
    rows = rows_of(500)
    twice = pd.concat([rows, rows[:100].assign(id=rows.id[:100] + 5000), rows[:50].assign(id=rows.id[:50] + 9000)])
    found = look(dataset, twice)
    assert found.duplicate_rows == 150
    assert found.conflicting_rows == 0
    assert 20 < found.copied_rows < 130


def test_rows_that_contradict_others_are_counted(dataset):
    rows = rows_of(500)
    found = look(dataset, pd.concat([rows, rows[:100].assign(id=rows.id[:100] + 5000, y=1 - rows.y[:100])]))
    assert (found.duplicate_rows, found.conflicting_rows) == (0, 200)


def test_rows_without_a_label_contradict_nobody(dataset):
    rows = rows_of(500)
    found = look(dataset, pd.concat([rows, rows[:100].assign(id=rows.id[:100] + 5000, y=None)]))
    assert found.conflicting_rows == 0


def test_rows_that_share_an_id_are_counted(dataset):
    assert look(dataset, rows_of(500).assign(id=lambda rows: rows.id % 400)).shared_rows == 200


@pytest.mark.parametrize("copies,found", [("one feature differs", True), ("rounded", True), ("two differ", False)])
def test_a_copy_with_one_other_feature_or_rounded_is_near_and_one_with_two_is_not(dataset, copies, found):
    rows = rows_of(600)
    twin = rows.assign(id=rows.id + 5000)
    if copies == "rounded":
        twin = twin.assign(**{name: twin[name] * (1 + 1e-6) for name in ("x0", "x1", "x2", "x3", "x4")})
    else:
        twin = twin.assign(x1=twin.x1 + 1, **({"x3": twin.x3 - 1} if copies == "two differ" else {}))
    near = look(dataset, pd.concat([rows, twin])).near_copied_rows
    # Of the twins about half are in the other part.
    assert (250 < near < 350) if found else near == 0


def test_three_features_are_too_few_to_leave_one_out(dataset):
    rows = rows_of(600, features=3)
    assert look(dataset, pd.concat([rows, rows.assign(id=rows.id + 5000, x1=rows.x1 + 1)])).near_copied_rows == 0


@pytest.mark.parametrize(
    "label,kind,feature",
    [
        (lambda x: (x > 0.5).astype(int), "Int64", lambda x, y: y),
        (lambda x: x > 0.5, "Bool", lambda x, y: np.where(y, "yes", "no")),
        (lambda x: (x > 0.5).astype(int), "Int64", lambda x, y: -y * 100.0),
        (lambda x: (x > 0.5).astype(int), "Int64", lambda x, y: np.where(y == 1, np.nan, x)),
        (lambda x: (x > 0.5).astype(int), "Int64", lambda x, y: np.where(y, x % 0.3 + 1, np.sign(x) * 5)),
        (lambda x: np.where(x < -1, "low", np.where(x < 1, "mid", "high")), "Category", lambda x, y: x),
        (lambda x: x * 3 + 7, "Float64", lambda x, y: y * 2),
        (np.exp, "Float64", lambda x, y: x),
        (lambda x: np.round(x * 100).astype(int), "Int64", lambda x, y: x),
        (lambda x: np.round(x) * 10.5, "Float64", lambda x, y: np.round(x).astype(int).astype(str)),
    ],
    ids=[
        "the label itself", "the label as text", "the label turned round", "missing where true", "in the middle",
        "three classes", "another unit", "another scale", "a whole number", "a code",
    ],
)  # fmt: skip
def test_a_feature_that_knows_the_label_is_named_with_its_number(dataset, label, kind, feature):
    rows = rows_of()
    hidden = np.random.default_rng(5).normal(size=len(rows))
    truth = label(hidden)
    found = look(dataset, rows.assign(y=truth, told=feature(hidden, truth)), label=kind).leakage_suspects
    assert [one.field for one in found] == ["told"]
    assert found[0].measure == ("R2" if kind == "Float64" or len(set(truth)) > 20 else "AUC")
    assert 0.99 <= float(found[0].value) <= 1


@pytest.mark.parametrize("ids", [True, False])
def test_columns_of_distinct_values_and_strong_but_honest_features_are_not_suspected(dataset, ids):
    rows = rows_of()
    chance = np.random.default_rng(6)
    honest = rows.y + chance.normal(0, 0.6, len(rows))
    named = [f"customer {number}" for number in range(len(rows))]
    assert look(dataset, rows.assign(name=named, honest=honest), ids=ids).leakage_suspects == ()


def test_too_few_rows_are_never_suspected(dataset):
    rows = rows_of(30)
    assert look(dataset, rows.assign(told=rows.y)).leakage_suspects == ()


def test_the_report_names_five_and_the_store_all(dataset):
    rows = rows_of(400)
    found = look(dataset, rows.assign(**{f"told{at}": rows.y for at in range(9)}))
    assert len(found.leakage_suspects) == 5
    assert len(versions.quality(dataset.previous).leakage_suspects) == 9
