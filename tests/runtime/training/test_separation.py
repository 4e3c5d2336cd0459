"""A run is refused when rows that it would be tested on were given to its trainer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from data_kit import tasks, versions
from run_kit import runs

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError

pytestmark = pytest.mark.usefixtures("one_process")

LABEL = {"name": "y", "type": "Int64", "role": "Label"}
FEATURES = [{"name": name, "type": "Float64"} for name in "abc"]


def noise(count=300, seed=0):
    chance = np.random.default_rng(seed)
    rows = pd.DataFrame(chance.normal(size=(count, 3)), columns=list("abc")).assign(y=chance.integers(0, 2, count))
    return rows.assign(id=range(count))


def bench_on(bench, rows, part, ids=False):
    fields = [*FEATURES, *([{"name": "id", "type": "Int64", "role": "Id"}] if ids else []), LABEL]
    columns = [field["name"] for field in fields]
    bench.frozen = versions.frozen_by_an_older_operator(bench.folder, rows[columns], part, fields)
    return bench


def refused(bench):
    bench.train("one")
    with pytest.raises(StageError) as caught:
        bench.evaluate("one")
    return caught.value


def parts(count, seed=3):
    return np.random.default_rng(seed).choice(versions.PARTS, count, p=[0.7, 0.1, 0.2]).tolist()


def test_copies_that_an_older_operator_put_into_both_parts_end_the_run_by_name(bench):
    rows = pd.concat([noise()] * 8, ignore_index=True)
    part = parts(len(rows))
    error = refused(bench_on(bench, rows, part))
    assert (error.reason, error.retry) == (Reason.TEST_ROWS_TRAINED, False)
    tested = part.count("test")
    assert f"{tested} of {tested} test rows of version 1 of churn were given to the trainer too" in error.message


@pytest.mark.parametrize("place", ["train", "validation"])
def test_one_row_that_the_trainer_was_given_is_enough(bench, place):
    rows = noise()
    rows = pd.concat([rows, rows[rows.index == 7].assign(y=lambda held: 1 - held.y)], ignore_index=True)
    part = ["train" if at % 3 else "test" for at in range(300)]
    part[7], part[8] = "test", "validation"
    error = refused(bench_on(bench, rows, [*part, place]))
    assert error.message.startswith("1 of 101 test rows")
    assert "by their features" in error.message


def test_an_id_in_both_parts_ends_the_run_although_its_features_differ(bench):
    rows = pd.concat([noise(), noise(seed=1)[:5]], ignore_index=True)
    part = ["train" if at % 3 else "test" for at in range(300)] + ["train"] * 5
    error = refused(bench_on(bench, rows, part, ids=True))
    assert error.message.startswith("2 of 100 test rows")
    assert "by their Id" in error.message


def test_rows_with_the_same_features_under_other_ids_are_other_rows(bench):
    rows = pd.concat([noise(), noise().assign(id=lambda held: held.id + 1000)], ignore_index=True)
    part = ["train" if at % 3 else "test" for at in range(300)] + ["train"] * 300
    bench_on(bench, rows, part, ids=True)
    assert bench.run("one").outcome == "Succeeded"


def test_the_next_version_of_such_a_dataset_is_measured(bench):
    rows = pd.concat([noise(), noise(100)], ignore_index=True).drop(columns="id")
    bench_on(bench, rows, parts(len(rows)))
    assert refused(bench).reason == Reason.TEST_ROWS_TRAINED
    bench.freeze(rows, label="Int64", schema={"fields": [LABEL]})
    assert bench.run("two").outcome == "Succeeded"


@pytest.mark.parametrize("split", [{}, {"groupBy": ["a"]}, {"method": "Stratified", "field": "y"}])
def test_a_version_of_ours_always_passes(bench, split):
    rows = pd.concat([noise()] * 3, ignore_index=True).assign(a=lambda held: held.a.round(1))
    dataset = tasks.Dataset(bench.folder)
    dataset.write("rows.csv", rows.drop(columns="id").to_csv(index=False))
    bench.frozen = dataset.look(schema={"fields": [LABEL]}, split=split)
    assert bench.run("one").outcome == "Succeeded"


def test_noise_in_eight_copies_is_no_longer_known_by_heart(bench):
    rows = pd.concat([noise()] * 8, ignore_index=True).drop(columns="id")
    bench.freeze(rows.rename(columns={"y": "label"}), label="Int64")
    tree = runs.builtin("sklearn.tree.DecisionTreeClassifier")
    report = bench.run("tree", trainer=tree, evaluation={"metrics": ["roc_auc"]})
    assert float(report.metrics[0].value) < 0.7
