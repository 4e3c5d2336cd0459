"""The estimators that may be asked for, each tried through export, and parameters from text.

Left out on purpose: HistGradientBoosting* (skl2onnx does not convert it with this onnx), LinearDiscriminantAnalysis
(its export answers other probabilities than the estimator), support vector machines and neighbours (their export needs
operators that are not allowed to be served, or keeps the training rows in the model).
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.contract.reasons import Reason
from millrace.contract.training import Builtin, TaskKind
from millrace_runtime.outcome import StageError


@dataclass(frozen=True)
class Allowed:
    """One estimator. Trees read raw numbers: scaling in 32 bits would move rows across their thresholds."""

    kind: TaskKind
    scaled: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


_C, _R = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
_PROBABILISTIC = {"loss": ("log_loss", "modified_huber")}
ALLOWED: dict[str, Allowed] = {
    "sklearn.ensemble.AdaBoostClassifier": Allowed(_C),
    "sklearn.ensemble.AdaBoostRegressor": Allowed(_R),
    "sklearn.ensemble.BaggingClassifier": Allowed(_C),
    "sklearn.ensemble.BaggingRegressor": Allowed(_R),
    "sklearn.ensemble.ExtraTreesClassifier": Allowed(_C),
    "sklearn.ensemble.ExtraTreesRegressor": Allowed(_R),
    "sklearn.ensemble.GradientBoostingClassifier": Allowed(_C),
    "sklearn.ensemble.GradientBoostingRegressor": Allowed(_R),
    "sklearn.ensemble.RandomForestClassifier": Allowed(_C),
    "sklearn.ensemble.RandomForestRegressor": Allowed(_R),
    "sklearn.linear_model.BayesianRidge": Allowed(_R, scaled=True),
    "sklearn.linear_model.ElasticNet": Allowed(_R, scaled=True),
    "sklearn.linear_model.HuberRegressor": Allowed(_R, scaled=True),
    "sklearn.linear_model.Lasso": Allowed(_R, scaled=True),
    "sklearn.linear_model.LinearRegression": Allowed(_R, scaled=True),
    "sklearn.linear_model.LogisticRegression": Allowed(_C, scaled=True, defaults={"max_iter": 1000}),
    "sklearn.linear_model.PoissonRegressor": Allowed(_R, scaled=True),
    "sklearn.linear_model.Ridge": Allowed(_R, scaled=True),
    "sklearn.linear_model.SGDClassifier": Allowed(_C, scaled=True, defaults={"loss": "log_loss"}, only=_PROBABILISTIC),
    "sklearn.linear_model.SGDRegressor": Allowed(_R, scaled=True),
    "sklearn.naive_bayes.BernoulliNB": Allowed(_C, scaled=True),
    "sklearn.naive_bayes.GaussianNB": Allowed(_C, scaled=True),
    "sklearn.neural_network.MLPClassifier": Allowed(_C, scaled=True),
    "sklearn.neural_network.MLPRegressor": Allowed(_R, scaled=True),
    "sklearn.tree.DecisionTreeClassifier": Allowed(_C),
    "sklearn.tree.DecisionTreeRegressor": Allowed(_R),
    "sklearn.tree.ExtraTreeClassifier": Allowed(_C),
    "sklearn.tree.ExtraTreeRegressor": Allowed(_R),
}
_OURS = frozenset({"random_state", "verbose", "n_jobs", "warm_start", "copy_X", "estimator", "init"})
"""Parameters that are ours to set, or that only code could set."""


def find(builtin: Builtin) -> Allowed:
    """Raises StageError(UnknownEstimator)."""
    allowed = ALLOWED.get(builtin.estimator)
    if allowed is None:
        names = ", ".join(name for name, each in ALLOWED.items() if each.kind is builtin.task)
        raise StageError(Reason.UNKNOWN_ESTIMATOR, f"{builtin.estimator} is not built in. Choose one of {names}.")
    if allowed.kind is not builtin.task:
        text = f"{builtin.estimator} does {allowed.kind}, the task is {builtin.task}. Change one of the two."
        raise StageError(Reason.UNKNOWN_ESTIMATOR, text)
    return allowed


def make(builtin: Builtin, parameters: Mapping[str, str], seed: int) -> Any:
    """Return the estimator, not yet fitted. Raises StageError: UnknownEstimator, UnknownParameter."""
    allowed = find(builtin)
    module, name = builtin.estimator.rsplit(".", 1)
    made = getattr(importlib.import_module(module), name)
    accepted = tuple(parameter for parameter in inspect.signature(made).parameters if parameter not in _OURS)
    values = {**allowed.defaults, **{key: _value(key, text, accepted) for key, text in parameters.items()}}
    for key, choices in allowed.only.items():
        if key in values and values[key] not in choices:
            text = f"{key}={values[key]!r} gives no probabilities. Choose one of {', '.join(choices)}."
            raise StageError(Reason.UNKNOWN_PARAMETER, text)
    estimator = made(**values)
    if "random_state" in estimator.get_params(deep=False):
        estimator.set_params(random_state=seed)
    return _validated(estimator)


def _value(key: str, text: str, accepted: tuple[str, ...]) -> Any:
    if key == "random_state":
        raise StageError(Reason.UNKNOWN_PARAMETER, "random_state is spec.seed. Remove it from spec.parameters.")
    if key not in accepted:
        raise StageError(Reason.UNKNOWN_PARAMETER, f"There is no parameter {key!r}. Valid ones: {', '.join(accepted)}.")
    return literal(text)


def literal(text: str) -> Any:
    """`300` int, `0.1` float, `true` bool, `none` None, `(64, 32)` tuple, anything else text."""
    plain = {"true": True, "false": False, "none": None, "null": None}
    if text.strip().lower() in plain:
        return plain[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _validated(estimator: Any) -> Any:
    # scikit-learn's own check, with its own sentences; fit would run it after reading all the data.
    check = getattr(estimator, "_validate_params", None)
    try:
        if check is not None:
            check()
    except ValueError as error:
        text = " ".join(str(error).split())[:400]
        raise StageError(Reason.UNKNOWN_PARAMETER, f"{text} Change spec.parameters.") from error
    return estimator
