"""The figures as a table, as ratios to the Go operators, and as files in tests/benchmarks/results/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from millrace_scale.figures import Figures

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("first_child_p50_s", "first child p50 s", ".2f"),
    ("first_child_p99_s", "p99 s", ".2f"),
    ("objects_per_s", "objects/s", ".0f"),
    ("children_per_s", "children/s", ".0f"),
    ("children_per_object", "children/object", ".1f"),
    ("writes_per_object", "writes/object", ".1f"),
    ("events_per_object", "Events/object", ".1f"),
    ("cpu_ms_per_object", "CPU ms/object", ".1f"),
    ("cpu_ms_per_child", "CPU ms/child", ".1f"),
    ("cpu_ms_per_write", "CPU ms/write", ".2f"),
    ("peak_rss_mib", "peak MiB", ".0f"),
    ("rss_mib", "MiB after", ".0f"),
    ("idle_cpu_percent", "idle CPU %", ".2f"),
    ("idle_writes", "idle writes", "d"),
    ("settled_s", "all written s", ".0f"),
)
RATIOS = ("first_child_p50_s", "first_child_p99_s", "objects_per_s", "children_per_s", "cpu_ms_per_object",
          "cpu_ms_per_child", "cpu_ms_per_write", "peak_rss_mib", "idle_cpu_percent")  # fmt: skip
PAIRS = (("kernel", "twin"), ("millrace", "twin"), ("millrace", "rollouts"))
"""Ours over theirs. The kernel does the very work of the twin; a Deployment of ours is more than either's object."""


def table(found: Sequence[Figures], titles: Mapping[str, str]) -> str:
    """One row for each count and operator."""
    rows = [
        [f"{one.count:,}", titles[one.contender], *(format(_value(one, name, form), form) for name, _, form in COLUMNS)]
        for one in sorted(found, key=lambda one: (one.count, list(titles).index(one.contender)))
    ]
    return _grid(["objects", "operator", *(title for _, title, _ in COLUMNS)], rows)


def ratios(found: Sequence[Figures]) -> dict[int, dict[str, dict[str, float]]]:
    """Count -> "ours/theirs" -> figure -> ratio, for the pairs that were both measured at that count."""
    by = {(one.count, one.contender): one for one in found}
    counted: dict[int, dict[str, dict[str, float]]] = {}
    for count in sorted({one.count for one in found}):
        for ours, theirs in PAIRS:
            mine, other = by.get((count, ours)), by.get((count, theirs))
            if mine is not None and other is not None:
                counted.setdefault(count, {})[f"{ours}/{theirs}"] = {
                    name: getattr(mine, name) / getattr(other, name) for name in RATIOS if getattr(other, name)
                }
    return counted


def ratio_table(counted: Mapping[int, Mapping[str, Mapping[str, float]]]) -> str:
    """The ratios as a table; of children and objects a second more is better, of everything else less."""
    titles = {name: title for name, title, _ in COLUMNS} | {"first_child_p99_s": "first child p99 s"}
    rows = [
        [f"{count:,}", pair, *(f"{values[name]:.2f}" if name in values else "-" for name in RATIOS)]
        for count, pairs in counted.items()
        for pair, values in pairs.items()
    ]
    return _grid(["objects", "ratio", *(titles[name] for name in RATIOS)], rows)


def growth(found: Sequence[Figures]) -> dict[str, dict[str, float]]:
    """For each operator from its smallest to its largest count: how many times as much of what should not grow.

    1 is linear in the whole: the same CPU for each object, and for each object the same memory on top of the first.
    """
    grown: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(one.contender for one in found):
        own = sorted((one for one in found if one.contender == name), key=lambda one: one.count)
        if len(own) > 1:
            small, large = own[0], own[-1]
            grown[name] = {
                "objects": large.count / small.count,
                "cpu_ms_per_object": large.cpu_ms_per_object / small.cpu_ms_per_object,
                "kib_per_further_object": (large.rss_mib - small.rss_mib) * 1024 / (large.count - small.count),
                "objects_per_s": large.objects_per_s / small.objects_per_s,
            }
    return grown


def growth_table(grown: Mapping[str, Mapping[str, float]], titles: Mapping[str, str]) -> str:
    """The growth as a table."""
    rows = [
        [titles[name], f"{one['objects']:.0f}x", f"{one['cpu_ms_per_object']:.2f}x",
         f"{one['kib_per_further_object']:.1f}", f"{one['objects_per_s']:.2f}x"]
        for name, one in grown.items()
    ]  # fmt: skip
    return _grid(["operator", "objects", "CPU/object", "KiB for each further object", "objects/s"], rows)


@dataclass
class Before:
    """What the last document says."""

    runs: list[Figures] = field(default_factory=list)
    machine: str = ""
    further: dict[str, float] = field(default_factory=dict)


def measured_before(results: Path, counts: Sequence[int]) -> Before:
    """The runs at other counts, and what does not depend on counts; nothing where there is no document."""
    if not (results / "operator.json").exists():
        return Before()
    document = json.loads((results / "operator.json").read_text())
    runs = [Figures(**run) for run in document["runs"] if run["count"] not in counts]
    return Before(runs, document["machine"], document["further"])


def write(results: Path, document: Mapping[str, Any], text: str) -> None:
    """results/operator.json and .md."""
    results.mkdir(exist_ok=True)
    (results / "operator.json").write_text(json.dumps(document, indent=1) + "\n")
    (results / "operator.md").write_text(text)


def document(runs: Iterable[Figures], medians: Sequence[Figures], **more: Any) -> dict[str, Any]:
    """What is kept as JSON: every run, the medians, the ratios; the ratios of 1,000 also at the top for the summary."""
    counted = ratios(medians)
    top = {
        f"{pair} {name} at 1,000": round(value, 3)
        for pair, values in counted.get(1000, {}).items()
        for name, value in values.items()
    }
    return {
        **more,
        **top,
        "ratios": counted,
        "growth": growth(medians),
        "medians": [asdict(one) for one in medians],
        "runs": [asdict(one) for one in runs],
    }


def _value(one: Figures, name: str, form: str) -> float | int:
    value: float = getattr(one, name)
    return int(value) if form == "d" else value


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in [head, *rows]]  # fmt: skip
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
