"""Stage 3: vet, measure, describe, upload. Of what the trainer wrote, only the model's answers count."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.reasons import Reason
from millrace.contract.report import Artifact, Signature, TrainingOutcome, TrainingReport
from millrace_runtime import files, store
from millrace_runtime.outcome import StageError, say, store_error
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import (
    card,
    features,
    golden,
    measure,
    precision,
    reference,
    scoring,
    separation,
    subject,
    vetting,
)
from millrace_runtime.training.spec import Task, Volume

MAX_FACTS_BYTES = 64 * 1024


@dataclass(frozen=True)
class Held:
    """Rows with labels, as the store has them."""

    layout: features.Layout
    train_rows: int
    test: Any
    truth: npt.NDArray[Any]
    classes: list[Any]


def evaluate(task: Task, volume: Volume) -> TrainingReport:
    """Return the report of a run that succeeded. Raises StageError for every other end."""
    data = vetting.read(volume.model / "model.onnx")
    held, train = _fetch(task)
    candidate = subject.from_bytes(data, held.layout, held.classes)
    if candidate.dtype != np.float64:
        precision.refuse_narrow(train, candidate.layout)
    champion = _champion(task, held)
    say(f"vetted {len(data)} bytes, opset {candidate.opset}; measuring on {held.test.num_rows} test rows")
    by = measure.scale(held.truth, candidate, champion, classification=task.is_classification)
    train_rows = candidate.rows(train)
    del train  # from here on the rows are held once
    golden_rows = golden.rows(train_rows)
    answers = _answers(candidate, held, {"train": train_rows, "golden": golden_rows})
    measured = _measure(task, candidate, by, answers.outputs["test"])
    compared = _measure_champion(task, held, by, champion)
    say(f"candidate {measured.values}" + (f", champion {compared.values}" if compared else ""))
    profile = reference.profile(
        train_rows, answers.outputs["train"], candidate.layout, answers.signature, candidate.classes
    )
    made = golden.make(golden_rows, answers.outputs["golden"], answers.signature, answers.outputs["train"])
    report = _report(task, candidate, answers.signature, measured, compared)
    page = card.Card(task, report, _facts(volume), by.truth, measured.outputs, by.written(candidate.classes), profile)
    objects = {
        "model.onnx": data,
        "golden.json": made.to_json().encode(),
        "profile.json": profile.to_json().encode(),
        "card.html": card.render(page),
        "report.json": _details(page, held),
    }
    _upload(task.folder, objects)
    return report


def _fetch(task: Task) -> tuple[Held, Any]:
    """What is measured with, and the table of the train rows."""
    dataset = task.raw.dataset
    version = manifest.load(dataset.uri, dataset.digest, Reason.SOURCE_NOT_FOUND)
    layout = features.layout(version.fields, classification=task.is_classification)
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: pathlib.Path(scratch) / f"{name}.parquet" for name in version.files}
        for name, file in version.files.items():
            manifest.download_part(dataset.uri, name, file, paths[name])
        separation.check(dataset, version, paths)
        parts = {name: features.labelled(features.read(paths[name], layout), layout) for name in ("train", "test")}
    for name, table in parts.items():
        if table.num_rows == 0:
            text = f"Version {dataset.version} of {dataset.name} has no labelled {name} rows. Add rows to its source."
            raise StageError(Reason.EVALUATION_FAILED, text)
    truth = features.targets(parts["test"], layout.label, classification=task.is_classification)
    classes: list[Any] = []
    if task.is_classification:
        seen = features.targets(parts["train"], layout.label, classification=True)
        classes = sorted(set(seen.tolist()))
    return Held(layout, parts["train"].num_rows, parts["test"], truth, classes), parts["train"]


def _answers(model: subject.Subject, held: Held, more: dict[str, features.Tensors]) -> scoring.Answers:
    try:
        return scoring.score(model.model, {"test": model.rows(held.test), **more})
    except scoring.ScoringError as error:
        reason = Reason.EVALUATION_FAILED if error.loaded else Reason.MODEL_NOT_LOADABLE
        raise StageError(reason, f"The model could not be run: {error}. Correct its export.") from error


def _measure(task: Task, model: subject.Subject, by: measure.Scale, outputs: features.Tensors) -> measure.Scores:
    return measure.measure(task.metrics, model, by, outputs, classification=task.is_classification)


def _champion(task: Task, held: Held) -> subject.Subject | None:
    named = task.raw.champion
    return subject.champion(named, held.layout, held.classes) if named is not None else None


def _measure_champion(
    task: Task, held: Held, by: measure.Scale, champion: subject.Subject | None
) -> measure.Scores | None:
    """On the same test rows, read in the champion's own order of columns."""
    if task.raw.champion is None or champion is None:
        return None
    try:
        return _measure(task, champion, by, _answers(champion, held, {}).outputs["test"])
    except StageError as error:
        text = f"The champion {task.raw.champion.name} cannot be measured: {error.message}"
        raise StageError(Reason.EVALUATION_FAILED, text) from error


def _report(
    task: Task, model: subject.Subject, signature: Signature, own: measure.Scores, champion: measure.Scores | None
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
        facts = files.parsed(files.read(volume.model / "train.json", MAX_FACTS_BYTES))
    except (OSError, ValueError, files.NotPlainError, files.TooLargeError):
        return {}
    return {name[:_LONGEST]: _fact(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


_LONGEST, _DEEPEST = 200, 2


def _fact(value: Any, depth: int = 0) -> Any:
    """What can be shown of it: no endless text, nor parts within parts, nor numbers that JSON has not got."""
    if isinstance(value, (dict, list)) and depth == _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {name[:_LONGEST]: _fact(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_fact(item, depth + 1) for item in value]
    is_odd = isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value))
    return str(value)[:_LONGEST] if is_odd else value


def _details(page: card.Card, held: Held) -> bytes:
    raw = page.task.raw
    details = {
        **page.report.to_dict(),
        "run": raw.run,
        "runUid": raw.run_uid,
        "dataset": raw.dataset.to_dict(),
        "champion": raw.champion.to_dict() if raw.champion else None,
        "rows": {"train": held.train_rows, "test": held.test.num_rows},
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
