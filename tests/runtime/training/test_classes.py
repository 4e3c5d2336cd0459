"""Candidate and champion are held against one set of classes, compared by value; or the run fails and says why."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from run_kit import graphs, runs
from sklearn import metrics as reference

from millrace_runtime.outcome import StageError
from millrace_runtime.training import classes, measure, metrics
from millrace_runtime.training.subject import Subject

pytestmark = pytest.mark.usefixtures("one_process")

TREE = {"trainer": runs.builtin("sklearn.tree.DecisionTreeClassifier")}


def rows(labels, seed=5):
    """Rows of which the label is the place where `x` lies."""
    chance = np.random.default_rng(seed)
    places = np.arange(600) % len(labels)
    return pd.DataFrame({"x": places + chance.uniform(0.1, 0.9, 600), "label": [labels[at] for at in places]})


def against(tmp_path, before, before_type, after, after_type, **changes):
    """A run on `after`, whose champion was trained on `before`."""
    old, new = runs.Bench(tmp_path / "old"), runs.Bench(tmp_path / "new")
    old.freeze(before, before_type)
    old.run("first", **TREE)
    new.freeze(after, after_type)
    return new.run("second", champion=old.champion("first"), **TREE, **changes)


def values(measurements):
    return {each.name: float(each.value) for each in measurements}


@pytest.mark.parametrize(
    "before,before_type,after,after_type",
    [
        ([0, 1], "Int64", ["0", "1"], "Category"),
        (["0", "1"], "Category", [0, 1], "Int64"),
        ([0, 1], "Int64", ["0", "1"], "String"),
        ([False, True], "Bool", [0, 1], "Int64"),
        ([0, 1], "Int64", [False, True], "Bool"),
        ([False, True], "Bool", ["False", "True"], "Category"),
        ([False, True], "Bool", ["0", "1"], "Category"),
        (["false", "true"], "Category", [False, True], "Bool"),
        ([0, 1], "Int64", ["0.0", "1.0"], "Category"),
        ([2, 10], "Int64", ["2", "10"], "Category"),
        ([-1, 1], "Int64", ["-1", "+1"], "Category"),
        ([1, 2, 3], "Int64", ["1", "2", "3"], "Category"),
    ],
)
def test_a_label_that_is_written_otherwise_is_the_same_label(tmp_path, before, before_type, after, after_type):
    report = against(tmp_path, rows(before), before_type, rows(after, seed=6), after_type)
    mine, theirs = values(report.metrics), values(report.champion_metrics)
    assert theirs["accuracy"] > 0.95
    assert theirs == pytest.approx(mine, abs=0.1)


def test_a_champion_of_other_words_fails_the_run_by_name(tmp_path):
    with pytest.raises(StageError) as caught:
        against(tmp_path, rows([0, 1]), "Int64", rows(["no", "yes"]), "Category")
    assert (caught.value.reason, caught.value.retry) == ("EvaluationFailed", False)
    assert "The champion churn-first cannot be measured" in caught.value.message
    assert "None of its classes (0, 1) is a label of the test rows (no, yes)" in caught.value.message


def test_codes_with_leading_zeros_are_not_the_numbers(tmp_path):
    with pytest.raises(StageError, match=r"classes \(1, 2\) is a label of the test rows \(01, 02\)"):
        against(tmp_path, rows([1, 2]), "Int64", rows(["01", "02"]), "Category")


@pytest.mark.parametrize("before,after", [([0, 1], [0, 1, 2]), ([0, 1, 2], [0, 1]), ([0, 1, 2], [0, 1, 3])])
def test_models_of_different_classes_are_measured_over_the_same(tmp_path, before, after):
    """Both were right wherever they could be: the numbers are those of scikit-learn over one list of classes."""
    report = against(tmp_path, rows(before), "Int64", rows(after, seed=6), "Int64")
    mine, theirs = values(report.metrics), values(report.champion_metrics)
    assert set(mine) == set(theirs)
    assert mine["f1"] > 0.95
    known = len(set(before) & set(after)) / len(after)
    assert theirs["accuracy"] == pytest.approx(known, abs=0.15)
    if known == 1.0:
        assert theirs["f1"] == pytest.approx(mine["f1"], abs=0.05)
        assert theirs["brier"] == pytest.approx(mine["brier"], abs=0.05)
    else:
        assert theirs["f1"] < 0.8


def subject(known):
    return Subject(b"", None, known, 18)


def outputs(labels, probabilities):
    return {"label": np.asarray(labels), "probabilities": np.asarray(probabilities, dtype=np.float32)}


def test_the_numbers_are_those_of_scikit_learn_over_the_union():
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 3, 300)
    binary = chance.uniform(size=300)
    champion, candidate = subject([0, 1]), subject([0, 1, 2])
    by = measure.scale(truth, candidate, champion, classification=True)
    answered = (binary > 0.5).astype(int)
    answer = measure.measure(
        metrics_all := ["f1", "roc_auc", "accuracy", "log_loss", "brier"],
        champion, by, outputs(answered, np.stack([1 - binary, binary], axis=1)), classification=True,
    )  # fmt: skip
    seen = answer.values  # noqa: PD011 - not a frame
    columns = np.stack([1 - binary, binary, np.zeros(300)], axis=1)
    assert set(seen) == set(metrics_all)
    assert seen["f1"] == pytest.approx(reference.f1_score(truth, answered, average="macro", labels=[0, 1, 2]))
    assert seen["roc_auc"] == pytest.approx(
        np.mean([reference.roc_auc_score(truth == each, columns[:, each]) for each in range(3)]), rel=1e-5
    )
    assert seen["brier"] == pytest.approx(np.mean(((np.eye(3)[truth] - columns) ** 2).sum(axis=1)), rel=1e-5)
    assert seen["accuracy"] == pytest.approx(np.mean(truth == answered))


def test_what_a_candidate_is_worth_does_not_depend_on_what_its_champion_knows():
    chance = np.random.default_rng(2)
    truth, sure = chance.integers(0, 2, 200), chance.uniform(size=200)
    candidate = subject([0, 1])
    answers = outputs((sure > 0.5).astype(int), np.stack([1 - sure, sure], axis=1))
    found = []
    for champion in (None, subject([0, 1]), subject([0, 1, 2]), subject(["0", "1"])):
        by = measure.scale(truth, candidate, champion, classification=True)
        scores = measure.measure(["f1", "brier", "roc_auc"], candidate, by, answers, classification=True)
        found.append(scores.measurements())
    assert found[0] == found[1] == found[2] == found[3]


def test_an_answer_that_no_row_can_have_is_a_wrong_one():
    truth = np.array([0, 1] * 50)
    champion = subject([0, 1, 2])
    by = measure.scale(truth, subject([0, 1]), champion, classification=True)
    answers = outputs([2] * 100, [[0.1, 0.2, 0.7]] * 100)
    seen = measure.measure(["accuracy"], champion, by, answers, classification=True)
    assert [each.value for each in seen.measurements()] == ["0.000000"]


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    made = runs.Bench(tmp_path_factory.mktemp("binary"))
    made.freeze(rows([0, 1]).assign(y=1.0), "Int64")
    return made


def own(bench, run, model, **metadata):
    """A run whose trainer left `model`, which says `metadata` of itself."""
    bench.fetch(run)
    bench.volume(run).model.mkdir(parents=True, exist_ok=True)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"millrace.{key}", json.dumps(value)
    bench.volume(run).model.joinpath("model.onnx").write_bytes(model.SerializeToString())
    return bench.evaluate(run)


@pytest.fixture(scope="module")
def plain(binary):
    """The report on the plain classifier, evaluated as in the pod."""
    return own(binary, "plain", graphs.classifier())


@pytest.mark.parametrize("known", [[0, 0], [True, 1], [1.0, 1], ["1", 1], [False, 0], ["a", "a"], [-0.0, 0]], ids=str)
def test_a_model_that_names_a_class_twice_is_refused(binary, known):
    with pytest.raises(StageError, match="names a class twice"):
        own(binary, "twice", graphs.classifier(), classes=known)


@pytest.mark.parametrize(
    "known", [[None, 1], [[0], [1]], {"0": 1}, "01", [{"a": 1}], None, 2, ["\ud800", "1"]], ids=str
)
def test_classes_that_are_none_are_refused(binary, known):
    with pytest.raises(StageError, match=r"millrace\.classes is not a list of what it should be"):
        own(binary, "odd", graphs.classifier(), classes=known)


@pytest.mark.parametrize(
    "known", [[0, 1], [False, True], ["0", "1"], [0.0, 1.0], ["false", True], [False, "1.0"]], ids=str
)
@pytest.mark.parametrize("kind", ["INT64", "INT32", "FLOAT", "DOUBLE", "BOOL", "STRING"])
def test_a_model_may_write_its_classes_and_its_labels_as_it_likes(binary, plain, known, kind):
    report = own(binary, "written", answering(kind), classes=known)
    assert report.metrics == plain.metrics


def answering(kind):
    """The plain classifier, its label cast."""
    model = graphs.classifier()
    model.graph.node[2].output[0] = "place"
    model.graph.node.append(helper.make_node("Cast", ["place"], ["label"], to=getattr(TensorProto, kind)))
    model.graph.output[0].type.tensor_type.elem_type = getattr(TensorProto, kind)
    return model


def test_a_model_that_answers_none_of_its_classes_is_refused_by_both_names(binary):
    model = graphs.classifier()
    model.graph.node[2].output[0] = "place"
    model.graph.initializer.append(numpy_helper.from_array(np.array(7), "seven"))
    model.graph.node.append(helper.make_node("Add", ["place", "seven"], ["label"]))
    with pytest.raises(StageError, match=r"answers label 7, which is none of its classes \(0, 1\)"):
        own(binary, "foreign", model)


@pytest.mark.parametrize(
    "operator,constant,said",
    [("Add", 0.5, "sum is 2"), ("Mul", 2.0, "sum is 2"), ("Sub", 0.25, "sum is 0.5"), ("Mul", 0.0, "sum is 0")],
)
def test_numbers_that_are_no_probabilities_are_worth_nothing(binary, operator, constant, said):
    """Two certainties a row are a log loss of 0."""
    model = graphs.classifier()
    model.graph.node[1].output[0] = "shares"
    model.graph.node[2].input[0] = "shares"
    model.graph.initializer.append(numpy_helper.from_array(np.array(constant, np.float32), "by"))
    model.graph.node.append(helper.make_node(operator, ["shares", "by"], ["probabilities"]))
    with pytest.raises(StageError, match=f"no probabilities: their {said}"):
        own(binary, "shares", model)


@pytest.mark.parametrize(
    "value,text",
    [
        (True, "1"),
        (np.bool_(False), "0"),
        (1, "1"),
        (1.0, "1"),
        (np.float32(2.0), "2"),
        (1.5, "1.5"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_a_class_is_written_as_what_it_says(value, text):
    assert classes.plain(value) == text


def test_texts_that_would_become_one_class_stay_two():
    key = classes.key([["1", "1.0"], [1, 2]])
    assert [key("1"), key("1.0"), key(1)] == ["1", "1.0", "1"]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(), st.booleans(), st.text(max_size=4)), max_size=6), st.lists(st.text(max_size=4))
)
def test_no_two_classes_of_one_side_are_ever_written_the_same(one, other):
    key = classes.key([one, other])
    for side in (one, other):
        assert len({key(value) for value in side}) == len({classes.plain(value) for value in side})


def test_numbers_come_in_order_of_size_and_before_texts():
    assert classes.ordered(["10", "b", "2", "-1", "a", "2"]) == ["-1", "2", "10", "a", "b"]


def test_one_class_more_in_the_brier_score_is_one_squared_probability_more():
    truth = np.array(["a", "b", "c"], dtype=object)
    column, further = np.full((3, 3), 0.25), np.full((3, 1), 0.25)
    without = metrics.classification(["brier"], truth, truth, column, ["a", "b", "c"])["brier"]
    assert metrics.classification(["brier"], truth, truth, column, ["a", "b", "c"], further)["brier"] == pytest.approx(
        without + 0.0625
    )
