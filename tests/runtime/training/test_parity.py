"""What is served is compared with the estimator it was made of: labels too, and on the scale of the answers."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper, numpy_helper
from run_kit import runs

from millrace_runtime.outcome import StageError
from millrace_runtime.training import estimators, export, fit, parity
from millrace_runtime.training.export import Served
from millrace_runtime.training.features import Layout
from millrace_runtime.training.spec import Builtin, TaskKind

pytestmark = pytest.mark.usefixtures("one_process")

CLASSES = {
    "small": [0, 1, 2],
    "negative": [-5, 0, 7],
    "unordered": [10, 2, 7],
    "beyond FP32": [2**24, 2**24 + 1, 2**24 + 2],
    "beyond 32 bits": [2**31, 2**40, 2**40 + 1],
    "beyond FP64": [2**53, 2**53 + 1, 2**62],
    "words": ["yes", "no", "perhaps ü 日本"],
    "numbers as text": ["1", "2", "10"],
    "spaces": [" a", "a ", "a"],
}
LINEAR, FOREST, BAYES = "linear_model.LogisticRegression", "ensemble.RandomForestClassifier", "naive_bayes.GaussianNB"
RARE = "ensemble.BaggingClassifier"


def table(count=400):
    return {"numeric": np.random.default_rng(4).normal(size=(count, 3)).astype(np.float32)}


def made(name, rows, labels, kind=TaskKind.CLASSIFICATION, **parameters):
    """The pipeline, and its export."""
    allowed = estimators.find(Builtin(f"sklearn.{name}", kind))
    estimator = estimators.make(Builtin(f"sklearn.{name}", kind), parameters, 1)
    fitted = fit.fit(fit.pipeline(estimator, rows, scaled=allowed.scaled), rows, labels)
    served, layout = Served(fitted), Layout(("a", "b", "c"), (), None, {})
    return served, export.to_onnx(served, layout, classification=kind is TaskKind.CLASSIFICATION)


def changed(model, change):
    proto = onnx.load_from_string(model)
    change(proto.graph)
    return proto.SerializeToString()


def behind(graph, output, kind, value):
    """Put an operator with a constant between the graph and its output."""
    for node in graph.node:
        node.output[:] = [f"{output}_before" if name == output else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{output}_constant"))
    graph.node.append(helper.make_node(kind, [f"{output}_before", f"{output}_constant"], [output]))


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """By kind of class: the same rows, frozen once for all estimators."""

    @functools.cache
    def frozen(kind):
        rows = table()["numeric"]
        places = (rows[:, 0] > 0).astype(int) + (rows[:, 1] > 0.5)
        labels = [CLASSES[kind][at] for at in places]
        bench = runs.Bench(tmp_path_factory.mktemp("kind"))
        frame = pd.DataFrame(rows, columns=list("abc")).assign(label=labels)
        bench.freeze(frame, label="Category" if isinstance(labels[0], str) else "Int64")
        return bench

    return frozen


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", [LINEAR, FOREST, BAYES, RARE])
def test_every_kind_of_class_is_served_as_itself(benches, name, kind):
    few = {"parameters": {"n_estimators": "10"}} if name in (FOREST, RARE) else {}
    report = benches(kind).run(name, trainer=runs.builtin(f"sklearn.{name}"), **few)
    got = {each.name: float(each.value) for each in report.metrics}
    assert got["accuracy"] > 0.5


def test_weights_of_large_classes_are_theirs(tmp_path):
    rows = table()["numeric"]
    labels = np.where(rows[:, 0] + np.random.default_rng(0).normal(size=400) > 0, 2**40, 2**41)
    bench = runs.Bench(tmp_path)
    bench.freeze(pd.DataFrame(rows, columns=list("abc")).assign(label=labels), label="Int64")
    weights = {"class_weight": f"{{{2**40}: 1000, {2**41}: 1}}"}
    bench.run("plain", trainer=runs.builtin(f"sklearn.{LINEAR}"))
    bench.run("weighed", trainer=runs.builtin(f"sklearn.{LINEAR}"), parameters=weights)
    plain, weighed = (
        {m.name: float(m.value) for m in bench.reports[run].metrics}["log_loss"] for run in ("plain", "weighed")
    )
    assert weighed > 2 * plain


def test_an_export_that_answers_other_labels_is_refused_though_its_probabilities_are_right():
    rows = table()
    served, model = made(LINEAR, rows, (rows["numeric"][:, 0] > 0).astype(np.int64))
    wrong = changed(model, lambda graph: behind(graph, "label", "Sub", np.int64(1)))
    with pytest.raises(StageError, match="answers label") as caught:
        parity.check(served, wrong, rows, classification=True)
    assert caught.value.reason == "ParityFailed"


def test_an_export_that_answers_labels_as_text_is_refused():
    rows = table()
    served, model = made(LINEAR, rows, (rows["numeric"][:, 0] > 0).astype(np.int64))

    def as_text(graph):
        for node in graph.node:
            node.output[:] = ["code" if name == "label" else name for name in node.output]
        graph.initializer.append(numpy_helper.from_array(np.array(["0", "1"], dtype=object), "texts"))
        graph.node.append(helper.make_node("Gather", ["texts", "code"], ["label"]))
        for output in graph.output:
            if output.name == "label":
                output.type.tensor_type.elem_type = onnx.TensorProto.STRING

    with pytest.raises(StageError, match=r"answers label '[01]'"):
        parity.check(served, changed(model, as_text), rows, classification=True)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e6, 1e12])
def test_a_regressor_is_held_to_the_scale_of_its_own_answers(scale):
    rows = table()
    labels = (rows["numeric"] @ [1.0, 2.0, 0.5]) * scale
    served, model = made("linear_model.LinearRegression", rows, labels, TaskKind.REGRESSION)
    assert parity.check(served, model, rows, classification=False) < 1e-5
    off = changed(model, lambda graph: behind(graph, "prediction", "Add", np.float32(0.01 * scale)))
    with pytest.raises(StageError, match="of its spread") as caught:
        parity.check(served, off, rows, classification=False)
    assert caught.value.reason == "ParityFailed"


def test_an_offset_does_not_hide_that_every_answer_is_the_same():
    """Answers between 100,000 and 100,010: a constant is within a relative tolerance of each, and says nothing."""
    rows = table()
    labels = 100_000 + (rows["numeric"][:, 0] > 0) * 10.0
    served, model = made("tree.DecisionTreeRegressor", rows, labels, TaskKind.REGRESSION)
    flat = changed(model, lambda graph: (behind(graph, "prediction", "Min", np.float32(100_000)), None)[1])
    assert parity.check(served, model, rows, classification=False) < 1e-4
    with pytest.raises(StageError, match="of its spread"):
        parity.check(served, flat, rows, classification=False)


def test_probabilities_of_a_rare_class_are_held_to_their_own_scale():
    """About one in a thousand: 1e-4 of anything is a tenth of it."""
    rows = table(4000)
    labels = (rows["numeric"][:, 0] > 3.0).astype(np.int64)
    served, model = made(LINEAR, rows, labels, C="0.01")
    assert parity.check(served, model, rows, classification=True) <= 1e-4
    off = changed(model, lambda graph: behind(graph, "probabilities", "Add", np.float32(5e-5)))
    with pytest.raises(StageError, match="export's probabilities"):
        parity.check(served, off, rows, classification=True)


def test_an_estimator_whose_answers_are_all_the_same_is_no_failure():
    rows = table()
    labels = np.full(400, 152.13) + rows["numeric"][:, 0] * 1e-3
    served, model = made("linear_model.Lasso", rows, labels, TaskKind.REGRESSION, alpha="100.0")
    assert parity.check(served, model, rows, classification=False) <= 1e-4


def test_a_tie_may_fall_either_way():
    want, bound = np.array([[0.5, 0.5], [0.2, 0.8]]), np.full((2, 2), 1e-6)
    parity._check_labels([0, 1], np.array([0, 1]), np.array([1, 1]), want, bound)
    with pytest.raises(StageError):
        parity._check_labels([0, 1], np.array([0, 1]), np.array([0, 0]), want, bound)
