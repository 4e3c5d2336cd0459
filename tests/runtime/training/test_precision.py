"""A number reaches the model as it was written: in 64 bits where 32 would change it, or not at all and by name."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pandas as pd
import pytest
from run_kit import graphs, runs
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from millrace.contract.dataset import Field, FieldType, Role
from millrace.contract.golden import GoldenSet
from millrace.contract.profile import Profile
from millrace_runtime.outcome import StageError
from millrace_runtime.training import estimators, features, fit, precision

pytestmark = pytest.mark.usefixtures("one_process")

TREE, LINEAR = "sklearn.tree.DecisionTreeClassifier", "sklearn.linear_model.LogisticRegression"


def frozen(tmp_path, values, kind, count=600):
    """One column whose last figure alone says what the label is."""
    places = np.arange(count) % len(values)
    rows = pd.DataFrame({"x": [values[at] for at in places], "y": np.random.default_rng(0).normal(size=count),
                         "label": places % 2})  # fmt: skip
    fields = [{"name": "label", "type": "Int64", "role": "Label"}, {"name": "x", "type": kind}]
    bench = runs.Bench(tmp_path)
    bench.freeze(rows, "Int64", schema={"mode": "Infer", "fields": fields})
    return bench


def accuracy(report):
    return {each.name: float(each.value) for each in report.metrics}["accuracy"]


CLOSE = {
    "dates as numbers": ([20240101, 20240102, 20240103, 20240104], "Int64"),
    "just beyond 24 bits": ([16777216, 16777217, 16777218, 16777219], "Int64"),
    "seconds since 1970": ([1_700_000_000, 1_700_000_001, 1_700_000_002, 1_700_000_003], "Int64"),
    "milliseconds since 1970": ([1_700_000_000_000 + at for at in range(4)], "Int64"),
    "phone numbers": ([4_930_123_456, 4_930_123_457, 4_930_123_458, 4_930_123_459], "Int64"),
    "negative": ([-20240101, -20240102, -20240103, -20240104], "Int64"),
    "whole numbers with gaps": ([20240101.0, 20240102.0, 20240103.0, 20240104.0], "Float64"),
    "cents of large amounts": ([98765432.25, 98765432.5, 98765432.75, 98765433.0], "Float64"),
    "close together, far from zero": ([1000000.001, 1000000.002, 1000000.003, 1000000.004], "Float64"),
    "instants": ([f"2024-05-01T10:00:0{at}" for at in range(4)], "Timestamp"),
}


@pytest.mark.parametrize("case", CLOSE)
def test_numbers_that_differ_in_their_last_figure_stay_different(tmp_path, case):
    values, kind = CLOSE[case]
    bench = frozen(tmp_path, values, kind)
    report = bench.run("tree", trainer=runs.builtin(TREE))
    assert report.signature.inputs[0].datatype == "FP64"
    assert accuracy(report) == 1.0


def test_what_is_golden_and_counted_has_64_bits_too(tmp_path):
    values, kind = CLOSE["dates as numbers"]
    bench = frozen(tmp_path, values, kind)
    bench.run("tree", trainer=runs.builtin(TREE))
    golden = GoldenSet.from_json(bench.artifact("tree", "golden.json").read_bytes())
    asked = golden.request["inputs"][0]
    assert asked["datatype"] == "FP64"
    assert set(values) <= {value for value in asked["data"] if value is not None}
    profile = Profile.from_json(bench.artifact("tree", "profile.json").read_bytes())
    (counted,) = [feature for feature in profile.features if feature.name == "x"]
    bins = {counted.bin_of(value) for value in values}
    assert len(bins) == 4
    assert all(counted.counts[at] for at in bins)
    assert counted.counts[counted.bin_of(20240105)] == 0


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    """Seconds since 1970, frozen once for all estimators."""
    return frozen(tmp_path_factory.mktemp("seconds"), CLOSE["seconds since 1970"][0], "Int64", count=200)


QUICK = {"MLP": {"max_iter": "60"}, **{part: {"n_estimators": "20"} for part in ("Forest", "ExtraTrees", "Boost")}}


@pytest.mark.parametrize("name", [name for name, each in estimators.ALLOWED.items() if "Poisson" not in name])
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_is_exported_with_numbers_of_64_bits(seconds, name):
    kind = estimators.ALLOWED[name].kind
    quick = next((few for part, few in QUICK.items() if part in name), {})
    model = seconds.train(name, trainer=runs.builtin(name, kind.value), parameters=quick)
    given = {each.name: each.type.tensor_type.elem_type for each in onnx.load_from_string(model).graph.input}
    assert given == {"numeric": onnx.TensorProto.DOUBLE}


@pytest.mark.parametrize(
    "values,kind",
    [
        ([1, 2, 3, 4], "Int64"),
        ([0, 16777215, -16777216, 5], "Int64"),
        ([0.1, 0.25, 1e-3, 7.5], "Float64"),
        ([1e-20, 2.0**70, 3.5, 0.0], "Float64"),
        ([20.1, 36.6, 37.2, 41.9], "Float64"),
        ([0.5, 1.5, 2.5, 3.5], "Float32"),
        ([2**40, 2**41, 2**42, 2**43], "Int64"),
    ],
)
def test_numbers_that_32_bits_hold_are_given_32_bits(tmp_path, values, kind):
    bench = frozen(tmp_path, values, kind, count=200)
    assert bench.run("tree", trainer=runs.builtin(TREE)).signature.inputs[0].datatype == "FP32"


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 1745896523416776709, 2**63 - 1])
def test_a_number_that_no_float_holds_is_refused_by_column_and_value(tmp_path, value):
    bench = frozen(tmp_path, [value, 1, 2, 3], "Int64", count=100)
    with pytest.raises(StageError) as caught:
        bench.train("id")
    assert (caught.value.reason, caught.value.retry) == ("NumberNotExact", False)
    assert f'Column "x" holds {value}' in caught.value.message


def test_a_number_too_large_for_a_tree_is_refused_by_column_and_value(tmp_path):
    bench = frozen(tmp_path, [1e39, 1.0, 2.0, 3.0], "Float64", count=100)
    with pytest.raises(StageError) as caught:
        bench.train("tree", trainer=runs.builtin(TREE))
    assert caught.value.reason == "NumberNotExact"
    assert 'Column "x" holds 1e+39, for which sklearn.tree.DecisionTreeClassifier has no room' in caught.value.message


def test_a_number_too_large_for_32_bits_is_no_obstacle_to_what_is_scaled(tmp_path):
    bench = frozen(tmp_path, [1e39, -1e39, 2e39, 0.0], "Float64", count=200)
    assert bench.run("linear", trainer=runs.builtin(LINEAR)).outcome == "Succeeded"


def test_the_tree_is_scikit_learns_own_where_32_bits_are_enough(tmp_path, cancer):
    """Nothing is centred, and the thresholds are those of the estimator on the raw numbers."""
    model = onnx.load_from_string(cancer.train("raw", trainer=runs.builtin(TREE)))
    assert "Sub" not in [node.op_type for node in model.graph.node]
    assert isinstance(DecisionTreeClassifier(), DecisionTreeClassifier)


def test_a_nearly_singular_model_is_the_one_that_scikit_learn_makes_in_64_bits():
    chance = np.random.default_rng(8)
    first = chance.normal(size=500).astype(np.float32)
    second = (first + chance.normal(size=500) / 2000).astype(np.float32)
    rows = {"numeric": np.stack([first, second], axis=1)}
    label = (first - second) * 2000 + chance.normal(size=500)
    mine = fit.fit(fit.pipeline(Ridge(alpha=1e-3), rows, scaled=True), rows, label)
    wide = rows["numeric"].astype(np.float64)
    plain = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), Ridge(alpha=1e-3)).fit(wide, label)
    assert mine.predict(fit.frame(rows)) == pytest.approx(plain.predict(wide), abs=1e-9)


@pytest.fixture
def own(tmp_path):
    """A volume with a model of the user's own, on dates."""

    def run(data, columns=2):
        bench = frozen(tmp_path, CLOSE["dates as numbers"][0], "Int64", count=200)
        bench.fetch("own")
        bench.volume("own").model.mkdir(parents=True)
        bench.volume("own").model.joinpath("model.onnx").write_bytes(data.SerializeToString())
        return bench

    return run


