"""What stands in a frozen version, and versions as older operators left them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.quality import Quality
from millrace.contract.report import SnapshotReport, Splits
from millrace_runtime import store
from millrace_runtime.snapshot import manifest

PARTS = ("train", "validation", "test")


def parts(report: SnapshotReport) -> dict[str, Any]:
    """A data frame per part."""
    files = {name: store.read_bytes(f"{report.uri}{name}.parquet") for name in PARTS}
    return {name: pyarrow.parquet.read_table(io.BytesIO(data)).to_pandas() for name, data in files.items()}


def values(report: SnapshotReport, *columns: str) -> dict[str, set[Any]]:
    """Per part, which values of a column stand in it, as text, or which tuples of several."""
    held = parts(report)
    if len(columns) == 1:
        return {name: set(rows[columns[0]].map(str)) for name, rows in held.items()}
    return {name: set(rows[list(columns)].itertuples(index=False, name=None)) for name, rows in held.items()}


def part_of(report: SnapshotReport, column: str) -> dict[str, str]:
    """Value of a column to the one part that it stands in."""
    found: dict[str, str] = {}
    for name, held in values(report, column).items():
        assert not found.keys() & held, f"{sorted(found.keys() & held)[:3]} are in two parts"
        found |= dict.fromkeys(held, name)
    return found


def quality(report: SnapshotReport) -> Quality:
    return Quality.from_json(store.read_bytes(f"{report.uri}quality.json"))


def frozen_by_an_older_operator(
    folder: Path, rows: Any, part: list[str], fields: list[dict[str, Any]]
) -> SnapshotReport:
    """A version as they wrote it: no word about who is who, and an index of 16 bytes a row. `part` is each row's."""
    place = folder / "store/datasets/ml/churn/old"
    place.mkdir(parents=True)
    held: dict[str, Any] = {}
    for name in PARTS:
        chosen = rows[pd.Series(part, index=rows.index) == name]
        pyarrow.parquet.write_table(pa.Table.from_pandas(chosen, preserve_index=False), place / f"{name}.parquet")
        data = (place / f"{name}.parquet").read_bytes()
        held[name] = {"digest": manifest.of_bytes(data), "rows": len(chosen), "bytes": len(data)}
    split = {"method": "Random", "seed": 0, "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}}
    made = {
        "files": held,
        "fields": [{"role": "Feature", "nullable": True, **field} for field in fields],
        "split": split,
        "identity": list(rows.columns),
        "contentDigest": "sha256:" + "0" * 64,
        "sourceDigest": "sha256:" + "0" * 64,
        "specDigest": "sha256:" + "0" * 64,
    }
    pyarrow.parquet.write_table(
        pa.table({"row": pa.array([bytes(16)], pa.binary(16)), "part": pa.array([0], pa.int8())}),
        place / "index.parquet",
    )
    (place / "manifest.json").write_text(json.dumps(made))
    digest = manifest.Manifest.from_json(json.dumps(made)).digest
    counts = Splits(**{name: held[name]["rows"] for name in PARTS})
    return SnapshotReport("Frozen", digest=digest, uri=f"file://{place}/", rows=len(rows), splits=counts)  # type: ignore[arg-type]
