"""Real data sets through Dataset and TrainingRun with default settings, beside plain scikit-learn on the same split.

The data are those that scikit-learn, statsmodels and river ship. Each set is frozen, and a boosted and a linear
estimator are trained and measured by the containers' own entry points, in this process, against a store in a folder.
Beside it stands what a person would write: SimpleImputer, StandardScaler for what is linear, OneHotEncoder and the
estimator in 64 bits, fitted on the frozen train part and measured on the frozen test part.

    make real-data                                        # all of them
    make real-data ARGS="iris phishing"                   # these

Prints a table and writes it to tests/benchmarks/results/real_data.md and .json. Nothing is asserted: `equal` says that
all metrics agree to 1e-6 (of themselves where they are above 1), else the largest difference of a metric stands there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "runtime" / name / "kit") for name in ("snapshot", "training")]
sys.path[:0] = [str(ROOT / "tests" / "cluster")]

import numpy as np  # noqa: E402  the path is set above
import pandas as pd  # noqa: E402
from data_kit import tasks  # noqa: E402
from run_kit import runs  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

from millrace_runtime.snapshot import manifest  # noqa: E402
from millrace_runtime.training import __main__ as training  # noqa: E402
from millrace_runtime.training import estimators, features, metrics  # noqa: E402
from millrace_runtime.training.spec import Builtin, TaskKind  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "results"
EQUAL = 1e-6
SEED = 1
CLASSIFY, REGRESS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
ESTIMATORS = {
    CLASSIFY: ("sklearn.ensemble.GradientBoostingClassifier", "sklearn.linear_model.LogisticRegression"),
    REGRESS: ("sklearn.ensemble.GradientBoostingRegressor", "sklearn.linear_model.Ridge"),
}
NAMES = {CLASSIFY: ("accuracy", "roc_auc", "log_loss"), REGRESS: ("rmse", "mae", "r2")}


@dataclass(frozen=True)
class Set:
    """A data set: rows with a column `label` of type `label`."""

    name: str
    origin: str
    task: TaskKind
    label: str
    load: Callable[[], Any]


def bundled(name: str) -> Any:
    """One of scikit-learn's."""
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "label"})


def modelled(name: str, label: str, drop: Iterable[str] = (), above: float | None = None) -> Any:
    """One of statsmodels'; with `above` the label is whether the column is above it."""
    import importlib

    rows = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    found = rows[label] if above is None else (rows[label] > above).astype(int)
    return rows.drop(columns=[label, *drop]).assign(label=found)


def streamed(name: str, target: str | None = None) -> Any:
    """One of river's."""
    import river.datasets

    pairs = list(getattr(river.datasets, name)())
    rows = pd.DataFrame([features for features, _ in pairs])
    labels = [label if target is None else label[target] for _, label in pairs]
    return rows.assign(label=labels)


def plain_label(load: Callable[[], Any]) -> Any:
    """A label of whole numbers."""
    rows = load()
    return rows.assign(label=rows["label"].astype(int))


