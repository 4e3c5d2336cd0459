"""Every estimator on the allow-list is trained, exported and compared; every other is refused by name."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sklearn.utils
from run_kit import runs

from millrace.contract.training import Builtin, TaskKind
from millrace_runtime.outcome import StageError
from millrace_runtime.training import estimators, subject

CLASSIFIERS = [name for name, each in estimators.ALLOWED.items() if each.kind is TaskKind.CLASSIFICATION]
REGRESSORS = [name for name, each in estimators.ALLOWED.items() if each.kind is TaskKind.REGRESSION]
QUICK = {
    "MLP": {"max_iter": "60"},
    **{kind: {"n_estimators": "20"} for kind in ("RandomForest", "ExtraTrees", "GradientBoosting", "AdaBoost")},
}
"""What says as much in less time: an export is the same for 20 trees and for 100."""


def session(model):
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def parameters(name):
    return next((few for kind, few in QUICK.items() if f".{kind}" in name), {})


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.filterwarnings("ignore")
def test_a_classifier_exports_to_what_is_served(cancer, name):
    model = cancer.train(name.rsplit(".", 1)[1], trainer=runs.builtin(name), parameters=parameters(name))
    signature = session(model)
    assert [(each.name, each.type, each.shape[-1]) for each in signature.get_inputs()] == [
        ("numeric", "tensor(float)", 30),
        ("categorical", "tensor(string)", 1),
    ]
    assert [(each.name, each.type, len(each.shape)) for each in signature.get_outputs()] == [
        ("label", "tensor(int64)", 1),
        ("probabilities", "tensor(float)", 2),
    ]
    assert subject.vetting.vet(model).metadata_props


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.filterwarnings("ignore")
def test_a_regressor_exports_to_what_is_served(diabetes, name):
    change = {"trainer": runs.builtin(name, "Regression"), "parameters": parameters(name)}
    model = diabetes.train(name.rsplit(".", 1)[1], **change)
    outputs = [(each.name, each.type, each.shape[-1]) for each in session(model).get_outputs()]
    assert outputs == [("prediction", "tensor(float)", 1)]
    assert subject.vetting.vet(model).metadata_props


@pytest.mark.parametrize("name", ["GradientBoostingClassifier", "RandomForestClassifier", "ExtraTreesClassifier"])
def test_text_classes_are_answered_as_text(wine, name):
    estimator = f"sklearn.ensemble.{name}"
    model = wine.train(name, trainer=runs.builtin(estimator), parameters=parameters(estimator))
    assert [each.type for each in session(model).get_outputs()] == ["tensor(string)", "tensor(float)"]


@pytest.mark.parametrize(
    "estimator,changes",
    [
        ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": "20", "subsample": "0.5"}),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": "20", "max_features": "sqrt"}),
        ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": "(8, 4)", "max_iter": "60"}),
        ("sklearn.linear_model.SGDClassifier", {"alpha": "0.01"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_same_data_seed_and_parameters_give_the_same_model_to_the_byte(cancer, estimator, changes):
    made = [
        cancer.train(f"same-{at}", trainer=runs.builtin(estimator), parameters=changes, seed=seed)
        for at, seed in enumerate((5, 5, 6))
    ]
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_parameters_are_read_from_text():
    made = estimators.make(
        Builtin("sklearn.ensemble.RandomForestClassifier", TaskKind.CLASSIFICATION),
        {"n_estimators": "12", "max_features": "0.5", "bootstrap": "false", "max_depth": "None", "criterion": "entropy",
         "class_weight": "{0: 1, 1: 2}"},
        seed=9,
    )  # fmt: skip
    held = made.get_params()
    assert [held[key] for key in ("n_estimators", "max_features", "bootstrap", "max_depth", "criterion")] == [
        12, 0.5, False, None, "entropy",
    ]  # fmt: skip
    assert (held["class_weight"], held["random_state"]) == ({0: 1, 1: 2}, 9)


@pytest.mark.parametrize(
    "estimator,given,reason,said",
    [
        (
            "sklearn.ensemble.RandomForestClassifier",
            {"trees": "3"},
            "UnknownParameter",
            "Valid ones: n_estimators, criterion",
        ),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": "many"}, "UnknownParameter", "Got 'many' instead"),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": "-1"}, "UnknownParameter", "Got -1 instead"),
        ("sklearn.ensemble.RandomForestClassifier", {"random_state": "1"}, "UnknownParameter", "spec.seed"),
        ("sklearn.ensemble.RandomForestClassifier", {"n_jobs": "64"}, "UnknownParameter", "no parameter 'n_jobs'"),
        ("sklearn.linear_model.SGDClassifier", {"loss": "hinge"}, "UnknownParameter", "gives no probabilities"),
        ("sklearn.linear_model.Ridge", {}, "UnknownEstimator", "does Regression, the task is Classification"),
        ("sklearn.ensemble.HistGradientBoostingClassifier", {}, "UnknownEstimator", "Choose one of"),
        ("sklearn.svm.SVC", {}, "UnknownEstimator", "is not built in"),
        ("os.system", {}, "UnknownEstimator", "os.system is not built in"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_data_is_read(estimator, given, reason, said):
    with pytest.raises(StageError) as caught:
        estimators.make(Builtin(estimator, TaskKind.CLASSIFICATION), given, seed=0)
    assert (caught.value.reason, said in caught.value.message) == (reason, True)
    assert not caught.value.retry


def test_every_allowed_name_is_an_estimator_of_scikit_learn():
    known = {f"{cls.__module__.split('._')[0]}.{name}" for name, cls in sklearn.utils.all_estimators()}
    assert set(estimators.ALLOWED) <= known


def test_a_column_without_any_value_is_no_obstacle(bench):
    import pandas as pd

    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"x": chance.normal(size=120), "void": None, "label": chance.integers(0, 2, 120)})
    fields = [
        {"name": "label", "type": "Int64", "role": "Label"},
        {"name": "void", "type": "Float64"},
    ]
    bench.freeze(rows, "Int64", schema={"mode": "Infer", "fields": fields})
    assert bench.run("void").outcome == "Succeeded"
