"""Seconds and memory that a run adds to its trainer's own: fetch, train and evaluate beside plain scikit-learn.

    python tests/benchmarks/training/overhead.py [--rows 100000] [--features 20]

The three stages are processes of their own, as the pod's containers are. Beside them stands one process that reads
the same Parquet files, fits the same estimator and predicts the test rows. What the platform adds is three starts of
Python, copying and checking the rows, exporting, parity, vetting, the golden set, the profile and the model card.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "runtime" / name / "kit") for name in ("snapshot", "training")]
sys.path[:0] = [str(ROOT / "tests" / "benchmarks")]

import numpy as np  # noqa: E402  the paths are set above
import pyarrow as pa  # noqa: E402
from data_kit import tasks  # noqa: E402
from run_kit import runs  # noqa: E402

from millrace_benchmarks import limited  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "results"
STAGES = ("fetch", "train", "evaluate")
ESTIMATOR, PARAMETERS = "sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": "50"}
ALONE = """
import sys, pyarrow.parquet
from sklearn.ensemble import GradientBoostingClassifier
train, test = (pyarrow.parquet.read_table(path).to_pandas() for path in sys.argv[1:])
features = [name for name in train if name != "label"]
made = GradientBoostingClassifier(n_estimators=50, random_state=1).fit(train[features].to_numpy(), train["label"])
made.predict_proba(test[features].to_numpy())
"""


def main(argv: Sequence[str]) -> int:
    """Measure, print and write results/overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=20)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder), options.rows, options.features)
    print("\n".join(f"{name} {value}" for name, value in found.items()))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "overhead.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _measured(folder: Path, rows: int, features: int) -> dict[str, Any]:
    bench = runs.Bench(folder)
    chance = np.random.default_rng(1)
    columns: dict[str, Any] = {f"x{number}": chance.normal(size=rows) for number in range(features)}
    columns["label"] = (columns["x0"] + columns["x1"] + chance.normal(size=rows) > 0).astype(np.int64)
    bench.dataset.put("a.parquet", pa.table(columns))
    label = {"name": "label", "type": "Int64", "role": "Label"}
    bench.frozen = bench.dataset.look(format="Parquet", schema={"mode": "Infer", "fields": [label]})
    task = bench.task("bench", trainer=runs.builtin(ESTIMATOR), parameters=PARAMETERS)
    found: dict[str, Any] = {"rows": rows, "features": features}
    total = 0.0
    for stage in STAGES:
        environ = tasks.environment(task, folder) | {"MILLRACE_LOG_LEVEL": "WARNING"}
        command = [sys.executable, "-m", "millrace_runtime.training", stage]
        taken, cpu, memory = limited.run(command, environ)
        found |= {f"{stage}_s": round(taken, 1), f"{stage}_cpu_s": round(cpu, 1), f"{stage}_peak_mib": memory}
        total += taken
    parts = [bench.frozen.uri.removeprefix("file://") + f"{name}.parquet" for name in ("train", "test")]
    alone, cpu, memory = limited.run([sys.executable, "-c", ALONE, *parts])
    found |= {"alone_s": round(alone, 1), "alone_cpu_s": round(cpu, 1), "alone_peak_mib": memory}
    return {**found, "added_s": round(total - alone, 1)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
