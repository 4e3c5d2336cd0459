"""Stage 3: vet, measure, describe, upload. Of what the trainer wrote, only the model's answers count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.reasons import Reason
from millrace.contract.report import Artifact, Measurement, Signature, TrainingOutcome, TrainingReport
from millrace_runtime import store
from millrace_runtime.outcome import StageError, say, store_error
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import card, features, golden, metrics, reference, scoring, separation, subject, vetting
from millrace_runtime.training.spec import Task, Volume

MAX_FACTS_BYTES = 64 * 1024


@dataclass(frozen=True)
class Held:
    """Rows with labels, as the store has them."""

    layout: features.Layout
    train: Any
    test: Any
    truth: npt.NDArray[Any]
    classes: list[Any]


@dataclass(frozen=True)
class Scores:
    """One model on the test rows."""

    values: dict[str, float]
    outputs: features.Tensors

    def measurements(self) -> tuple[Measurement, ...]:
        """As the report carries them."""
        return tuple(Measurement(name, metrics.decimal(value)) for name, value in self.values.items())


def evaluate(task: Task, volume: Volume) -> TrainingReport:
    """Return the report of a run that succeeded. Raises StageError for every other end."""
    data = vetting.read(volume.model / "model.onnx")
    held = _fetch(task)
    candidate = subject.from_bytes(data, held.layout, held.classes)
    say(f"vetted {len(data)} bytes, opset {candidate.opset}; measuring on {held.test.num_rows} test rows")
    train_rows = candidate.rows(held.train)
    golden_rows = golden.rows(train_rows)
    answers = _answers(candidate, held, {"train": train_rows, "golden": golden_rows})
    measured = _measure(task, candidate, held, answers.outputs["test"])
    champion = _measure_champion(task, held)
    say(f"candidate {measured.values}" + (f", champion {champion.values}" if champion else ""))
    profile = reference.profile(
        train_rows, answers.outputs["train"], candidate.layout, answers.signature, candidate.classes
    )
    made = golden.make(golden_rows, answers.outputs["golden"], answers.signature)
    report = _report(task, candidate, answers.signature, measured, champion)
    page = card.Card(task, report, _facts(volume), held.truth, measured.outputs, candidate.classes, profile)
    objects = {
        "model.onnx": data,
        "golden.json": made.to_json().encode(),
        "profile.json": profile.to_json().encode(),
        "card.html": card.render(page),
        "report.json": _details(page, held),
    }
    _upload(task.folder, objects)
    return report


def _fetch(task: Task) -> Held:
    dataset = task.raw.dataset
    version = manifest.load(dataset.uri, dataset.digest, Reason.SOURCE_NOT_FOUND)
    layout = features.layout(version.fields, classification=task.is_classification)
    tables = {name: features.read(manifest.read_part(dataset.uri, name, file)) for name, file in version.files.items()}
    separation.check(dataset, version, tables)
    parts = {name: features.labelled(tables[name], layout.label.name) for name in ("train", "test")}
    for name, table in parts.items():
        if table.num_rows == 0:
            text = f"Version {dataset.version} of {dataset.name} has no labelled {name} rows. Add rows to its source."
            raise StageError(Reason.EVALUATION_FAILED, text)
    truth = features.targets(parts["test"], layout.label, classification=task.is_classification)
    classes: list[Any] = []
    if task.is_classification:
        seen = features.targets(parts["train"], layout.label, classification=True)
        classes = sorted(set(seen.tolist()))
    return Held(layout, parts["train"], parts["test"], truth, classes)


def _answers(model: subject.Subject, held: Held, more: dict[str, features.Tensors]) -> scoring.Answers:
    try:
        return scoring.score(model.model, {"test": model.rows(held.test), **more})
    except scoring.ScoringError as error:
        reason = Reason.EVALUATION_FAILED if error.loaded else Reason.MODEL_NOT_LOADABLE
        raise StageError(reason, f"The model could not be run: {error}. Correct its export.") from error


def _measure(task: Task, model: subject.Subject, held: Held, outputs: features.Tensors) -> Scores:
    try:
        if task.is_classification:
            labels, probabilities = _class_outputs(model, outputs)
            values = metrics.classification(task.metrics, held.truth, labels, probabilities, model.classes)
        else:
            values = metrics.regression(task.metrics, held.truth, _prediction(outputs))
    except metrics.Undefined as error:
        raise StageError(Reason.EVALUATION_FAILED, f"{error}. Add rows to the Dataset, or drop the metric.") from error
    return Scores(values, outputs)


def _class_outputs(model: subject.Subject, outputs: features.Tensors) -> tuple[Any, Any]:
    labels, probabilities = outputs.get("label"), outputs.get("probabilities")
    if labels is None or probabilities is None or labels.ndim != 1 or probabilities.ndim != 2:
        text = "A classifier must have the outputs label [-1] and probabilities [-1, classes]. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    if probabilities.shape[1] != len(model.classes):
        text = f"The model gives {probabilities.shape[1]} probabilities for {len(model.classes)} classes."
        raise StageError(Reason.EVALUATION_FAILED, text)
    if not np.isfinite(probabilities).all():
        raise StageError(
            Reason.EVALUATION_FAILED, "The model answers test rows with NaN or infinity. Correct its export."
        )
    return labels, probabilities.astype(np.float64)


def _prediction(outputs: features.Tensors) -> npt.NDArray[np.float64]:
    prediction = outputs.get("prediction")
    if prediction is None or prediction.size != len(prediction):
        text = "A regressor must have the output prediction [-1, 1]. Correct its export."
        raise StageError(Reason.EVALUATION_FAILED, text)
    return np.asarray(prediction, dtype=np.float64).ravel()


def _measure_champion(task: Task, held: Held) -> Scores | None:
    """On the same test rows, read in the champion's own order of columns."""
    if task.raw.champion is None:
        return None
    champion = subject.champion(task.raw.champion, held.layout, held.classes)
    try:
        return _measure(task, champion, held, _answers(champion, held, {}).outputs["test"])
    except StageError as error:
        text = f"The champion {task.raw.champion.name} cannot be measured: {error.message}"
        raise StageError(Reason.EVALUATION_FAILED, text) from error


