"""The drift rule on streams with known truth: false alarms, and rows from the change to the alarm.

100 streams of 10,000 rows, unit normal, a reference of 5,000 rows; the mean shifts at row 4,000; a look every 100 rows.
The same streams on which rules in use today were measured. Beside them, streams that break the rule's one assumption,
independence, so that nobody is surprised:

    python tests/benchmarks/drift/detection.py --streams 100

Prints a table and writes it to tests/benchmarks/results/detection.md and .json. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from millrace.decide.deployment import drift
from millrace.decide.deployment.drift import Memory, Rule

RESULTS = Path(__file__).parents[1] / "results"
ROWS, CHANGE, LOOK, REFERENCE, BINS = 10_000, 4_000, 100, 5_000, 14
Rows = np.ndarray
Stream = Callable[[np.random.Generator, float], Rows]


def independent(rng: np.random.Generator, shift: float) -> Rows:
    rows = rng.normal(size=ROWS)
    rows[CHANGE:] += shift
    return rows


def correlated(rng: np.random.Generator, shift: float) -> Rows:
    """AR(1) with coefficient 0.5, unit variance."""
    rows = rng.normal(size=ROWS) * np.sqrt(0.75)
    for index in range(1, ROWS):
        rows[index] += 0.5 * rows[index - 1]
    rows[CHANGE:] += shift
    return rows


def repeated(rng: np.random.Generator, shift: float) -> Rows:
    """Every row is sent five times."""
    rows = np.repeat(rng.normal(size=ROWS // 5), 5)
    rows[CHANGE:] += shift
    return rows


def daily(rng: np.random.Generator, shift: float) -> Rows:
    """The mean swings by 0.3 in a period of 2,000 rows."""
    rows = rng.normal(size=ROWS) + 0.3 * np.sin(np.arange(ROWS) * 2 * np.pi / 2000)
    rows[CHANGE:] += shift
    return rows


def first_alarm(rows: Rows, rng: np.random.Generator, rule: Rule) -> int | None:
    """The row at which the rule first alarms."""
    past = rng.normal(size=REFERENCE)
    edges = np.quantile(past, np.linspace(0, 1, BINS + 1)[1:-1])
    reference = {"x": counted(past, edges)}
    memory, total = Memory(), np.zeros(BINS + 1, dtype=int)
    for end in range(LOOK, len(rows) + 1, LOOK):
        total += np.array(counted(rows[end - LOOK : end], edges))
        memory, _ = drift.look(memory, {"x": tuple(map(int, total))}, reference, rule)
        if memory.alarm is not None:
            return end
    return None


def counted(values: Rows, edges: Rows) -> tuple[int, ...]:
    return tuple(map(int, np.bincount(np.searchsorted(edges, values, side="right"), minlength=BINS + 1)))


def measure(name: str, stream: Stream, rule: Rule, shift: float, streams: int) -> dict[str, object]:
    alarms = []
    for seed in range(streams):
        rng = np.random.default_rng(seed)
        alarms.append(first_alarm(stream(rng, shift), rng, rule))
    late = [row - CHANGE for row in alarms if row is not None and row > CHANGE]
    return {
        "stream": name,
        "margin": rule.margin,
        "shift": shift,
        "early": sum(row is not None and row <= CHANGE for row in alarms) / streams,
        "seen": len(late) / streams,
        "median_delay": statistics.median(late) if late else None,
    }


def cost_milliseconds(features: int = 64) -> float:
    """One look at the largest profile there may be, with a full memory."""
    rng = np.random.default_rng(0)
    names = [f"f{index}" for index in range(features)]
    reference = {name: tuple(int(n) for n in rng.integers(100, 200, 16)) for name in names}
    live = dict.fromkeys(names, (0,) * 16)
    memory = Memory()
    for _ in range(200):
        live = {
            name: tuple(a + int(b) for a, b in zip(bins, rng.integers(5, 9, 16), strict=True))
            for name, bins in live.items()
        }
        memory, _ = drift.look(memory, live, reference, Rule())
    started = time.perf_counter()
    for _ in range(20):
        drift.look(memory, live, reference, Rule())
    return (time.perf_counter() - started) / 20 * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    streams = parser.parse_args().streams
    cases = [
        ("independent", independent, Rule(margin=margin), shift)
        for margin in (0.0, 0.02, 0.05)
        for shift in (0.0, 0.1, 0.3, 1.0)
    ]
    cases += [(other.__name__, other, Rule(), shift) for other in (correlated, repeated, daily) for shift in (0.0, 1.0)]
    cases += [(other.__name__, other, Rule(margin=0.0), 0.0) for other in (correlated, repeated, daily)]
    lines = [
        "| stream | margin | shift | alarms before it | seen after it | median rows to the alarm |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for name, stream, rule, shift in cases:
        found = measure(name, stream, rule, shift, streams)
        rows.append(found)
        lines.append("| " + " | ".join(str(value) for value in found.values()) + " |")
        print(lines[-1], flush=True)
    cost = cost_milliseconds()
    lines += ["", f"One look at 64 features of 16 bins with a full memory: {cost:.1f} ms."]
    print(lines[-1])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "detection.md").write_text(f"# Drift\n\n{streams} streams each.\n\n" + "\n".join(lines) + "\n")
    default = next(row for row in rows if (row["stream"], row["margin"], row["shift"]) == ("independent", 0.05, 1.0))
    summary = {"one_look_ms": round(cost, 2), "median_rows_to_alarm_one_sigma": default["median_delay"]}
    (RESULTS / "detection.json").write_text(json.dumps({**summary, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
