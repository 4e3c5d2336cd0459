"""The parts of a model's file are counted, and what the model asks for is memory that somebody else needs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from run_kit import graphs

from millrace_runtime.outcome import StageError
from millrace_runtime.training import examine, scoring, vetting, wire

MIB = 1024 * 1024


# ----------------------------------------------------------------------------------------------- parts of a message


def field(number, payload):
    return helper_varint(number << 3 | 2) + helper_varint(len(payload)) + payload


def helper_varint(value):
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if not value:
            return bytes([*out, byte])
        out.append(byte | 0x80)


HALF_A_MILLION = 500_000
AMPLIFIED = {
    "nodes": field(7, field(1, b"") * HALF_A_MILLION),
    "attributes": field(7, field(1, field(5, b"") * HALF_A_MILLION)),
    "tensors": field(7, field(5, b"") * HALF_A_MILLION),
    "inputs": field(7, field(11, b"") * HALF_A_MILLION),
    "value descriptions": field(7, field(13, b"") * HALF_A_MILLION),
    "metadata": field(14, b"") * HALF_A_MILLION,
    "opsets": field(8, b"") * HALF_A_MILLION,
    "functions": field(25, b"") * HALF_A_MILLION,
    "dimensions": field(7, field(11, field(2, field(1, field(2, field(1, b"") * HALF_A_MILLION))))),
}


VET_EACH = """
import json, os, resource, sys
from millrace_runtime.outcome import StageError
from millrace_runtime.training import vetting

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

