"""What a model's answers on the test rows are worth. Candidate and champion are measured alike, or not at all.

Classes are compared by value (`classes`), over the union of the test rows' labels and both models' classes. What is
averaged over classes (f1, roc_auc, brier) is averaged over those of the test rows and the candidate: a class that only
the champion knows is a wrong answer wherever it gives it, for there is nothing in the data to measure it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.reasons import Reason
from millrace.contract.report import Measurement
from millrace_runtime.outcome import StageError
from millrace_runtime.training import classes, metrics
from millrace_runtime.training.features import Tensors
from millrace_runtime.training.spec import METADATA
from millrace_runtime.training.subject import Subject

Array = npt.NDArray[Any]
_SHOWN = 5
_SLACK = 1e-3
"""What rounding, in half precision and over many classes, may take from 1."""


@dataclass(frozen=True)
class Scores:
    """One model on the test rows."""

    values: dict[str, float]
    outputs: Tensors

    def measurements(self) -> tuple[Measurement, ...]:
        """As the report carries them."""
        return tuple(Measurement(name, metrics.decimal(value)) for name, value in self.values.items())


@dataclass(frozen=True)
class Scale:
    """What all models of a run are held against. `truth` are numbers, or classes as `key` writes them.

    `measured` are the classes that are averaged over, in order; empty for numbers.
    """

    truth: Array
    key: classes.Key
    measured: tuple[str, ...] = ()

    def written(self, values: Sequence[Any]) -> list[str]:
        """Classes as text."""
        known: dict[Any, str] = {}
        return [known.setdefault(value, self.key(value)) for value in values]


def scale(truth: Array, candidate: Subject, champion: Subject | None, *, classification: bool) -> Scale:
    """Return the scale of a run, whatever types its models' classes have."""
    if not classification:
        return Scale(truth, classes.plain)
    labels = truth.tolist()
    key = classes.key([labels, candidate.classes, champion.classes if champion is not None else ()])
    made = Scale(truth, key)
    texts = made.written(labels)
    measured = classes.ordered([*texts, *made.written(candidate.classes)])
    return Scale(np.asarray(texts, dtype=object), key, tuple(measured))


def measure(names: Sequence[str], model: Subject, by: Scale, outputs: Tensors, *, classification: bool) -> Scores:
    """Return the metrics. Raises StageError(EvaluationFailed): other outputs than are served, or nothing to compare."""
    try:
        if classification:
            values = _classes(names, model, by, outputs)
        else:
            values = metrics.regression(names, by.truth, _prediction(outputs))
    except metrics.Undefined as error:
        raise StageError(Reason.EVALUATION_FAILED, f"{error}. Add rows to the Dataset, or drop the metric.") from error
    return Scores(values, outputs)


def _classes(names: Sequence[str], model: Subject, by: Scale, outputs: Tensors) -> dict[str, float]:
    labels, probabilities = _class_outputs(model, outputs)
    known = by.written(model.classes)
    if not set(known) & set(by.truth.tolist()):
        mine, theirs = _listed(known), _listed(classes.ordered(by.truth.tolist()))
        text = f"None of its classes ({mine}) is a label of the test rows ({theirs})"
        raise StageError(Reason.EVALUATION_FAILED, f"{text}. Train on labels that are written the same.")
    columns = np.zeros((len(by.truth), len(by.measured)))
    for at, each in enumerate(by.measured):
        if each in known:
            columns[:, at] = probabilities[:, known.index(each)]
    others = probabilities[:, [at for at, each in enumerate(known) if each not in by.measured]]
    answers = by.written(labels.tolist())
    foreign = sorted(set(answers) - set(known))
    if foreign:
        text = f"It answers label {_listed(foreign)}, which is none of its classes ({_listed(known)})"
        raise StageError(Reason.EVALUATION_FAILED, f"{text}. Correct its export, or its metadata {METADATA}classes.")
    answered = np.asarray(answers, dtype=object)
    return metrics.classification(names, by.truth, answered, columns, list(by.measured), others)


def _class_outputs(model: Subject, outputs: Tensors) -> tuple[Array, Array]:
    labels, probabilities = outputs.get("label"), outputs.get("probabilities")
    if labels is None or probabilities is None or labels.ndim != 1 or probabilities.ndim != 2:
        text = "A classifier must have the outputs label [-1] and probabilities [-1, classes]. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    if probabilities.shape[1] != len(model.classes):
        text = f"The model gives {probabilities.shape[1]} probabilities for {len(model.classes)} classes."
        raise StageError(Reason.EVALUATION_FAILED, f"{text} Correct its export.")
    if probabilities.dtype.kind != "f" or not np.isfinite(probabilities).all():
        text = "The model answers test rows with NaN or infinity. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    numbers = probabilities.astype(np.float64)
    _check_probabilities(numbers)
    return labels, numbers


def _check_probabilities(numbers: npt.NDArray[np.float64]) -> None:
    """Two certainties in a row would make the best log loss there is."""
    sums = numbers.sum(axis=1)
    wrong = (numbers < -_SLACK).any(axis=1) | (numbers > 1 + _SLACK).any(axis=1) | (np.abs(sums - 1) > _SLACK)
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = ", ".join(f"{value:.4g}" for value in numbers[row, :_SHOWN])
        text = f"The model answers a test row with ({shown}), which are no probabilities: their sum is {sums[row]:.4g}"
        raise StageError(Reason.EVALUATION_FAILED, f"{text}. Correct its export.")


def _prediction(outputs: Tensors) -> npt.NDArray[np.float64]:
    prediction = outputs.get("prediction")
    if prediction is None or prediction.size != len(prediction) or prediction.dtype.kind not in "fiu":
        text = "A regressor must have the output prediction [-1, 1]. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    if not np.isfinite(prediction).all():
        text = "The model answers test rows with NaN or infinity. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    return np.asarray(prediction, dtype=np.float64).ravel()


def _listed(texts: Sequence[str]) -> str:
    more = ", ..." if len(texts) > _SHOWN else ""
    return ", ".join(text[:40] for text in texts[:_SHOWN]) + more
