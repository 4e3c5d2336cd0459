"""A model is fed the Dataset's features and nothing else, whatever it asks for."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from run_kit import graphs, runs

from millrace_runtime.outcome import StageError

pytestmark = pytest.mark.usefixtures("one_process")

FIELDS = [
    {"name": "label", "type": "Int64", "role": "Label"},
    {"name": "customer", "type": "Int64", "role": "Id"},
    {"name": "note", "type": "String", "role": "Ignore"},
    {"name": "income", "type": "Float64", "role": "Sensitive"},
    {"name": "a", "type": "Float64"},
    {"name": "b", "type": "Float64"},
    {"name": "plan", "type": "Category"},
]


@pytest.fixture
def table(bench) -> runs.Bench:
    chance = np.random.default_rng(3)
    rows = pd.DataFrame(chance.normal(size=(400, 2)), columns=["a", "b"])
    rows = rows.assign(
        label=chance.integers(0, 2, 400),
        customer=range(400),
        note="x",
        income=1.5,
        plan=chance.choice(["p", "q"], 400),
    )
    bench.freeze(rows, "Int64", schema={"mode": "Strict", "fields": FIELDS})
    bench.fetch("own")
    bench.volume("own").model.mkdir(parents=True)
    return bench


def says(model, **metadata):
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"millrace.{key}", json.dumps(value)
    return model


def evaluated(bench, model):
    bench.volume("own").model.joinpath("model.onnx").write_bytes(model.SerializeToString())
    return bench.evaluate("own")


def refusal(bench, model) -> StageError:
    with pytest.raises(StageError) as caught:
        evaluated(bench, model)
    return caught.value


def test_a_model_that_asks_for_features_by_name_is_measured(table):
    report = evaluated(table, says(graphs.classifier(), numeric=["b", "a"], categorical=[]))
    assert report.outcome == "Succeeded"


@pytest.mark.parametrize(
    "asked,said",
    [
        ({"numeric": ["label", "a"]}, 'column "label", whose role is Label'),
        ({"numeric": ["a", "customer"]}, 'column "customer", whose role is Id'),
        ({"numeric": ["a", "income"]}, 'column "income", whose role is Sensitive'),
        ({"numeric": ["label"], "categorical": []}, 'column "label", whose role is Label'),
        ({"numeric": ["a", "note"]}, 'column "note", which the dataset does not have'),
        ({"categorical": ["label"]}, 'column "label", whose role is Label'),
        ({"numeric": ["a", "plan"]}, 'column "plan" in its input numeric, but the column is Category'),
        ({"categorical": ["a"]}, 'column "a" in its input categorical, but the column is Float64'),
        ({"numeric": ["a", "c"]}, 'column "c", which the dataset does not have'),
        ({"numeric": ["a", "label "]}, 'column "label ", which the dataset does not have'),
        ({"numeric": ["a", "LABEL"]}, 'column "LABEL", which the dataset does not have'),
        ({"numeric": ["a", "millrace.label"]}, 'column "millrace.label", which the dataset does not have'),
        ({"numeric": ["a", "a"]}, 'column "a" twice'),
        ({"numeric": ["a", "b"], "categorical": ["plan", "plan"]}, 'column "plan" twice'),
        ({"numeric": [], "categorical": []}, "reads no column"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_model_that_asks_for_anything_else_is_refused_by_column_and_role(table, asked, said):
    error = refusal(table, says(graphs.classifier(width=len(asked.get("numeric", "ab"))), **asked))
    assert (error.reason, error.retry) == ("NotAFeature", False)
    assert said in error.message


def test_what_a_model_says_twice_is_taken_as_it_was_said_last(table):
    model = says(says(graphs.classifier(), numeric=["a", "b"], categorical=[]), numeric=["a", "label"])
    assert 'column "label", whose role is Label' in refusal(table, model).message


@pytest.mark.parametrize("place", ["doc_string", "producer_name", "domain", "graph", "node", "input", "name"])
def test_what_else_a_model_says_of_the_label_is_not_read(table, place):
    model = says(graphs.classifier(), numeric=["a", "b"], categorical=[])
    words = '{"millrace.numeric": ["label"]}'
    if place in ("doc_string", "producer_name", "domain"):
        setattr(model, place, words)
    elif place == "graph":
        entry = model.graph.metadata_props.add()
        entry.key, entry.value = "millrace.numeric", '["label"]'
    elif place == "node":
        entry = model.graph.node[0].metadata_props.add()
        entry.key, entry.value = "millrace.numeric", '["label"]'
    elif place == "input":
        model.graph.input[0].doc_string = words
    else:
        model.graph.node[1].doc_string = words
        model.graph.node[1].name = "label"
    report = evaluated(table, model)
    assert [each.name for each in report.signature.inputs] == ["numeric"]
    assert report.signature.inputs[0].shape == (-1, 2)


def test_an_input_that_has_a_value_of_its_own_is_never_fed(table):
    """Such an input may be left out, and is: here it is worth 1, and no row's customer."""
    model = says(graphs.classifier(), numeric=["a", "b"], categorical=[])
    model.graph.input.append(helper.make_tensor_value_info("customer", TensorProto.FLOAT, [1, 1]))
    model.graph.initializer.append(helper.make_tensor("customer", TensorProto.FLOAT, [1, 1], [1.0]))
    model.graph.node[0].output[0] = "plain"
    model.graph.node.insert(1, helper.make_node("Mul", ["plain", "customer"], ["scores"]))
    report = evaluated(table, model)
    assert [each.name for each in report.signature.inputs] == ["numeric"]
    assert report.metrics == evaluated(table, says(graphs.classifier(), numeric=["a", "b"], categorical=[])).metrics


@pytest.mark.parametrize("name,role", [("label", "Label"), ("customer", "Id"), ("elsewhere", None)])
def test_a_graph_with_an_input_of_its_own_is_refused_by_name(table, name, role):
    model = graphs.classifier()
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]))
    error = refusal(table, model)
    assert error.reason == "NotAFeature"
    assert f'input "{name}"' in error.message
    assert role is None or f"a column of role {role}" in error.message


def test_a_champion_that_was_trained_on_the_label_cannot_be_measured(table):
    path = table.folder / "leaky.onnx"
    leaky = says(graphs.classifier(), numeric=["label", "a"], categorical=[]).SerializeToString()
    path.write_bytes(leaky)
    from millrace_runtime.snapshot import manifest

    champion = {"name": "churn-1", "storageUri": path.as_uri(), "digest": manifest.of_bytes(leaky)}
    table.train("mine")
    with pytest.raises(StageError) as caught:
        table.evaluate("mine", champion=champion)
    assert caught.value.reason == "EvaluationFailed"
    assert "The champion churn-1" in caught.value.message
    assert "whose role is Label" in caught.value.message


@pytest.mark.parametrize(
    "value", ["[1]", '["a", 1]', '{"a": 1}', "a", "[" * 2000, '["\\ud800"]', "[null]", '[["a"]]', "[true]", "", '"ab"']
)
def test_words_of_a_model_that_are_no_names_are_refused(table, value):
    model = graphs.classifier()
    entry = model.metadata_props.add()
    entry.key, entry.value = "millrace.numeric", value
    assert refusal(table, model).reason == "NotOnnx"


def test_the_fixture_is_what_it_says(table):
    assert onnx.checker.check_model(graphs.classifier()) is None