def test_a_model_of_the_users_own_that_reads_32_bits_is_refused_by_column_and_value(own):
    bench = own(graphs.classifier())
    with pytest.raises(StageError) as caught:
        bench.evaluate("own")
    assert caught.value.reason == "NumberNotExact"
    rounded = {"20240101": "20240100", "20240103": "20240104"}
    said = re.search(r'Column "x" holds (\d+), which the model\'s FP32 input reads as (\d+)', caught.value.message)
    assert said is not None
    assert rounded[said[1]] == said[2]


def test_a_model_of_the_users_own_that_reads_64_bits_is_given_them(own):
    model = graphs.classifier()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["numeric"], ["narrow"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "narrow"
    report = own(model).evaluate("own")
    assert report.signature.inputs[0].datatype == "FP64"


def test_an_input_of_another_type_is_refused_by_name(own):
    model = graphs.classifier()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(StageError, match="input numeric is INT64, but features are fed as FLOAT or DOUBLE"):
        own(model).evaluate("own")


def test_a_champion_of_32_bits_is_measured_as_it_is_served(tmp_path):
    """It was trained before dates came in: what callers send it is rounded, and so are the test rows."""
    old, new = runs.Bench(tmp_path / "old"), runs.Bench(tmp_path / "new")
    for bench, values in ((old, [101, 102, 103, 104]), (new, CLOSE["dates as numbers"][0])):
        frozen_rows = frozen(bench.folder, values, "Int64")
        bench.frozen = frozen_rows.frozen
    old.run("first", trainer=runs.builtin(TREE))
    report = new.run("second", trainer=runs.builtin(TREE), champion=old.champion("first"))
    assert accuracy(report) == 1.0
    assert {each.name: float(each.value) for each in report.champion_metrics}["accuracy"] < 0.9


def layout(**types):
    fields = [Field(name, kind) for name, kind in types.items()]
    return features.layout([*fields, Field("label", FieldType.INT64, Role.LABEL)], classification=True)


@pytest.mark.parametrize(
    "values", [[None, None], [float("nan"), None], [0.0, -0.0], [5e-324, 1.0], [float("inf"), 1.0]]
)
def test_odd_numbers_are_no_obstacle(values):
    import pyarrow as pa

    table = pa.table({"x": pa.array(values, pa.float64())})
    assert precision.needed(table, layout(x=FieldType.FLOAT64)) in (np.float32, np.float64)


def test_the_golden_set_of_infinite_answers_is_json(tmp_path):
    from millrace.contract.report import Signature, Tensor
    from millrace_runtime.training import golden

    signature = Signature((Tensor("numeric", "FP32", (-1, 1)),), (Tensor("prediction", "FP32", (-1, 1)),))
    answers = {"prediction": np.array([[np.inf], [-np.inf], [np.nan], [1.0]], np.float32)}
    made = golden.make({"numeric": np.ones((4, 1), np.float32)}, answers, signature, answers)
    assert json.loads(made.to_json())["response"]["outputs"][0]["data"] == [None, None, None, 1.0]


@pytest.mark.parametrize("scale,offset", [(1.0, 1e9), (1e300, 0.0), (1e-300, 0.0), (1e-3, 20240101.0)])
def test_labels_that_answers_of_32_bits_would_blur_are_refused_by_name_and_value(scale, offset):
    labels = np.random.default_rng(0).normal(size=100) * scale + offset
    with pytest.raises(StageError, match=r'^Label "y" holds .* which 32 bits of an answer would make ') as caught:
        precision.refuse_label("y", labels)
    assert caught.value.reason == "NumberNotExact"
    assert re.search(r"holds (\S+),", caught.value.message)[1] in map(precision.written, labels)


@pytest.mark.parametrize("scale,offset", [(1.0, 1e3), (1e15, 0.0), (1e-30, 0.0), (0.0, 1e9), (0.0, 0.0), (1e-8, 1e9)])
def test_labels_that_answers_of_32_bits_tell_apart_or_that_are_one_are_taken(scale, offset):
    precision.refuse_label("y", np.random.default_rng(0).normal(size=100) * scale + offset)


def test_a_run_on_such_labels_ends_before_anything_is_fitted(tmp_path):
    bench = runs.Bench(tmp_path)
    rows = pd.DataFrame({"x": np.arange(60.0), "label": 1e9 + np.arange(60) / 60})
    bench.freeze(rows, "Float64")
    with pytest.raises(StageError, match='Label "label" holds 10000000'):
        bench.train("far", trainer=runs.builtin(runs.REGRESSOR, "Regression"))
