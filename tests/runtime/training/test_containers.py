"""The three containers: what they may see, how they end, and the story's numbers against a real object store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from data_kit import data, gateway, tasks
from run_kit import runs

from millrace.contract.report import EXIT_INFRASTRUCTURE
from millrace_runtime.snapshot import __main__ as snapshot
from millrace_runtime.training import __main__ as training

MODULE = "millrace_runtime.training"
BOOSTING = "sklearn.ensemble.GradientBoostingClassifier"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with gateway.running(tmp_path_factory.mktemp("store")) as served:
        yield served


def stages(folder, task, store):
    """Run the pod; only fetch and evaluate get credentials. Returns the last container's end."""
    for stage in ("fetch", "train", "evaluate"):
        credentials = {} if stage == "train" else store.environment()
        code, message, log = tasks.contained(partial(training.main, [stage]), task, folder, **credentials)
        if code:
            return stage, code, message, log
    return stage, code, message, log


def look(store, folder, previous=None):
    fields = [{"name": "visited", "type": "Bool", "role": "Label", "nullable": False}]
    task = {
        "namespace": "ml", "name": "visits", "storeUri": "s3://lake/millrace", "format": "CSV", "previous": previous,
        "source": {"storageUri": "s3://lake/visits/"}, "schema": {"mode": "Infer", "fields": fields},
        "split": {
            "method": "Stratified", "field": "visited", "seed": 7,
            "fractions": {"train": 0.7, "validation": 0.1, "test": 0.2},
        },
    }  # fmt: skip
    code, report, _ = tasks.contained(snapshot.main, task, folder, **store.environment())
    assert (code, report["outcome"]) == (0, "Frozen")
    return report


def run_on(version, number, champion=None):
    return {
        "namespace": "ml", "run": f"visits-{number}", "runUid": f"uid-{number}", "seed": 1, "parameters": {},
        "dataset": {"name": "visits", "version": number, "digest": version["digest"], "uri": version["uri"]},
        "trainer": runs.builtin(BOOSTING) | {"resourcesPerNode": {"limits": {"memory": "1Gi"}}},
        "evaluation": {"metrics": ["roc_auc", "log_loss"], "gates": [{"name": "g", "metric": "roc_auc"}]},
        "output": {"modelName": "visits", "approvalPolicy": {"required": 0}}, "champion": champion,
        "storeUri": "s3://lake/millrace",
    }  # fmt: skip


@pytest.mark.programs
def test_the_story_a_champion_decays_on_new_data_and_a_new_model_recovers(store, tmp_path):
    low, high = data.slices()
    store.files.pipe_file("lake/visits/a.csv", low.to_csv(index=False).encode())
    version = look(store, tmp_path)
    _, code, first, _ = stages(tmp_path / "a", run_on(version, 1), store)
    assert (code, first["outcome"]) == (0, "Succeeded")
    store.files.pipe_file("lake/visits/b.csv", high.to_csv(index=False).encode())
    previous = {"uri": version["uri"], "digest": version["digest"], "sourceDigest": version["sourceDigest"]}
    both = look(store, tmp_path, previous)
    champion = {
        "name": "visits-1",
        "storageUri": first["artifact"]["storageUri"],
        "digest": first["artifact"]["digest"],
    }
    _, code, second, _ = stages(tmp_path / "b", run_on(both, 2, champion), store)
    assert (code, second["outcome"]) == (0, "Succeeded")
    was = float(first["metrics"][0]["value"])
    champion_now = float(second["championMetrics"][0]["value"])
    now = float(second["metrics"][0]["value"])
    assert was > 0.66
    assert champion_now < was - 0.03
    assert now > champion_now + 0.03
    assert store.files.exists(second["cardUri"])


@pytest.mark.programs
def test_the_trainer_never_has_a_test_row(store, tmp_path):
    store.files.pipe_file("lake/visits/a.csv", data.slices()[0].to_csv(index=False).encode())
    version = look(store, tmp_path)
    code, _, _ = tasks.contained(partial(training.main, ["fetch"]), run_on(version, 1), tmp_path, **store.environment())
    assert code == 0
    held = tmp_path / "work" / "data"
    assert sorted(path.name for path in held.iterdir()) == ["schema.json", "train.parquet", "validation.parquet"]
    rows = sum(len(pd.read_parquet(held / f"{name}.parquet")) for name in ("train", "validation"))
    assert rows == version["rows"] - version["splits"]["test"]


