"""What the stages of a run are told of its spec: one typed record, filled by the operator and read in the pod.

A field that is to reach the pod is one of `millrace.api.training_run` and one here, of the same name; the operator
fills it by name. `tests/contract/test_fields.py` fails for one that is only on one side, and for one here that nothing
reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from millrace.contract.record import Record


class TaskKind(StrEnum):
    """What is predicted."""

    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"


@dataclass(frozen=True)
class Builtin(Record):
    """A scikit-learn estimator of the platform's own image."""

    estimator: str
    task: TaskKind


@dataclass(frozen=True)
class Trainer(Record):
    """What trains."""

    builtin: Builtin


@dataclass(frozen=True)
class Evaluation(Record):
    """Metrics to measure; empty means all that suit the task."""

    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output(Record):
    """The registered model."""

    model_name: str


@dataclass(frozen=True)
class TrainingSpec(Record):
    """What is trained, measured and registered."""

    trainer: Trainer
    output: Output
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Hyperparameters of the estimator, as text."""
    seed: int = 0
    evaluation: Evaluation = Evaluation()
