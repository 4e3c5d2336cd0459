"""Stage 1: the train and validation rows to the volume. The test rows stay in the store."""

from __future__ import annotations

import json

from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import features
from millrace_runtime.training.spec import Task, Volume

FOR_TRAINING = ("train", "validation")


def fetch(task: Task, volume: Volume) -> None:
    """Write data/train.parquet, data/validation.parquet and data/schema.json. Raises StageError."""
    dataset = task.raw.dataset
    version = manifest.load(dataset.uri, dataset.digest, Reason.SOURCE_NOT_FOUND)
    features.layout(version.fields, classification=task.is_classification)
    if version.files["train"].rows == 0:
        raise StageError(
            Reason.SOURCE_EMPTY, f"Version {dataset.version} of {dataset.name} has no train rows. Add rows."
        )
    volume.data.mkdir(parents=True, exist_ok=True)
    for name in FOR_TRAINING:
        part = version.files[name]
        manifest.download_part(dataset.uri, name, part, volume.data / f"{name}.parquet")
        say(f"{name}: {part.rows} rows")
    fields = [field.to_dict() for field in version.fields]
    (volume.data / "schema.json").write_text(json.dumps({"fields": fields}), encoding="utf-8")
