"""What the evaluator measures, writes and refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from run_kit import graphs, runs
from sklearn import metrics as reference

from millrace.contract.golden import GoldenSet
from millrace.contract.profile import Profile
from millrace_runtime import store
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import evaluate, features, metrics, subject

pytestmark = pytest.mark.usefixtures("one_process")


def session(model):
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def failure(call, *arguments, **changes):
    with pytest.raises(StageError) as caught:
        call(*arguments, **changes)
    return caught.value


def test_a_run_is_measured_in_this_process_as_in_processes_of_their_own(trained):
    """`trained` was evaluated as in the pod; `one_process` may not change what the other tests here look at."""
    apart = trained.reports["first"]
    names = ("golden.json", "profile.json", "card.html")
    before = {name: trained.artifact("first", name).read_bytes() for name in names}
    assert trained.evaluate("first") == apart
    assert {name: trained.artifact("first", name).read_bytes() for name in names} == before


def test_a_run_leaves_five_files_and_says_where(trained):
    report = trained.reports["first"]
    folder = trained.artifact("first", "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.html", "golden.json", "model.onnx", "profile.json", "report.json",
    ]  # fmt: skip
    assert report.artifact.digest == manifest.of_bytes(store.read_bytes(report.artifact.storage_uri))
    assert report.signature.inputs[0].to_dict() == {"name": "numeric", "datatype": "FP32", "shape": [-1, 30]}
    assert report.signature.inputs[1].to_dict() == {"name": "categorical", "datatype": "BYTES", "shape": [-1, 1]}
    assert 9 <= report.opset <= 21


def test_the_metrics_are_those_of_the_served_file_on_the_test_rows(trained):
    report = trained.reports["first"]
    version = manifest.load(trained.frozen.uri, trained.frozen.digest)
    layout = features.layout(version.fields, classification=True)
    rows = trained.part("test")
    served = session(store.read_bytes(report.artifact.storage_uri))
    labels, probabilities = served.run(["label", "probabilities"], features.of(rows, layout))
    truth = features.targets(rows, layout.label, classification=True)
    want = {
        "roc_auc": reference.roc_auc_score(truth, probabilities[:, 1]),
        "accuracy": reference.accuracy_score(truth, labels),
        "f1": reference.f1_score(truth, labels),
        "log_loss": -np.log(probabilities[np.arange(len(truth)), truth]).mean(),
        "brier": reference.brier_score_loss(truth, probabilities[:, 1]),
    }
    got = {each.name: float(each.value) for each in report.metrics}
    assert got == pytest.approx(want, rel=1e-5, abs=1e-6)
    assert {each.split for each in report.metrics} == {"test"}


def test_the_golden_set_has_64_rows_with_gaps_and_is_reproduced(trained):
    held = GoldenSet.from_json(trained.artifact("first", "golden.json").read_bytes())
    numeric, categorical = held.request["inputs"]
    assert (numeric["shape"], categorical["shape"]) == ([64, 30], [64, 1])
    assert None in numeric["data"]
    assert "" in categorical["data"]
    served = session(trained.artifact("first", "model.onnx").read_bytes())
    inputs = {
        "numeric": np.array([np.nan if x is None else x for x in numeric["data"]], np.float32).reshape(64, 30),
        "categorical": np.array(categorical["data"], dtype=object).reshape(64, 1),
    }
    for output, got in zip(held.response["outputs"], served.run(None, inputs), strict=True):
        assert output["shape"] == list(got.shape)
        assert np.allclose(np.array(output["data"]).reshape(got.shape), got, atol=1e-6)


def test_the_golden_set_is_strict_json(trained):
    text = trained.artifact("first", "golden.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_the_reference_profile_counts_the_train_rows_in_the_servers_bins(trained):
    held = Profile.from_json(trained.artifact("first", "profile.json").read_bytes())
    version = manifest.load(trained.frozen.uri, trained.frozen.digest)
    rows = trained.part("train")
    layout = features.layout(version.fields, classification=True)
    tensors = features.of(rows, layout)
    assert held.rows == rows.num_rows
    assert [feature.name for feature in held.features] == [*layout.numeric, *layout.categorical]
    for feature in held.features:
        bins = [feature.bin_of(value) for value in tensors[feature.input][:, feature.index].tolist()]
        assert list(feature.counts) == np.bincount(bins, minlength=feature.bins).tolist()
    assert [(output.name, output.tensor, output.index) for output in held.outputs] == [
        ("label", "label", 0),
        ("probabilities.1", "probabilities", 1),
    ]
    assert all(sum(output.counts) == rows.num_rows for output in held.outputs)


def test_the_card_stands_alone(trained):
    page = trained.artifact("first", "card.html").read_text()
    assert page.count("<img") == 3
    assert "roc_auc" in page
    assert trained.frozen.digest in page
    assert "http" not in page
    assert "<script" not in page
    assert len(page) < 400_000


def test_three_classes_are_measured_one_against_the_rest(wine):
    report = wine.run("wine", trainer=runs.builtin("sklearn.ensemble.GradientBoostingClassifier"))
    got = {each.name: float(each.value) for each in report.metrics}
    assert set(got) == {"roc_auc", "accuracy", "f1", "log_loss", "brier"}
    assert got["roc_auc"] > 0.9
    assert [each.datatype for each in report.signature.outputs] == ["BYTES", "FP32"]


def test_a_regressor_is_measured_by_distance(diabetes):
    report = diabetes.run("ridge", trainer=runs.builtin(runs.REGRESSOR, "Regression"))
    got = {each.name: float(each.value) for each in report.metrics}
    assert set(got) == {"rmse", "mae", "r2"}
    assert 0.2 < got["r2"] < 0.9
    assert [each.to_dict() for each in report.signature.outputs] == [
        {"name": "prediction", "datatype": "FP32", "shape": [-1, 1]}
    ]


def test_the_champion_is_measured_on_the_same_rows(trained):
    report = trained.run("second", champion=trained.champion("first"), seed=2)
    assert report.champion_metrics == trained.reports["first"].metrics
    assert "champion" in trained.artifact("second", "card.html").read_text()


def test_a_champion_with_other_columns_is_read_in_its_own_order(trained, bench):
    first = trained.champion("first")
    rows = pd.read_csv(trained.dataset.source / "rows.csv")
    bench.freeze(rows[list(reversed(rows.columns))].assign(extra=1.0), label="Int64")
    report = bench.run("wider", champion=first)
    assert report.signature.inputs[0].shape == (-1, 31)
    assert float(report.champion_metrics[0].value) > 0.95


@pytest.mark.parametrize(
    "change,said",
    [
        ({"storageUri": "file:///nowhere/model.onnx"}, "does not exist in the store"),
        ({"digest": "sha256:" + "0" * 64}, "does not have digest"),
    ],
)
def test_a_champion_that_cannot_be_measured_fails_the_run_by_name(trained, change, said):
    trained.train("third")
    error = failure(trained.evaluate, "third", champion=trained.champion("first") | change)
    assert (error.reason, error.retry) == ("EvaluationFailed", False)
    assert said in error.message
    assert "The champion churn-first" in error.message


def test_a_champion_larger_than_a_model_may_be_is_not_read(trained, tmp_path):
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(2**40)
    champion = trained.champion("first") | {"storageUri": (tmp_path / "model.onnx").as_uri()}
    error = failure(trained.evaluate, "third", champion=champion)
    assert error.reason == "EvaluationFailed"
    assert "ModelTooLarge" in error.message


def test_a_champion_that_reads_a_column_which_is_gone_is_named(trained, bench):
    rows = pd.read_csv(trained.dataset.source / "rows.csv").drop(columns=["mean radius"])
    bench.freeze(rows, label="Int64")
    bench.train("narrow")
    error = failure(bench.evaluate, "narrow", champion=trained.champion("first"))
    assert 'reads column "mean radius", which the dataset does not have' in error.message


@pytest.fixture
def plain(bench):
    """Two numbers and a label that depends on them."""
    chance = np.random.default_rng(3)
    rows = pd.DataFrame(chance.normal(size=(400, 2)), columns=["a", "b"])
    bench.freeze(rows.assign(label=(rows.a + chance.normal(size=400) > 0).astype(int)), label="Int64")
    bench.fetch("own")
    bench.volume("own").model.mkdir(parents=True)
    return bench


def test_a_model_of_the_users_own_is_measured_like_any_other(plain):
    plain.volume("own").model.joinpath("model.onnx").write_bytes(graphs.classifier().SerializeToString())
    report = plain.evaluate("own")
    assert report.outcome == "Succeeded"
    assert {each.name: each.value for each in report.metrics}["roc_auc"] == "0.500000"


@pytest.mark.parametrize(
    "make,reason,said",
    [
        (lambda: b"not a model", "NotOnnx", "cannot be parsed"),
        (lambda: graphs.classifier(width=3).SerializeToString(), "EvaluationFailed", "the model wants ('FP32', 3)"),
        (lambda: b"", "NotOnnx", "no ONNX graph"),
    ],
)
def test_a_model_that_does_not_suit_the_dataset_is_refused(plain, make, reason, said):
    plain.volume("own").model.joinpath("model.onnx").write_bytes(make())
    error = failure(plain.evaluate, "own")
    assert (error.reason, said in error.message) == (reason, True)


def test_a_model_that_the_runtime_cannot_load_is_named(plain):
    model = graphs.classifier()
    model.graph.node[0].input[1] = "nothing"
    plain.volume("own").model.joinpath("model.onnx").write_bytes(model.SerializeToString())
    assert failure(plain.evaluate, "own").reason == "ModelNotLoadable"


def test_a_run_that_wrote_nothing_is_named(plain):
    assert failure(plain.evaluate, "own").reason == "NoModelWritten"


def test_rows_the_trainer_changed_on_the_volume_change_nothing(plain):
    plain.volume("own").model.joinpath("model.onnx").write_bytes(graphs.classifier().SerializeToString())
    before = plain.evaluate("own").metrics
    for path in plain.volume("own").data.iterdir():
        path.write_bytes(b"tampered")
    plain.volume("own").model.joinpath("train.json").write_bytes(b"[" * 60_000)
    assert plain.evaluate("own").metrics == before


def test_test_rows_changed_in_the_store_are_noticed(plain):
    plain.volume("own").model.joinpath("model.onnx").write_bytes(graphs.classifier().SerializeToString())
    path = plain.folder / "store" / plain.frozen.uri.split("/store/")[1] / "test.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert failure(plain.evaluate, "own").reason == "DigestMismatch"


def test_one_class_among_the_test_rows_has_no_roc_auc():
    truth, column = np.zeros(5, np.int64), np.full((5, 2), 0.5)
    with pytest.raises(metrics.Undefined, match="with and without class 1"):
        metrics.classification(["roc_auc"], truth, truth, column, [0, 1])


def test_metrics_of_three_classes_agree_with_scikit_learn():
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 3, 300)
    column = chance.dirichlet([1, 1, 1], 300)
    labels = column.argmax(axis=1)
    got = metrics.classification(["roc_auc", "f1", "log_loss", "accuracy", "brier"], truth, labels, column, [0, 1, 2])
    assert got["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, column, multi_class="ovr", average="macro"))
    assert got["f1"] == pytest.approx(reference.f1_score(truth, labels, average="macro"))
    assert got["log_loss"] == pytest.approx(reference.log_loss(truth, column))
    assert got["brier"] == pytest.approx(np.mean(((np.eye(3)[truth] - column) ** 2).sum(axis=1)))


@pytest.mark.parametrize("value,text", [(0.5, "0.500000"), (0.0, "0.000000"), (1e-7, "1e-07"), (-2.25, "-2.250000")])
def test_decimals_fit_the_status_schema(value, text):
    assert metrics.decimal(value) == text


def test_the_words_of_the_metadata_are_checked():
    model = graphs.classifier()
    entry = model.metadata_props.add()
    entry.key, entry.value = "millrace.numeric", '{"not": "a list"}'
    layout = features.Layout(("a", "b"), (), None, {"a": None, "b": None})
    assert failure(subject.from_bytes, model.SerializeToString(), layout, [0, 1]).reason == "NotOnnx"


def test_evaluate_reads_the_version_that_was_pinned_and_no_other(plain):
    changed = {"name": "churn", "version": 1, "digest": "sha256:" + "1" * 64, "uri": plain.frozen.uri}
    plain.volume("own").model.joinpath("model.onnx").write_bytes(graphs.classifier().SerializeToString())
    error = failure(evaluate.evaluate, plain.read("own", dataset=changed), plain.volume("own"))
    assert error.reason == "DigestMismatch"
