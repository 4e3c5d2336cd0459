"""Memory of a run by the size of its data: MiB that fetch, train and evaluate take more for each GB of rows.

    python tests/benchmarks/training/memory.py [--rows 100000 500000] [--features 20]

Each stage is a process of its own, as in the pod, and is run on two sizes of data; what grows between them is told for
a GB of rows, 8 bytes a value. Memory is what the process and its children have for themselves at most (RssAnon, looked
at every 10 ms): pages of files, which the kernel takes back at need, are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "runtime" / name / "kit") for name in ("snapshot", "training")]

import numpy as np  # noqa: E402  the paths are set above
import pyarrow as pa  # noqa: E402
from data_kit import tasks  # noqa: E402
from run_kit import runs  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "results"
STAGES = ("fetch", "train", "evaluate")
ESTIMATOR, PARAMETERS = "sklearn.linear_model.LogisticRegression", {"max_iter": "20"}
PAUSE_SECONDS = 0.01


def main(argv: Sequence[str]) -> int:
    """Measure, print and write results/memory.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[100_000, 500_000])
    parser.add_argument("--features", type=int, default=20)
    options = parser.parse_args(argv)
    few, many = (_measured(rows, options.features) for rows in sorted(options.rows))
    grown = (max(options.rows) - min(options.rows)) * (options.features + 1) * 8 / 1e9
    found: dict[str, Any] = {"rows": max(options.rows), "features": options.features}
    for stage in STAGES:
        found[f"{stage}_peak_mib"] = many[stage]
        found[f"{stage}_more_mib_per_gb"] = round((many[stage] - few[stage]) / grown)
    print("\n".join(f"{name} {value}" for name, value in found.items()))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _measured(rows: int, features: int) -> dict[str, int]:
    """MiB at most of every stage."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bench = runs.Bench(folder)
        chance = np.random.default_rng(1)
        columns: dict[str, Any] = {f"x{number}": chance.normal(size=rows) for number in range(features)}
        columns["label"] = (columns["x0"] + columns["x1"] + chance.normal(size=rows) > 0).astype(np.int64)
        bench.dataset.put("a.parquet", pa.table(columns))
        label = {"name": "label", "type": "Int64", "role": "Label"}
        bench.frozen = bench.dataset.look(format="Parquet", schema={"mode": "Infer", "fields": [label]})
        task = bench.task("bench", trainer=runs.builtin(ESTIMATOR), parameters=PARAMETERS)
        environ = os.environ | tasks.environment(task, folder) | {"MILLRACE_LOG_LEVEL": "WARNING"}
        return {stage: _peak([sys.executable, "-m", "millrace_runtime.training", stage], environ) for stage in STAGES}


def _peak(command: Sequence[str], environ: dict[str, str]) -> int:
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(_own_kib, _family(process.pid))))
        time.sleep(PAUSE_SECONDS)
    if process.returncode != 0:
        raise SystemExit(f"{command[-1]} ended with {process.returncode}")
    return most // 1024


def _family(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += _family(int(child))
    return found


def _own_kib(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text().partition("RssAnon:")[2].split()[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
