"""Metrics of answers on rows with known labels.

Two classes: the positive class is the second (True, 1). More: roc_auc is one-versus-rest, f1 is per class, both
averaged without weights; brier is the mean squared distance of the probabilities from the truth, summed over classes
when there are more than two. Which classes those are is the caller's to say: the same for all models compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

Array = npt.NDArray[Any]


class Undefined(ValueError):
    """The metric has no value on these rows; the message says why."""


def classification(
    names: Sequence[str],
    truth: Array,
    labels: Array,
    probabilities: Array,
    classes: list[Any],
    others: Array | None = None,
) -> dict[str, float]:
    """Return name -> value. `probabilities` has one column per class, in the order of `classes`.

    `others` are the probabilities of further classes, which no row has. Raises Undefined.
    """
    made: dict[str, Callable[[], float]] = {
        "accuracy": lambda: float(np.mean(truth == labels)),
        "f1": lambda: _f1(truth, labels, classes),
        "roc_auc": lambda: _roc_auc(truth, probabilities, classes),
        "log_loss": lambda: _log_loss(truth, probabilities, classes),
        "brier": lambda: _brier(truth, probabilities, classes, others),
    }
    return {name: _finite(name, made[name]()) for name in names}


def regression(names: Sequence[str], truth: Array, predictions: Array) -> dict[str, float]:
    """Return name -> value. Raises Undefined."""
    made: dict[str, Callable[[], float]] = {
        "rmse": lambda: float(metrics.root_mean_squared_error(truth, predictions)),
        "mae": lambda: float(metrics.mean_absolute_error(truth, predictions)),
        "r2": lambda: _r2(truth, predictions),
    }
    return {name: _finite(name, made[name]()) for name in names}


def decimal(value: float) -> str:
    """The value as status and report show it: six decimals, or six significant digits when it is small or large."""
    value += 0.0  # there is one zero
    return f"{value:.6f}" if value == 0 or 1e-3 <= abs(value) < 1e9 else f"{value:.6g}"


def indicators(truth: Array, classes: list[Any]) -> Array:
    """Return a row per label with 1 in the column of its class; all 0 for a class the model does not know."""
    return np.stack([truth == each for each in classes], axis=1).astype(np.float64)


def _f1(truth: Array, labels: Array, classes: list[Any]) -> float:
    if len(classes) == 2:
        return float(metrics.f1_score(truth == classes[1], labels == classes[1], zero_division=0.0))
    scores = [metrics.f1_score(truth == each, labels == each, zero_division=0.0) for each in classes]
    return float(np.mean(scores))


def _roc_auc(truth: Array, probabilities: Array, classes: list[Any]) -> float:
    columns = [1] if len(classes) == 2 else range(len(classes))
    scores = []
    for column in columns:
        positive = truth == classes[column]
        if positive.all() or not positive.any():
            raise Undefined(f"roc_auc needs test rows with and without class {classes[column]!r}")
        scores.append(metrics.roc_auc_score(positive, probabilities[:, column]))
    return float(np.mean(scores))


def _log_loss(truth: Array, probabilities: Array, classes: list[Any]) -> float:
    of_truth = (indicators(truth, classes) * probabilities).sum(axis=1)
    return float(-np.mean(np.log(np.clip(of_truth, 1e-15, 1.0))))


def _brier(truth: Array, probabilities: Array, classes: list[Any], others: Array | None) -> float:
    squares = (indicators(truth, classes) - probabilities) ** 2
    if len(classes) == 2:
        return float(np.mean(squares[:, 1]))
    elsewhere = 0.0 if others is None else (others**2).sum(axis=1)
    return float(np.mean(squares.sum(axis=1) + elsewhere))


def _r2(truth: Array, predictions: Array) -> float:
    if np.ptp(truth) == 0.0:
        raise Undefined("r2 needs test rows with different labels")
    return float(metrics.r2_score(truth, predictions))


def _finite(name: str, value: float) -> float:
    if not np.isfinite(value):
        raise Undefined(f"{name} is not a finite number on the test rows")
    return value
