"""Tasks as the operator writes them, run in this process or in one of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from millrace.contract.report import SnapshotReport
from millrace_runtime.snapshot import run, spec


@dataclasses.dataclass
class Dataset:
    """A Dataset whose source is a folder of this machine."""

    folder: Path
    previous: SnapshotReport | None = None
    spec: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> Path:
        path = self.folder / "source"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def store(self) -> str:
        return f"file://{self.folder}/store"

    def write(self, name: str, text: str | bytes) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def put(self, name: str, table: pa.Table, **how: Any) -> None:
        """Write a Parquet file."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, path, **how)

    def task(self, **changes: Any) -> dict[str, Any]:
        previous = None
        if self.previous is not None:
            seen = self.previous
            previous = {"uri": seen.uri, "digest": seen.digest, "sourceDigest": seen.source_digest}
        return {
            "namespace": "ml",
            "name": "churn",
            "storeUri": self.store,
            "source": {"storageUri": f"file://{self.source}/"},
            "format": "CSV",
            "previous": previous,
            **self.spec,
            **changes,
        }

    def look(self, **changes: Any) -> SnapshotReport:
        """Read the source once; a frozen version becomes the one that the next look is compared with."""
        report = run.snapshot(spec.read({"MILLRACE_SPEC": json.dumps(self.task(**changes))}))
        if report.outcome == "Frozen":
            self.previous = report
        return report


def contained(main: Callable[[], int], task: object, folder: Path, **environ: str) -> tuple[int, dict[str, Any], str]:
    """Return exit code, termination message and log of a container's entry point, called in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    log, out, before = folder / "termination-log", io.StringIO(), dict(os.environ)
    log.unlink(missing_ok=True)
    os.environ.update(environment(task, folder) | environ)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, _message(log), out.getvalue()


def in_a_process(
    module: str, task: object, folder: Path, *arguments: str, **environ: str
) -> tuple[int, dict[str, Any], str]:
    """The same for `python -m module arguments`, as the image starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "termination-log"
    log.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment(task, folder) | environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, _message(log), done.stdout + done.stderr


def environment(task: object, folder: Path) -> dict[str, str]:
    """Variables of a container whose volume and termination message are in `folder`."""
    found = {
        "MILLRACE_TERMINATION_LOG": str(folder / "termination-log"),
        "MILLRACE_WORK_DIR": str(folder / "work"),
    }
    return found if task is None else found | {"MILLRACE_SPEC": task if isinstance(task, str) else json.dumps(task)}


def _message(log: Path) -> dict[str, Any]:
    message = log.read_bytes() if log.exists() else b"{}"
    assert len(message) <= 4096
    assert b"Traceback" not in message
    return dict(json.loads(message))


def frozen(report: SnapshotReport) -> list[dict[str, Any]]:
    """Every row of a version, in no order that means anything."""
    folder = Path(report.uri.removeprefix("file://"))
    parts = [pyarrow.parquet.read_table(folder / f"{name}.parquet") for name in ("train", "validation", "test")]
    rows: list[dict[str, Any]] = pa.concat_tables(parts).to_pylist()
    return sorted(rows, key=repr)