SETS = (
    Set("iris", "scikit-learn", CLASSIFY, "Int64", partial(bundled, "iris")),
    Set("wine", "scikit-learn", CLASSIFY, "Int64", partial(bundled, "wine")),
    Set("breast_cancer", "scikit-learn", CLASSIFY, "Int64", partial(bundled, "breast_cancer")),
    Set("digits", "scikit-learn", CLASSIFY, "Int64", partial(bundled, "digits")),
    Set("diabetes", "scikit-learn", REGRESS, "Float64", partial(bundled, "diabetes")),
    Set("randhie", "statsmodels", CLASSIFY, "Int64", partial(modelled, "randhie", "mdvis", above=0)),
    Set("fair", "statsmodels", CLASSIFY, "Int64", partial(modelled, "fair", "affairs", above=0)),
    Set("anes96", "statsmodels", CLASSIFY, "Int64",
        partial(plain_label, partial(modelled, "anes96", "vote", ["logpopul"]))),
    Set("star98", "statsmodels", REGRESS, "Float64", partial(modelled, "star98", "NABOVE", ["NBELOW"])),
    Set("engel", "statsmodels", REGRESS, "Float64", partial(modelled, "engel", "foodexp")),
    Set("phishing", "river", CLASSIFY, "Int64", partial(plain_label, partial(streamed, "Phishing"))),
    Set("image_segments", "river", CLASSIFY, "Category", partial(streamed, "ImageSegments")),
    Set("bananas", "river", CLASSIFY, "Int64", partial(plain_label, partial(streamed, "Bananas"))),
    Set("trump_approval", "river", REGRESS, "Float64", partial(streamed, "TrumpApproval")),
    Set("chick_weights", "river", REGRESS, "Float64", partial(streamed, "ChickWeights")),
    Set("solar_flare", "river", REGRESS, "Float64", partial(streamed, "SolarFlare", "c-class-flares")),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One estimator on one set: name -> value by the platform, and by scikit-learn alone."""

    of: Set
    estimator: str
    rows: int
    columns: int
    platform: dict[str, float]
    alone: dict[str, float]
    answers: float
    """Largest difference of a probability or prediction on the test rows; predictions in units of their spread."""
    precision: str
    seconds: float

    @property
    def difference(self) -> float:
        """The largest of any metric, in units of the metric where that is above 1 (an rmse in dollars)."""
        return max(abs(self.platform[name] - self.alone[name]) / max(1.0, abs(self.alone[name])) for name in self.alone)


def compared(one: Set, folder: Path) -> list[Row]:
    """Freeze once, then both estimators."""
    frame = one.load().reset_index(drop=True)
    bench = runs.Bench(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        bench.freeze(frame, one.label)
    return [row(one, bench, folder / str(at), estimator) for at, estimator in enumerate(ESTIMATORS[one.task])]


def row(one: Set, bench: runs.Bench, folder: Path, estimator: str) -> Row:
    """One run of the three containers, and the same by hand."""
    began = time.monotonic()
    name = estimator.rsplit(".", 1)[1].lower()
    changes = {"trainer": runs.builtin(estimator, one.task.value), "evaluation": {"metrics": list(NAMES[one.task])}}
    task = bench.task(name, **changes, seed=SEED)
    for stage in ("fetch", "train", "evaluate"):
        code, said, log = tasks.contained(partial(training.main, [stage]), task, folder)
        if code != 0 or said.get("outcome") == "Failed":
            raise SystemExit(f"{one.name}, {estimator}: {stage} ended with {code}: {said.get('message')}\n{log}")
    seconds = time.monotonic() - began
    alone, apart = by_hand(one, bench, estimator, bench.artifact(name, "model.onnx").read_bytes())
    return Row(
        one, estimator.rsplit(".", 1)[1], said_rows(bench), width(bench), values(said), alone, apart,
        said["signature"]["inputs"][0]["datatype"], seconds,
    )  # fmt: skip


def said_rows(bench: runs.Bench) -> int:
    """Rows of the frozen version."""
    assert bench.frozen is not None
    return bench.frozen.rows


def width(bench: runs.Bench) -> int:
    """Columns but the label."""
    assert bench.frozen is not None
    return len(manifest.load(bench.frozen.uri, bench.frozen.digest).fields) - 1


def values(report: dict[str, Any]) -> dict[str, float]:
    """The report's metrics."""
    return {each["name"]: float(each["value"]) for each in report["metrics"]}


def by_hand(one: Set, bench: runs.Bench, estimator: str, model: bytes) -> tuple[dict[str, float], float]:
    """What scikit-learn alone makes of the frozen parts, and how far the served answers are from its own."""
    assert bench.frozen is not None
    version = manifest.load(bench.frozen.uri, bench.frozen.digest)
    layout = features.layout(version.fields, classification=one.task is CLASSIFY)
    parts = {part: bench.part(part) for part in ("train", "test")}
    frames = {part: frame_of(table, layout) for part, table in parts.items()}
    truth = {
        part: features.targets(table, layout.label, classification=one.task is CLASSIFY)
        for part, table in parts.items()
    }
    builtin = Builtin(estimator, one.task)
    made = estimators.make(builtin, {}, SEED)
    numbers = [SimpleImputer(strategy="median"), *([StandardScaler()] if estimators.find(builtin).scaled else [])]
    steps = [("numeric", make_pipeline(*numbers), list(layout.numeric))] if layout.numeric else []
    if layout.categorical:
        steps.append(("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(layout.categorical)))
    pipeline = make_pipeline(ColumnTransformer(steps), made).fit(frames["train"], truth["train"])
    served = answers(model, parts["test"], layout)
    predicted = pipeline.predict(frames["test"])
    if one.task is REGRESS:
        apart = np.abs(served["prediction"].ravel() - predicted).max() / (predicted.std() or 1.0)
        return metrics.regression(NAMES[REGRESS], truth["test"], predicted), float(apart)
    probabilities = pipeline.predict_proba(frames["test"])
    apart = np.abs(served["probabilities"] - probabilities).max()
    classes = pipeline.classes_.tolist()
    return metrics.classification(NAMES[CLASSIFY], truth["test"], predicted, probabilities, classes), float(apart)


def frame_of(table: Any, layout: features.Layout) -> Any:
    """As a person would read it: numbers in 64 bits, texts with nothing for what is missing."""
    made = features.of(table, layout, np.float64)
    columns = {name: made[tensor][:, at] for name, tensor, at in layout.columns}
    return pd.DataFrame(columns)


def answers(model: bytes, table: Any, layout: features.Layout) -> dict[str, Any]:
    """What the served file says of the test rows."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    wide = any(given.type == "tensor(double)" for given in session.get_inputs())
    names = [output.name for output in session.get_outputs()]
    rows = features.of(table, layout, np.float64 if wide else np.float32)
    return dict(zip(names, session.run(names, rows), strict=True))


def cells(row: Row) -> tuple[str, ...]:
    """The row as text."""
    shown = NAMES[row.of.task][1 if row.of.task is CLASSIFY else 2]
    verdict = "equal" if row.difference <= EQUAL else f"{row.difference:.2g}"
    return (
        row.of.name, row.of.origin, str(row.rows), str(row.columns), row.precision, row.estimator, shown,
        f"{row.platform[shown]:.6f}", f"{row.alone[shown]:.6f}", verdict, f"{row.answers:.1e}", f"{row.seconds:.1f}",
    )  # fmt: skip


HEAD = ("data", "from", "rows", "columns", "numbers", "estimator", "metric", "Millrace", "scikit-learn",
        "metrics differ by", "answers by", "seconds")  # fmt: skip


def table(found: list[Row]) -> str:
    """Markdown with columns as wide as their widest cell."""
    lines = [HEAD, *(cells(row) for row in found)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    printed = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([printed[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *printed[1:]])


def main(argv: list[str]) -> int:
    """Run them, print the table, write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SET", help="all without a name")
    wanted = parser.parse_args(argv).names
    unknown = set(wanted) - {one.name for one in SETS}
    if unknown:
        parser.error(f"there is no {min(unknown)}; there are {', '.join(one.name for one in SETS)}")
    found: list[Row] = []
    for one in SETS:
        if not wanted or one.name in wanted:
            with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found += compared(one, Path(scratch))
            print(
                f"{one.name}: {', '.join(cells(row)[9] for row in found if row.of is one)}", file=sys.stderr, flush=True
            )
    print(table(found))
    if not wanted:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "real_data.md").write_text(f"{table(found)}\n")
        numbers = {
            "data_sets": len({row.of.name for row in found}),
            "runs": len(found),
            "runs_whose_metrics_equal_scikit_learns": sum(row.difference <= EQUAL for row in found),
            "largest_difference_of_a_metric": max(row.difference for row in found),
            "largest_difference_of_an_answer": max(row.answers for row in found),
        }
        (RESULTS / "real_data.json").write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
