"""Every number in one table, read from what the benchmarks wrote to results/, beside what is aimed at."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CI_TIMINGS = "MILLRACE_CI_TIMINGS"
"""Names a JSON file {"cold_s": seconds, "warm_s": seconds} that a CI machine left; either may be missing."""

KNOWN = ("story", "convergence", "kube_client", "summary")


@dataclass(frozen=True)
class Row:
    """One number. `value` is None while nobody measured it; `source` is then the command that does."""

    measured: str
    value: float | None
    unit: str
    aim: str
    source: str

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        return self.measured, self._value(), self.aim, self.source

    def _value(self) -> str:
        if self.value is None:
            return "not measured"
        if not self.unit:
            return f"{self.value:.4g}"
        whole = self.value >= 100 or float(self.value).is_integer()
        return f"{self.value:.{0 if whole else 1}f} {self.unit}"


def rows(results: Path) -> list[Row]:
    """The rows that the project promises, then every further number that a benchmark wrote."""
    return [*_story(results), *_kernel(results), *_write_path(results), *_others(results), *_ci()]


def markdown(found: list[Row]) -> str:
    """The table, with columns as wide as their widest cell."""
    lines = [("measured", "value", "aim", "from"), *(row.cells() for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    printed = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
               for line in lines]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([printed[0], rule, *printed[1:]])


def write(results: Path, found: list[Row], note: str) -> None:
    """results/summary.md and .json."""
    results.mkdir(exist_ok=True)
    (results / "summary.md").write_text(f"{note}\n\n{markdown(found)}\n")
    (results / "summary.json").write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


def _story(results: Path) -> Iterator[Row]:
    told = _read(results / "story.json")
    warm, cold = told.get("warm", {}), told.get("cold", {})
    seen = warm.get("measures") or {}
    idle, after = seen.get("operator_idle", {}), seen.get("operator_after_the_story", {})
    run, drifted = "make bench ARGS=story", "drift_injected_to_{}_s"
    predicted = "apply_to_first_correct_prediction_s"
    yield Row("make demo, empty caches", cold.get("wall_s"), "s", "", 'make bench ARGS="story --cold"')
    yield Row("make demo, warm", warm.get("wall_s"), "s", "<= 300 s", run)
    yield Row("apply -> first correct prediction", seen.get(predicted), "s", "<= 60 s", run)
    yield Row("drift injected -> drift detected", seen.get(drifted.format("detected")), "s", "", run)
    yield Row("drift injected -> new model at 100 %", seen.get(drifted.format("new_model_at_100")), "s", "", run)
    yield Row("event -> reconcile start, p50 (at most)", after.get("p50_ms"), "ms", "", run)
    yield Row("event -> reconcile start, p99 (at most)", after.get("p99_ms"), "ms", "", run)
    yield Row("operator memory, idle", idle.get("memory_mib"), "MiB", "<= 120 MiB", run)
    yield Row("operator memory, after the story", after.get("memory_mib"), "MiB", "<= 120 MiB", run)
    yield Row("requests failed in the story", (seen.get("requests") or {}).get("failed"), "", "0", run)


def _kernel(results: Path) -> Iterator[Row]:
    found, run = _read(results / "convergence.json"), "make bench ARGS=convergence"
    if "load_average_at_start" in found:
        run += f" (at load {found['load_average_at_start']:.1f})"
    yield Row("event -> child written, p50", found.get("single_p50_ms"), "ms", "<= 15 ms", run)
    yield Row("event -> child written, p99", found.get("single_p99_ms"), "ms", "<= 40 ms", run)
    yield Row("children written in a burst", found.get("burst_objects_per_second"), "/s", "", run)


def _write_path(results: Path) -> Iterator[Row]:
    for client, rounds in _read(results / "kube_client.json").get("rounds", {}).items():
        for key, unit in (("cpu_ms_per_object", "ms"), ("peak_rss_mib", "MiB")):
            value = statistics.median(one[key] for one in rounds)
            what = "CPU a pass" if unit == "ms" else "peak memory"
            yield Row(f"write path on {client}, {what}", value, unit, "", "make bench ARGS=write_path")


def _others(results: Path) -> Iterator[Row]:
    for path in sorted(results.glob("*.json")):
        if path.stem not in KNOWN:
            for key, value in _read(path).items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    yield Row(f"{path.stem}: {key}", float(value), "", "", f"results/{path.stem}.md")


def _ci() -> Iterator[Row]:
    named = os.environ.get(CI_TIMINGS)
    found = _read(Path(named)) if named else {}
    for kind, aim in (("cold", 60), ("warm", 30)):
        seconds = found.get(f"{kind}_s")
        minutes = None if seconds is None else seconds / 60
        yield Row(f"bash .ci/run, {kind}", minutes, "min", f"<= {aim} min", f"the file in {CI_TIMINGS}")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    return found if isinstance(found, dict) else {}