for path in sys.argv[1:]:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        continue
    reason, data = None, open(path, "rb").read()
    before = used()
    try:
        vetting.vet(data)
    except StageError as error:
        reason = error.reason
    print(json.dumps([reason, used() - before]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def vetted(tmp_path_factory):
    """By what is amplified: the reason, and MiB needed at most; each by a fork of a process that has all it needs."""
    folder = tmp_path_factory.mktemp("amplified")
    paths = [folder / what for what in AMPLIFIED]
    for path in paths:
        path.write_bytes(AMPLIFIED[path.name])
    done = subprocess.run(
        [sys.executable, "-c", VET_EACH, *map(str, paths)], capture_output=True, timeout=120, check=True
    )
    return dict(zip(AMPLIFIED, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("what", AMPLIFIED)
def test_a_megabyte_of_empty_parts_is_refused_before_it_is_parsed(vetted, what):
    reason, mib = vetted[what]
    assert reason == "ModelTooLarge"
    assert mib < 24


def test_parts_within_parts_without_end_are_no_model():
    data = b""
    for _ in range(200):
        data = field(6, data)
    nested = field(7, field(1, field(5, data)))
    with pytest.raises(StageError) as caught:
        vetting.vet(nested)
    assert caught.value.reason == "NotOnnx"


@pytest.mark.parametrize(
    "data",
    [b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\x05a", b"\x0b\x0c", b"\x08", b"\x0d\x01", b"\xff" * 12],
)
def test_a_length_that_lies_is_no_model(data):
    with pytest.raises(wire.MalformedError):
        wire.check(data, onnx.ModelProto.DESCRIPTOR, 10, {})


def test_a_forest_is_counted_in_seconds_and_is_a_model():
    many = 300_000
    node = helper.make_node("TreeEnsembleRegressor", ["numeric"], ["prediction"], domain="ai.onnx.ml")
    node.attribute.append(helper.make_attribute("nodes_treeids", list(range(many))))
    node.attribute.append(helper.make_attribute("nodes_values", [0.5] * many))
    node.attribute.append(helper.make_attribute("nodes_modes", ["BRANCH_LEQ"] * many))
    model = graphs.classifier()
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    began = time.process_time()
    vetting.vet(model.SerializeToString())
    assert time.process_time() - began < 10


def test_the_evaluator_parses_nothing_itself(monkeypatch):
    monkeypatch.setattr(onnx.ModelProto, "FromString", lambda _: pytest.fail("parsed here"), raising=False)
    facts = examine.examine(graphs.classifier().SerializeToString())
    assert (facts.opset, facts.inputs) == (18, {"numeric": "FLOAT"})


# --------------------------------------------------------------------------------------------- what a model asks for


def graph(nodes, constants, output=(None, 1)):
    made = helper.make_graph(
        nodes,
        "greedy",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, list(output))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


_FIRST = [
    helper.make_node("ReduceMax", ["numeric"], ["most"], keepdims=0),
    helper.make_node("Cast", ["most"], ["count"], to=TensorProto.INT64),
    helper.make_node("Unsqueeze", ["count", "zero"], ["size"]),
]
_LAST = [
    helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
    helper.make_node("ReduceSum", ["numeric", "one"], ["row"], keepdims=1),
    helper.make_node("Add", ["row", "sum"], ["prediction"]),
]
_COUNTS = {"zero": np.array([0]), "one": np.array([1]), "unit": np.array([1.0], np.float32),
           "units": np.array([0.0, 1.0], np.float32)}  # fmt: skip
SIZED_BY_VALUES = {
    "ConstantOfShape": [helper.make_node("ConstantOfShape", ["size"], ["big"])],
    "Expand": [helper.make_node("Expand", ["unit", "size"], ["big"])],
    "Tile": [helper.make_node("Tile", ["unit", "size"], ["big"])],
    "Range": [helper.make_node("Range", ["nought", "count", "step"], ["wide"]),
              helper.make_node("Cast", ["wide"], ["big"], to=TensorProto.FLOAT)],
    "OneHot": [helper.make_node("OneHot", ["zero", "size", "units"], ["big"])],
    "Pad": [helper.make_node("Concat", ["zero", "size"], ["pads"], axis=0),
            helper.make_node("Pad", ["unit", "pads"], ["big"])],
    "Slice": [helper.make_node("Slice", ["many", "zero", "size"], ["big"])],
    "TopK": [helper.make_node("TopK", ["many", "size"], ["big", "places"])],
    "Split": [helper.make_node("Split", ["many", "size"], ["big"])],
    "Reshape": [helper.make_node("Reshape", ["many", "size"], ["big"])],
    "Squeeze": [helper.make_node("Squeeze", ["many", "size"], ["big"])],
    "Unsqueeze": [helper.make_node("Unsqueeze", ["many", "size"], ["big"])],
    "ReduceMean": [helper.make_node("ReduceMean", ["many", "size"], ["big"])],
}  # fmt: skip
_MORE = {"nought": np.array(0), "step": np.array(1), "many": np.zeros(1000, np.float32)}
LAUNDERED = {
    "chosen from a list": [helper.make_node("Gather", ["sizes", "size"], ["wanted"])],
    "one of two": [helper.make_node("Greater", ["size", "zero"], ["is"]),
                   helper.make_node("Where", ["is", "sizes", "zero"], ["wanted"])],
    "a place": [helper.make_node("ArgMax", ["numeric"], ["place"], axis=0, keepdims=0),
                helper.make_node("Mul", ["place", "sizes"], ["wanted"])],
    "through text": [helper.make_node("Cast", ["size"], ["text"], to=TensorProto.STRING),
                     helper.make_node("Cast", ["text"], ["wanted"], to=TensorProto.INT64)],
}  # fmt: skip


@pytest.mark.parametrize("operator", SIZED_BY_VALUES)
def test_a_size_that_a_callers_values_decide_is_refused(operator):
    with pytest.raises(StageError) as caught:
        vetting.vet(graph([*_FIRST, *SIZED_BY_VALUES[operator], *_LAST], _COUNTS | _MORE))
    assert caught.value.reason == "OperatorNotAllowed"
    assert f"an operator {operator} whose size its input's values decide" in caught.value.message


@pytest.mark.parametrize("way", LAUNDERED)
def test_a_size_that_follows_from_values_in_any_way_is_refused(way):
    nodes = [*_FIRST, *LAUNDERED[way], helper.make_node("ConstantOfShape", ["wanted"], ["big"]), *_LAST]
    with pytest.raises(StageError, match="ConstantOfShape whose size its input's values decide"):
        vetting.vet(graph(nodes, _COUNTS | {"sizes": np.array([1, 2**33])}))


STANDARD = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
NOT_SERVED = sorted(STANDARD - vetting.OPERATORS[""])


@pytest.mark.parametrize("operator", NOT_SERVED)
def test_operators_that_make_much_of_little_or_something_of_chance_are_not_served(operator):
    """Loop, Scan, Resize, NonZero, RandomNormal, ConcatFromSequence: what is not on the list is not served."""
    with pytest.raises(StageError) as caught:
        vetting.vet(graph([helper.make_node(operator, ["numeric"], ["big"]), *_LAST], _COUNTS))
    assert caught.value.reason == "OperatorNotAllowed"


def test_a_size_that_follows_from_a_shape_is_served():
    nodes = [
        helper.make_node("Shape", ["numeric"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["zeros", "numeric"], ["sum"]),
        helper.make_node("ReduceSum", ["sum", "one"], ["prediction"], keepdims=1),
    ]
    vetting.vet(graph(nodes, {"one": np.array([1])}))


GREEDY = {
    "a constant of a gigabyte": [helper.make_node("ConstantOfShape", ["size"], ["big"]), *_LAST],
    "a constant spread over rows": [
        helper.make_node("Expand", ["unit", "size"], ["wide"]),
        helper.make_node("ReduceSum", ["numeric", "one"], ["row"], keepdims=1),
        helper.make_node("Mul", ["row", "wide"], ["big"]),
        helper.make_node("ReduceSum", ["big", "one"], ["prediction"], keepdims=1),
    ],
}


@pytest.mark.parametrize("what", GREEDY)
def test_a_model_that_takes_more_memory_than_a_run_may_is_named_and_costs_none(what):
    size = {"a constant of a gigabyte": [2**28], "a constant spread over rows": [1, 2**21]}[what]
    model = graph(GREEDY[what], _COUNTS | {"size": np.array(size)})
    vetting.vet(model)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises(scoring.ScoringError, match=r"takes more than 512 MiB|alloc"):
        scoring.score(model, {"test": {"numeric": np.ones((300, 2), np.float32)}})
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert max(after - before, 0) / 1024 < 900


def test_one_long_text_among_many_rows_costs_its_own_length():
    texts = np.array(["a"] * 1500, dtype=object).reshape(-1, 1)
    texts[7, 0] = "x" * 40_000
    held = scoring.stored({"test/categorical": texts})
    assert sum(array.nbytes for array in held.values()) < 100_000
    back = scoring.restored(held)["test/categorical"]
    assert back.shape == (1500, 1)
    assert back.tolist() == texts.tolist()


def test_texts_count_as_what_they_take():
    texts = np.array([["x" * 1000], ["y" * 24]], dtype=object)
    assert scoring._size(texts) == 1024 + texts.nbytes


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", ["more#text", "#shape", "../../etc/x", "a/b", "a b\u2028", "test/0"])
def test_an_output_may_have_any_name(name):
    model = graphs.classifier()
    model.graph.node.append(helper.make_node("Identity", ["probabilities"], [name]))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]))
    answers = scoring.score(model.SerializeToString(), {"test": {"numeric": np.ones((3, 2), np.float32)}})
    assert answers.outputs["test"][name].shape == (3, 2)


@pytest.mark.parametrize("texts", [[], [""], ["", "ü", "日本", "#text", "a\x00b", "\u2028"]])
def test_texts_travel_as_they_are(texts):
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    back = scoring.restored(scoring.stored({"a": array}))["a"]
    assert back.ravel().tolist() == texts