def _report(
    task: Task, model: subject.Subject, signature: Signature, own: Scores, champion: Scores | None
) -> TrainingReport:
    folder = task.folder
    said = ", ".join(f"{each.name} {each.value}" for each in own.measurements())
    return TrainingReport(
        TrainingOutcome.SUCCEEDED,
        message=f"Measured on test rows: {said}.",
        artifact=Artifact(manifest.join(folder, "model.onnx"), manifest.of_bytes(model.model), len(model.model)),
        signature=signature,
        golden_set_uri=manifest.join(folder, "golden.json"),
        reference_profile_uri=manifest.join(folder, "profile.json"),
        card_uri=manifest.join(folder, "card.html"),
        metrics=own.measurements(),
        champion_metrics=champion.measurements() if champion else (),
        opset=model.opset,
    )


def _facts(volume: Volume) -> dict[str, Any]:
    """What the trainer reports about itself: shown on the card, and used for nothing else."""
    try:
        with (volume.model / "train.json").open("rb") as file:
            facts = json.loads(file.read(MAX_FACTS_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _details(page: card.Card, held: Held) -> bytes:
    raw = page.task.raw
    details = {
        **page.report.to_dict(),
        "run": raw.run,
        "runUid": raw.run_uid,
        "dataset": raw.dataset.to_dict(),
        "champion": raw.champion.to_dict() if raw.champion else None,
        "rows": {"train": held.train.num_rows, "test": held.test.num_rows},
        "trainer": page.facts,
    }
    return json.dumps(details, indent=1, sort_keys=True, default=str).encode()


def _upload(folder: str, objects: dict[str, bytes]) -> None:
    try:
        for name, content in objects.items():
            store.write_bytes(manifest.join(folder, name), content)
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error
    say(f"uploaded {', '.join(objects)} to {folder}")
