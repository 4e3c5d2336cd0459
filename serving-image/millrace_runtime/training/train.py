"""Stage 2: one estimator, one ONNX file. Reads and writes the volume and nothing else; has no credentials."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import sklearn

from millrace.contract.dataset import Schema
from millrace.contract.profile import NUMERIC
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError, last_line, say
from millrace_runtime.training import coding, estimators, export, features, fit, narrow, parity, precision
from millrace_runtime.training.export import Served
from millrace_runtime.training.narrow import Narrow
from millrace_runtime.training.spec import Task, Volume


def train(task: Task, volume: Volume) -> None:
    """Write model/model.onnx and model/train.json. Raises StageError."""
    started = time.monotonic()
    allowed = estimators.find(task.builtin)
    estimator = estimators.make(task.builtin, task.parameters, task.raw.spec.seed)
    layout = _layout(task, volume)
    classification = task.is_classification
    table = features.labelled(features.read(volume.data / "train.parquet", layout), layout)
    labels = features.targets(table, layout.label, classification=classification)
    _check_labels(labels, layout.label.name, classification=classification)
    rows = features.of(table, layout, precision.needed(table, layout))
    made = narrow.learn(rows, scaled=allowed.scaled)
    _check_range(rows, layout, made, task.builtin.estimator)
    read = rows if made is None else made.tensors(rows)
    count = table.num_rows
    del table  # the rows are held once while the estimator is fitted
    say(f"training {task.builtin.estimator} on {count} rows, {len(layout.columns)} features")
    known = coding.of(labels) if classification else coding.PLAIN
    known.weights(estimator)
    with _crashes_named():
        fitted = fit.fit(fit.pipeline(estimator, read, scaled=allowed.scaled), read, known.codes(labels))
    say(f"trained in {time.monotonic() - started:.1f} s")
    as_served = Served(fitted, made, known)
    with _crashes_named():
        model = export.to_onnx(as_served, layout, classification=classification)
        difference = parity.check(as_served, model, rows, classification=classification)
    say(f"exported {len(model)} bytes; largest difference from the estimator {difference:.2g} of the outputs' spread")
    _score_validation(task, volume, layout, as_served)
    volume.model.mkdir(parents=True, exist_ok=True)
    (volume.model / "model.onnx").write_bytes(model)
    facts = _facts(task, count, difference, time.monotonic() - started)
    (volume.model / "train.json").write_text(json.dumps(facts), encoding="utf-8")


def _layout(task: Task, volume: Volume) -> features.Layout:
    schema = Schema.from_json((volume.data / "schema.json").read_bytes())
    return features.layout(schema.fields, classification=task.is_classification)


def _check_labels(labels: Any, name: str, *, classification: bool) -> None:
    if len(labels) == 0:
        raise StageError(Reason.SOURCE_EMPTY, f'No train row has a value in label "{name}". Correct the source.')
    if not classification:
        precision.refuse_label(name, labels)
    elif len(np.unique(labels)) < 2:
        text = f'All train rows have the same value in label "{name}", {labels[0]}. Add rows of another class.'
        raise StageError(Reason.ONE_CLASS, text)


def _check_range(rows: features.Tensors, layout: features.Layout, made: Narrow | None, estimator: str) -> None:
    """Estimators compute with 32 bits, whatever they are given. Raises StageError(NumberNotExact)."""
    column = narrow.overflowing(made, rows[NUMERIC]) if made is not None else None
    if column is not None:
        values = rows[NUMERIC][:, column]
        value = precision.written(values[int(np.nanargmax(np.abs(values)))])
        text = f'Column "{layout.numeric[column][:80]}" holds {value}, for which {estimator} has no room'
        raise StageError(Reason.NUMBER_NOT_EXACT, f"{text}. Rescale the column, or give it role Ignore.")


def _score_validation(task: Task, volume: Volume, layout: features.Layout, served: Served) -> None:
    """For the log only: what decides is measured by the evaluator."""
    table = features.labelled(features.read(volume.data / "validation.parquet", layout), layout)
    if table.num_rows:
        labels = features.targets(table, layout.label, classification=task.is_classification)
        rows = features.of(table, layout, np.float32 if served.narrow is None else np.float64)
        score = served.fitted.score(served.frame(rows), served.coding.codes(labels))
        say(f"validation {'accuracy' if task.is_classification else 'r2'} {score:.4f} on {table.num_rows} rows")


def _facts(task: Task, rows: int, difference: float, seconds: float) -> dict[str, Any]:
    return {
        "estimator": task.builtin.estimator,
        "parameters": dict(task.parameters),
        "seed": task.raw.spec.seed,
        "rows": rows,
        "seconds": round(seconds, 3),
        "parity": difference,
        "scikitLearn": sklearn.__version__,
    }


@contextmanager
def _crashes_named() -> Iterator[None]:
    """Name whatever the estimator raises; its warnings go to the log."""
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield
    except StageError:
        raise
    except MemoryError as error:
        text = "The estimator did not fit into memory. Raise spec.trainer.resourcesPerNode.limits.memory."
        raise StageError(Reason.TRAINER_OUT_OF_MEMORY, text) from error
    except Exception as error:
        raise StageError(Reason.TRAINER_CRASHED, f"{last_line(error)}. Change spec.parameters or the data.") from error
    for text in sorted({last_line(warning.message) for warning in seen if isinstance(warning.message, Warning)})[:5]:
        say(f"warning: {text}", logging.WARNING)
