"""Values that are valid only together: what one leaf may become if others go with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from .violations import ABSENT, Violation

Changes = dict[tuple[str | int, ...], Any]

_SPLIT, _FRACTIONS, _METRICS = ("split",), ("split", "fractions"), ("evaluation", "metrics")
_GATE = ("evaluation", "gates", 0, "metric")
_DEEP = ("strategy", "canary", "steps", 1, "analysis", "metrics", 0)
_WATCHED = ("strategy", "canary", "analysis", "metrics", 0)
_MEASURED = ["roc_auc", "log_loss", "brier", "accuracy", "f1"]
_REGRESSION = {"metrics": ["rmse", "mae"], "gates": [{"name": "floor", "metric": "mae", "threshold": {"max": 9}}]}


def _shares(train: float, validation: float, test: float) -> Changes:
    return {_FRACTIONS: {"train": train, "validation": validation, "test": test}}


def _digest(digit: str) -> Changes:
    told = f"sha256:{digit * 64}"
    return {("approvals", 0, "digest"): told, ("approvals", 1, "digest"): told, ("artifact", "digest"): told}


def _user(name: str) -> Changes:
    return {("approvals", 0, "user"): name, ("approvals", 1, "user"): name}


_TOGETHER: dict[tuple[str, str, tuple[str | int, ...]], list[Changes]] = {
    ("Dataset", "full", (*_FRACTIONS, "train")): [
        _shares(0.6, 0.2, 0.2), _shares(0.5, 0.25, 0.25), _shares(1e-6, 0, 1)
    ],
    ("Dataset", "full", (*_FRACTIONS, "validation")): [
        _shares(0.7, 0, 0.3), _shares(0.1, 0.8, 0.1), _shares(0.4, 0.2, 0.4)
    ],
    ("Dataset", "full", (*_FRACTIONS, "test")): [
        _shares(0.9, 0.05, 0.05), _shares(0.2, 0, 0.8), _shares(0.3, 0.3, 0.4)
    ],
    ("Dataset", "full", ("schema", "fields", 0, "role")): [
        {("schema", "fields", 0, "role"): "Label", ("schema", "fields", 2, "role"): "Feature"}
    ],
    ("Dataset", "full", ("schema", "fields", 1, "type")): [{("schema", "fields", 1, "type"): "String"}],
    ("Dataset", "full", (*_SPLIT, "method")): [{(*_SPLIT, "method"): "Random", (*_SPLIT, "field"): ABSENT}],
    ("Dataset", "full", (*_SPLIT, "field")): [
        {(*_SPLIT, "field"): "tenure"},
        {(*_SPLIT, "field"): "plan"},
        {(*_SPLIT, "field"): "gone", ("schema", "fields", 2, "name"): "gone"},
    ],
    ("Dataset", "full", ("schema", "fields", 2, "name")): [
        {("schema", "fields", 2, "name"): name, (*_SPLIT, "field"): name} for name in ("left", "a b", "x" * 128)
    ],
    ("Dataset", "full", ("schema", "fields", 2, "role")): [
        {("schema", "fields", 2, "role"): "Ignore", (*_SPLIT, "field"): "plan"}
    ],
    ("Dataset", "full", ("erasure", "field")): [
        {("erasure", "field"): name, ("schema", "fields", 3, "name"): name} for name in ("who", "a b", "x" * 128)
    ],
    ("Dataset", "full", ("schema", "fields", 3, "name")): [
        {("schema", "fields", 3, "name"): name, ("erasure", "field"): name} for name in ("whose", "a c", "y" * 128)
    ],
    ("Dataset", "small", (*_SPLIT, "method")): [
        {_SPLIT: {"method": "Stratified", "field": "rent"}}, {_SPLIT: {"method": "Time", "field": "year"}}
    ],
    ("TrainingRun", "full", ("trainer", "builtin", "task")): [
        {("trainer", "builtin", "task"): "Regression", ("evaluation",): _REGRESSION}
    ],
    ("TrainingRun", "full", _GATE): [{_METRICS: _MEASURED, _GATE: name} for name in ("accuracy", "f1", "log_loss")],
    ("TrainingRun", "full", (*_METRICS, 1)): [{(*_METRICS, 1): name} for name in ("accuracy", "f1")],
    ("TrainingRun", "small", (*_METRICS, 0)): [{(*_METRICS, 0): name} for name in ("mae", "r2")],
    ("Model", "full", ("approvals", 0, "user")): [_user(name) for name in ("bob", "o'brien@example.com", "sa:a:b")],
    ("Model", "full", ("approvals", 0, "digest")): [_digest(digit) for digit in "0af"],
    ("Deployment", "full", ("replicas",)): [{("replicas",): count} for count in (2, 3)],
    ("Deployment", "small", ("replicas",)): [{("replicas",): count} for count in (2, 3)],
    ("Deployment", "full", (*_DEEP, "thresholdRange", "max")): [
        {(*_DEEP, "thresholdRange", "max"): value} for value in (1e-9, 0.5, 0.999999)
    ],
    ("Deployment", "full", (*_WATCHED, "thresholdRange", "max")): [
        {(*_WATCHED, "thresholdRange", "max"): value} for value in (1e-9, 0.5, 0.999999)
    ],
    ("Deployment", "full", (*_WATCHED, "builtin")): [{(*_WATCHED, "builtin"): "LatencyP95"}],
}  # fmt: skip


def known() -> Iterator[tuple[str, str, tuple[str | int, ...], Any]]:
    """(kind, seed, place, spec) of all of them."""
    for (kind, seed, place), tries in _TOGETHER.items():
        for changes in tries:
            yield kind, seed, place, Violation(kind, seed, "", copy.deepcopy(changes)).spec()