@pytest.mark.parametrize(
    "change,stage,code,reason",
    [
        ({"parameters": {"trees": "9"}}, "train", 2, "UnknownParameter"),
        ({"trainer": runs.builtin("sklearn.svm.SVC")}, "train", 2, "UnknownEstimator"),
        ({"trainer": runs.builtin("sklearn.linear_model.Ridge", "Regression"), "evaluation": {"metrics": ["r2"]}},
         "fetch", 2, "LabelNotSuitable"),
        ({"parameters": {"min_samples_split": "10000000", "max_features": "0.0000001", "init": "zero"}}, "train", 2,
         "UnknownParameter"),
        ({"dataset": {"name": "v", "version": 1, "digest": "sha256:" + "0" * 64, "uri": "s3://lake/none/"}}, "fetch", 2,
         "SourceNotFound"),
    ],
)  # fmt: skip
@pytest.mark.programs
def test_a_run_that_cannot_succeed_ends_with_a_named_reason(store, tmp_path, change, stage, code, reason):
    store.files.pipe_file("lake/visits/a.csv", data.slices()[0].head(400).to_csv(index=False).encode())
    if store.files.exists("lake/visits/b.csv"):
        store.files.rm("lake/visits/b.csv")
    version = look(store, tmp_path)
    ended, exit_code, message, _ = stages(tmp_path, run_on(version, 1) | change, store)
    assert (ended, exit_code, message["stage"], message["reason"]) == (stage, code, stage, reason)


@pytest.mark.programs
def test_a_store_that_is_down_is_worth_another_try(store, tmp_path):
    version = {"digest": "sha256:" + "0" * 64, "uri": "s3://lake/none/"}
    with gateway.down(tmp_path) as dead:
        code, message, _ = tasks.contained(
            partial(training.main, ["fetch"]), run_on(version, 1), tmp_path, **dead.environment()
        )
    assert (code, message["reason"]) == (EXIT_INFRASTRUCTURE, "StoreUnavailable")
    assert "again" not in message["message"], "whether it is tried again is not for this container to say"


def test_an_estimator_that_raises_leaves_its_last_line_and_no_traceback(tmp_path):
    bench = runs.Bench(tmp_path)
    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"x": chance.normal(size=200), "label": -chance.random(200)})
    bench.freeze(rows, label="Float64")
    task = bench.task("crash", trainer=runs.builtin("sklearn.linear_model.PoissonRegressor", "Regression"))
    assert tasks.contained(partial(training.main, ["fetch"]), task, tmp_path)[0] == 0
    code, message, _ = tasks.contained(partial(training.main, ["train"]), task, tmp_path)
    assert (code, message["stage"], message["reason"]) == (2, "train", "TrainerCrashed")
    assert message["message"].startswith("ValueError: Some value(s) of y are out of the valid range")


X = {"name": "x", "type": "Float64"}
LABEL = {"name": "label", "type": "Int64", "role": "Label", "nullable": True}
REGRESSION = {"trainer": runs.builtin("sklearn.linear_model.Ridge", "Regression")}


@pytest.mark.parametrize(
    "labels,fields,changes,reason",
    [
        ([0, 1], [X, {**LABEL, "role": "Feature"}], {}, "LabelMissing"),
        ([0, 1], [X, {**LABEL, "role": "Ignore"}], {}, "LabelMissing"),
        ([0, 1], [X, {**LABEL, "type": "Float64"}], {}, "LabelNotSuitable"),
        (["2024-01-01", "2024-01-02"], [X, {**LABEL, "type": "Timestamp"}], {}, "LabelNotSuitable"),
        (["a", "b"], [X, {**LABEL, "type": "Category"}], REGRESSION, "LabelNotSuitable"),
        ([True, False], [X, {**LABEL, "type": "Bool"}], REGRESSION, "LabelNotSuitable"),
        ([0, 1], [{**X, "role": "Id"}, LABEL], {}, "FeatureMissing"),
        ([0, 1], [{**X, "role": "Ignore"}, LABEL], {}, "FeatureMissing"),
        ([None, None], [X, LABEL], {}, "SourceEmpty"),
        ([1, 1], [X, LABEL], {}, "OneClass"),
        ([None, 1], [X, LABEL], {}, "OneClass"),
    ],
)
def test_each_reason_has_one_meaning(tmp_path, labels, fields, changes, reason):
    bench = runs.Bench(tmp_path)
    rows = pd.DataFrame({"x": np.arange(100) + 0.5, "label": pd.Series(labels * 50, dtype=object)})
    bench.freeze(rows, label="", schema={"mode": "Strict", "fields": fields})
    for stage in ("fetch", "train"):
        code, message, _ = tasks.contained(partial(training.main, [stage]), bench.task("a", **changes), tmp_path)
        if code:
            break
    assert (code, message.get("reason")) == (2, reason)


