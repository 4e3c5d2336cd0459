"""Runs the stages of a training run in this process, as the pod's containers do one after the other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
from data_kit import tasks

from millrace.contract.report import SnapshotReport, TrainingReport
from millrace_runtime.training import evaluate, fetch, spec, train

CLASSIFIER = "sklearn.linear_model.LogisticRegression"
REGRESSOR = "sklearn.linear_model.Ridge"


@dataclasses.dataclass
class Bench:
    """A frozen Dataset and the runs on it. Every run has a volume of its own."""

    folder: Path
    frozen: SnapshotReport | None = None
    reports: dict[str, TrainingReport] = dataclasses.field(default_factory=dict)

    @property
    def dataset(self) -> tasks.Dataset:
        return tasks.Dataset(self.folder, self.frozen)

    def freeze(self, rows: Any, label: str, name: str = "rows.csv", **changes: Any) -> SnapshotReport:
        rows.to_csv(self.dataset.source / name, index=False)
        column = "label" if "label" in rows else "visited"
        fields = [{"name": column, "type": label, "role": "Label", "nullable": True}]
        report = self.dataset.look(**({"schema": {"mode": "Infer", "fields": fields}} | changes))
        assert report.outcome == "Frozen", report.message
        self.frozen = report
        return report

    def part(self, name: str) -> Any:
        """The rows of one part of the frozen version, as a pyarrow.Table."""
        assert self.frozen is not None
        return pyarrow.parquet.read_table(Path(self.frozen.uri.removeprefix("file://")) / f"{name}.parquet")

    def volume(self, run: str) -> spec.Volume:
        return spec.Volume(self.folder / "volumes" / run)

    def task(self, run: str, **changes: Any) -> dict[str, Any]:
        assert self.frozen is not None
        return {
            "namespace": "ml",
            "run": run,
            "runUid": f"{run}-uid",
            "dataset": {"name": "churn", "version": 1, "digest": self.frozen.digest, "uri": self.frozen.uri},
            "trainer": {"builtin": {"estimator": CLASSIFIER, "task": "Classification"}},
            "parameters": {},
            "seed": 1,
            "evaluation": {"metrics": []},
            "output": {"modelName": "churn"},
            "champion": None,
            "storeUri": self.dataset.store,
        } | changes

    def read(self, run: str, **changes: Any) -> spec.Task:
        return spec.read({"MILLRACE_SPEC": json.dumps(self.task(run, **changes))})

    def fetch(self, run: str, **changes: Any) -> None:
        fetch.fetch(self.read(run, **changes), self.volume(run))

    def train(self, run: str, **changes: Any) -> bytes:
        """Fetch and train; return the model."""
        self.fetch(run, **changes)
        train.train(self.read(run, **changes), self.volume(run))
        return (self.volume(run).model / "model.onnx").read_bytes()

    def evaluate(self, run: str, **changes: Any) -> TrainingReport:
        report = evaluate.evaluate(self.read(run, **changes), self.volume(run))
        self.reports[run] = report
        return report

    def run(self, run: str, **changes: Any) -> TrainingReport:
        self.train(run, **changes)
        return self.evaluate(run, **changes)

    def champion(self, run: str) -> dict[str, str]:
        artifact = self.reports[run].artifact
        assert artifact is not None
        return {"name": f"churn-{run}", "storageUri": artifact.storage_uri, "digest": artifact.digest}

    def artifact(self, run: str, name: str) -> Path:
        return self.folder / "store" / "models" / "ml" / "churn" / f"{run}-uid" / name


def builtin(estimator: str, task: str = "Classification") -> dict[str, Any]:
    return {"builtin": {"estimator": estimator, "task": task}}
