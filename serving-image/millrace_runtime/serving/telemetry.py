"""The server's series: plain counters, and the page that `/metrics` answers.

One process, one event loop: a list element is incremented, and nothing is locked. The page is written by hand
because the counters are arrays; the names and labels come from `millrace.contract.series`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping

from millrace.contract import series
from millrace.contract.environment import ServerEnvironment
from millrace_runtime.serving.drift import DriftCounters
from millrace_runtime.serving.statistics import Statistics

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_ROLES = {
    "feature": (series.FEATURE_BINS, series.REFERENCE_BINS),
    "output": (series.OUTPUT_BINS, series.REFERENCE_OUTPUT_BINS),
}


class Telemetry:
    """What this process has done since it started."""

    def __init__(self, settings: ServerEnvironment) -> None:
        self._settings = settings
        self._requests: dict[int, int] = {200: 0, 400: 0, 500: 0}
        self._buckets = [0] * (len(series.LATENCY_BUCKETS_SECONDS) + 1)
        self._seconds = 0.0
        self.statistics = Statistics()
        self.golden_rows = 0
        self.ready = False
        self.drift: DriftCounters | None = None
        self._heads: dict[tuple[str, str, int], list[str]] = {}
        """Series of a feature or output, bin by bin, as far as they never change: there may be tens of thousands."""

    def answered(self, code: int, seconds: float) -> None:
        """Count one inference request."""
        self._requests[code] = self._requests.get(code, 0) + 1
        self._buckets[bisect.bisect_left(series.LATENCY_BUCKETS_SECONDS, seconds)] += 1
        self._seconds += seconds
        statistics = self.statistics.success if code == 200 else self.statistics.fail
        statistics.add(int(seconds * 1e9))

    def page(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        lines: list[str] = []
        self._family(
            lines, series.REQUESTS, (({"code": code}, count) for code, count in sorted(self._requests.items()))
        )
        self._latency(lines)
        self._family(lines, series.ROWS, [({}, self.statistics.rows)])
        self._drift(lines)
        info = {"digest": self._settings.digest, "version": self._settings.model_version}
        self._family(lines, series.MODEL_INFO, [(info, 1)])
        self._family(lines, series.GOLDEN_ROWS, [({}, self.golden_rows)])
        self._family(lines, series.READY, [({}, int(self.ready))])
        return ("\n".join(lines) + "\n").encode()

    def _drift(self, lines: list[str]) -> None:
        if self.drift is None:
            return
        live, reference = list(self.drift.live()), list(self.drift.reference())
        for role, (counted, trained) in _ROLES.items():
            for family, found in ((counted, live), (trained, reference)):
                _head(lines, family)
                for kind, name, counts in found:
                    if kind == role:
                        heads = self._bins(family, role, name, len(counts))
                        lines.extend(map("%s %d".__mod__, zip(heads, counts, strict=True)))

    def _bins(self, family: series.Series, role: str, name: str, count: int) -> list[str]:
        key = (family.name, name, count)
        if key not in self._heads:
            self._heads[key] = [f"{family.name}{self._labels({role: name, 'bin': index})}" for index in range(count)]
        return self._heads[key]

    def _latency(self, lines: list[str]) -> None:
        name = series.REQUEST_SECONDS.name
        _head(lines, series.REQUEST_SECONDS)
        total = 0
        for bound, count in zip((*map(str, series.LATENCY_BUCKETS_SECONDS), "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f"{name}_bucket{self._labels({'le': bound})} {total}")
        lines.append(f"{name}_sum{self._labels({})} {self._seconds!r}")
        lines.append(f"{name}_count{self._labels({})} {total}")

    def _family(
        self, lines: list[str], family: series.Series, samples: Iterable[tuple[Mapping[str, object], int]]
    ) -> None:
        _head(lines, family)
        lines.extend(f"{family.name}{self._labels(labels)} {value}" for labels, value in samples)

    def _labels(self, labels: Mapping[str, object]) -> str:
        common = zip(series.COMMON_LABELS, (self._settings.model, self._settings.revision), strict=True)
        pairs = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in (*common, *labels.items()))
        return "{" + pairs + "}"


def _head(lines: list[str], family: series.Series) -> None:
    lines.append(f"# HELP {family.name} {family.help}")
    lines.append(f"# TYPE {family.name} {family.kind}")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
