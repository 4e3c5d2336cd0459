"""A field of a spec reaches the pod in one typed record, of the same name on both sides, and something acts on it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from millrace.api.dataset import DatasetSpec
from millrace.api.training_run import TrainingRunSpec
from millrace.contract import dataset, training
from millrace.contract.record import Record, camel

RUNTIME = Path(__file__).parents[2] / "serving-image/millrace_runtime"
OPERATORS = {
    "worker": "in the pod's manifest",
    "refresh": "when a look is due is decided by the operator",
    "source.secretRef": "the Secret is mounted by the pod's manifest",
    "erasure.keyRef": "the Secret is mounted by the pod's manifest",
    "author": "copied to the Model",
    "appliedBy": "copied to the Model",
    "datasetRef": "resolved to a version before the Job is made",
    "trainer.resourcesPerNode": "in the pod's manifest",
    "evaluation.gates": "judged on the report",
    "output.approvalPolicy": "copied to the Model",
    "backoffLimit": "in the Job",
    "activeDeadlineSeconds": "in the Job",
    "ttlSecondsAfterFinished": "the operator deletes the Job",
    "retention": "what goes is decided by the operator, and its Job is told folders",
}
"""What the operator acts on itself, and no pod is told."""


def leaves_of_spec(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        where = f"{path}{field.alias or camel(name)}"
        inner = _model_in(field.annotation)
        if inner is None:
            yield where
        else:
            yield from leaves_of_spec(inner, f"{where}.")


def leaves_of_record(record: type[Record], path: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        where = f"{path}{camel(field.name)}"
        inner = _record_in(hints[field.name])
        if inner is None:
            yield where
        else:
            yield from leaves_of_record(inner, f"{where}.")


def _model_in(hint: Any) -> type[BaseModel] | None:
    return next((one for one in _types(hint) if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _record_in(hint: Any) -> type[Record] | None:
    return next((one for one in _types(hint) if isinstance(one, type) and issubclass(one, Record)), None)


def _types(hint: Any) -> Iterator[Any]:
    yield hint
    for argument in typing.get_args(hint):
        yield from _types(argument)


def is_operators(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in OPERATORS)


@pytest.mark.parametrize(
    ("spec", "record"), [(DatasetSpec, dataset.DatasetSpec), (TrainingRunSpec, training.TrainingSpec)]
)
def test_a_field_of_the_spec_is_in_the_record_or_is_the_operators_own(
    spec: type[BaseModel], record: type[Record]
) -> None:
    asked = {path for path in leaves_of_spec(spec) if not is_operators(path)}
    assert asked == {path for path in leaves_of_record(record) if not is_operators(path)}


def test_no_field_is_called_the_operators_own_that_no_spec_has() -> None:
    paths = [*leaves_of_spec(DatasetSpec), *leaves_of_spec(TrainingRunSpec)]
    assert {one for one in OPERATORS if not any(path == one or path.startswith(f"{one}.") for path in paths)} == set()


def records() -> list[type[Record]]:
    found = [value for module in (dataset, training) for value in vars(module).values()]
    return [one for one in found if isinstance(one, type) and issubclass(one, Record) and one is not Record]


@functools.cache
def read_by_the_runtime() -> frozenset[str]:
    """Names of the attributes that its code looks at."""
    trees = [ast.parse(path.read_text()) for path in RUNTIME.rglob("*.py")]
    return frozenset(node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute))


@pytest.mark.parametrize("record", records(), ids=lambda record: record.__name__)
def test_something_in_the_runtime_acts_on_every_field_of_a_record(record: type[Record]) -> None:
    fields = {field.name for field in dataclasses.fields(record)}  # type: ignore[arg-type]
    assert fields - read_by_the_runtime() - {"secret_ref", "name"} == set()


@pytest.mark.parametrize("module", [dataset, training])
def test_choices_are_the_same_on_both_sides(module: Any) -> None:
    """A choice that the schema offers and the pod does not know would be refused there, long after it was admitted."""
    offered = {frozenset(one) for spec in (DatasetSpec, TrainingRunSpec) for one in _choices(spec)}
    known = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Enum) and len(one) > 0]
    for choice in known:
        assert frozenset(str(one) for one in choice) in offered, choice


def _choices(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for field in model.model_fields.values():
        for one in _types(field.annotation):
            if typing.get_origin(one) is typing.Literal:
                yield typing.get_args(one)
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _choices(inner)
