"""Stage 1: the train and validation rows to the volume. The test rows stay in the store."""

from __future__ import annotations

import json
import pathlib
import tempfile

import pyarrow as pa
import pyarrow.parquet

from millrace.contract.dataset import Role
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError, say
from millrace_runtime.snapshot import manifest
from millrace_runtime.snapshot.manifest import Part
from millrace_runtime.training import features
from millrace_runtime.training.spec import Task, Volume

FOR_TRAINING = ("train", "validation")


def fetch(task: Task, volume: Volume) -> None:
    """Write data/train.parquet, data/validation.parquet and data/schema.json, without Sensitive columns: what a trainer
    is not to learn from, it is not given. Raises StageError.
    """
    dataset = task.raw.dataset
    version = manifest.load(dataset.uri, dataset.digest, Reason.SOURCE_NOT_FOUND)
    features.layout(version.fields, classification=task.is_classification)
    if version.files["train"].rows == 0:
        raise StageError(
            Reason.SOURCE_EMPTY, f"Version {dataset.version} of {dataset.name} has no train rows. Add rows."
        )
    given = [one for one in version.fields if one.role is not Role.SENSITIVE]
    volume.data.mkdir(parents=True, exist_ok=True)
    for name in FOR_TRAINING:
        part = version.files[name]
        if len(given) == len(version.fields):
            manifest.download_part(dataset.uri, name, part, volume.data / f"{name}.parquet")
        else:
            _without(dataset.uri, name, part, [one.name for one in given], volume)
        say(f"{name}: {part.rows} rows")
    fields = [field.to_dict() for field in given]
    (volume.data / "schema.json").write_text(json.dumps({"fields": fields}), encoding="utf-8")


def _without(folder: str, name: str, part: Part, kept: list[str], volume: Volume) -> None:
    """Bring the part and write it to the volume with these columns alone, a row group at a time.

    All of it is only ever on a disk that the trainer has not got.
    """
    with tempfile.TemporaryDirectory() as scratch:
        whole = pathlib.Path(scratch) / f"{name}.parquet"
        manifest.download_part(folder, name, part, whole)
        with pyarrow.parquet.ParquetFile(whole, pre_buffer=False) as held:
            kind = pa.schema([held.schema_arrow.field(each) for each in kept])
            path, how = volume.data / f"{name}.parquet", {"store_schema": False, "compression": "zstd"}
            with pyarrow.parquet.ParquetWriter(path, kind, **how) as made:
                for group in range(held.num_row_groups):
                    made.write_table(held.read_row_group(group, columns=kept).select(kept))
