"""What the three stages are told, read from the task's JSON."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.contract import environment, places
from millrace.contract.record import MalformedRecord
from millrace.contract.training import Builtin, TaskKind
from millrace_runtime.outcome import TaskError, task_text

CLASSIFICATION_METRICS = ("roc_auc", "accuracy", "f1", "log_loss", "brier")
REGRESSION_METRICS = ("rmse", "mae", "r2")
METADATA = "millrace."
"""Prefix of a model's metadata properties: JSON lists `numeric`, `categorical`, `classes`."""
WORK_DIR_VARIABLE = "MILLRACE_WORK_DIR"
"""Moves the shared volume outside Kubernetes."""


@dataclass(frozen=True)
class Task:
    """One run. `raw` is the record as the operator wrote it."""

    raw: environment.TrainingTask
    builtin: Builtin
    metrics: tuple[str, ...]
    model_name: str
    parameters: Mapping[str, str]

    @property
    def is_classification(self) -> bool:
        """Whether labels are classes."""
        return self.builtin.task is TaskKind.CLASSIFICATION

    @property
    def folder(self) -> str:
        """Where the run's artifacts go."""
        raw = self.raw
        return places.run(raw.store_uri, raw.namespace, self.model_name, raw.run_uid)


@dataclass(frozen=True)
class Volume:
    """The files the stages leave for each other."""

    root: pathlib.Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Volume:
        """The volume's place in this container."""
        return cls(pathlib.Path(environ.get(WORK_DIR_VARIABLE, environment.WORK_DIR)))

    @property
    def data(self) -> pathlib.Path:
        """train.parquet, validation.parquet, schema.json."""
        return self.root / "data"

    @property
    def model(self) -> pathlib.Path:
        """model.onnx, train.json."""
        return self.root / "model"


def read(environ: Mapping[str, str]) -> Task:
    """Raises TaskError naming the field at fault."""
    text = task_text(environ)
    try:
        raw = environment.TrainingTask.from_json(text)
    except MalformedRecord as error:
        raise TaskError(str(error)) from error
    spec, builtin = raw.spec, raw.spec.trainer.builtin
    metrics = _metrics(spec.evaluation.metrics, builtin.task)
    return Task(raw, builtin, metrics, spec.output.model_name, spec.parameters)


def _metrics(asked: tuple[str, ...], kind: TaskKind) -> tuple[str, ...]:
    valid = CLASSIFICATION_METRICS if kind is TaskKind.CLASSIFICATION else REGRESSION_METRICS
    unknown = [name for name in asked if name not in valid]
    if unknown:
        raise TaskError(f"evaluation.metrics: {unknown[0]!r} is not one of {', '.join(valid)}")
    return asked or valid