def test_one_class_is_nothing_to_learn(tmp_path):
    bench = runs.Bench(tmp_path)
    bench.freeze(pd.DataFrame({"x": range(100), "label": 1}), label="Int64")
    assert tasks.contained(partial(training.main, ["fetch"]), bench.task("one"), tmp_path)[0] == 0
    code, message, _ = tasks.contained(partial(training.main, ["train"]), bench.task("one"), tmp_path)
    assert (code, message["reason"]) == (2, "OneClass")
    assert "same value" in message["message"]


def test_a_dataset_without_a_label_is_refused_before_training(tmp_path):
    bench = runs.Bench(tmp_path)
    bench.freeze(pd.DataFrame({"x": range(100), "label": 1}), label="Int64", schema={"mode": "Infer"})
    code, message, _ = tasks.contained(partial(training.main, ["fetch"]), bench.task("none"), tmp_path)
    assert (code, message["reason"]) == (2, "LabelMissing")


@pytest.mark.parametrize("written,reason", [(None, "NoModelWritten"), (b"a pickle, perhaps", "NotOnnx")])
def test_an_evaluation_that_fails_is_a_verdict(tmp_path, written, reason):
    bench = runs.Bench(tmp_path)
    bench.freeze(pd.DataFrame({"x": range(100), "label": [0, 1] * 50}), label="Int64")
    if written is not None:
        (tmp_path / "work" / "model").mkdir(parents=True)
        (tmp_path / "work" / "model" / "model.onnx").write_bytes(written)
    code, message, _ = tasks.contained(partial(training.main, ["evaluate"]), bench.task("bad"), tmp_path)
    assert (code, message["outcome"], message["reason"]) == (0, "Failed", reason)


@pytest.mark.parametrize(
    "task,said",
    [
        ("[]", "expected an object"),
        ({"namespace": "ml"}, "run: required"),
        (json.dumps(run_on({"digest": "d", "uri": "u"}, 1) | {"trainer": {}}), "trainer.builtin: required"),
        (json.dumps(run_on({"digest": "d", "uri": "u"}, 1) | {"parameters": {"a": 1}}), "parameters.a: expected str"),
        (
            json.dumps(run_on({"digest": "d", "uri": "u"}, 1) | {"evaluation": {"metrics": ["r2"]}}),
            "'r2' is not one of",
        ),
    ],
)
def test_a_task_of_another_version_is_named(tmp_path, task, said):
    code, message, _ = tasks.contained(partial(training.main, ["train"]), task, tmp_path)
    assert (code, message["reason"]) == (2, "MalformedReport")
    assert said in message["message"]


def test_fetching_loads_nothing_that_only_training_needs(tmp_path):
    """Each of them is half a second of processor time, and more memory than the rest of the container."""
    loaded = "import sys; from millrace_runtime.training import __main__, fetch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert {"pandas", "sklearn", "onnx", "matplotlib", "scipy"} & set(done.stdout.split()) == set()


def test_the_three_containers_as_the_image_starts_them(tmp_path):
    bench = runs.Bench(tmp_path)
    bench.freeze(data.bundled("breast_cancer"), label="Int64")
    ends = [tasks.in_a_process(MODULE, bench.task("own"), tmp_path, stage) for stage in ("fetch", "train", "evaluate")]
    assert [end[0] for end in ends] == [0, 0, 0]
    assert ends[2][1]["outcome"] == "Succeeded"
    assert "Warning" not in "".join(end[2] for end in ends)


@pytest.mark.timeout(90)
def test_what_others_left_where_scratch_files_go_is_no_setting(tmp_path):
    """Pipes where matplotlib would look for its settings and its list of fonts: read, they are waited for."""
    bench = runs.Bench(tmp_path)
    bench.freeze(pd.DataFrame({"x": np.arange(200) + 0.5, "label": [0, 1] * 100}), label="Int64")
    bench.train("own")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("matplotlibrc", "fontlist-v390.json", "fontlist-v3110.json"):
        os.mkfifo(scratch / name)
    (tmp_path / "work").symlink_to(bench.volume("own").root)
    code, message, log = tasks.in_a_process(
        MODULE, bench.task("own"), tmp_path, "evaluate", TMPDIR=str(scratch), HOME=str(scratch)
    )
    assert (code, message.get("outcome")) == (0, "Succeeded"), log


def test_an_unknown_stage_prints_the_usage(tmp_path):
    code, _, log = tasks.contained(partial(training.main, ["serve"]), "{}", tmp_path)
    assert (code, log) == (64, "usage: python -m millrace_runtime.training fetch|train|evaluate\n")
