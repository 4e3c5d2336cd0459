"""What the router's counters say about a canary: one sequential test per metric, then one word for all of them.

Both metrics are shares of requests, so both are judged by the same test (`sequential`):

| metric | event | limit |
| --- | --- | --- |
| ErrorRate | a request the canary failed, saved by a retry or not | thresholdRange.max |
| LatencyP95 | a request slower than the largest bucket bound at or under thresholdRange.max | 0.05 |

Failed as soon as the share is shown to be above the limit, Successful once minSamples are there and it is shown to be
below it, each wrong with probability 1 - confidence at most, however often one looks. Anything else is Running: no data
never passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from millrace.api.deployment import AnalysisMetric, AnalysisResult

from . import sequential
from .sequential import Side

Phase = Literal["Pending", "Running", "Successful", "Failed", "Inconclusive"]

SLOW_SHARE = 0.05
"""A 95th percentile is under its threshold when at most this share of the requests is over it."""


@dataclass(frozen=True)
class Tally:
    """Requests of one revision at all routers since some moment."""

    attempts: int = 0
    """Tries at the revision's own servers."""
    completed: int = 0
    """Requests routed to the revision and answered, by this revision or by stable."""
    failed: int = 0
    """Requests that the revision failed."""
    latency_ms: tuple[tuple[float, int], ...] = field(default=())
    """(upper bound in milliseconds, requests at or under it), increasing, infinity last."""

    def minus(self, before: Tally) -> Tally:
        """What came after `before`; never negative."""
        earlier = dict(before.latency_ms)
        return Tally(
            max(0, self.attempts - before.attempts),
            max(0, self.completed - before.completed),
            max(0, self.failed - before.failed),
            tuple((bound, max(0, count - earlier.get(bound, 0))) for bound, count in self.latency_ms),
        )


def judge(metric: AnalysisMetric, tally: Tally) -> AnalysisResult:
    """One metric, now."""
    limit, events, trials = _counted(metric, tally)
    phase: Phase = "Running" if trials else "Pending"
    if trials and sequential.is_shown(Side.ABOVE, limit, events, trials, metric.confidence):
        phase = "Failed"
    elif trials >= metric.min_samples and sequential.is_shown(Side.BELOW, limit, events, trials, metric.confidence):
        phase = "Successful"
    return AnalysisResult(
        name=metric.name,
        phase=phase,
        value=f"{events / trials:.6g}" if trials else None,
        threshold=f"<= {limit:g}",
        samples=trials,
        message=_message(metric, phase, events, trials),
    )


def judge_all(metrics: Iterable[AnalysisMetric], tally: Tally) -> tuple[AnalysisResult, ...]:
    """Every metric, now."""
    return tuple(judge(metric, tally) for metric in metrics)


def together(results: Sequence[AnalysisResult]) -> Phase:
    """One word: Failed if any is, Successful if all are and there is one, else Running."""
    phases = {result.phase for result in results}
    if "Failed" in phases:
        return "Failed"
    return "Successful" if phases == {"Successful"} else "Running"


def inconclusive(results: Iterable[AnalysisResult]) -> tuple[AnalysisResult, ...]:
    """The results of an analysis whose time is over: what is not decided stays undecided."""
    return tuple(
        result.model_copy(update={"phase": "Inconclusive"}) if result.phase in ("Pending", "Running") else result
        for result in results
    )


def rounded(samples: int) -> int:
    """Two significant digits, downwards: a status that counts every request would be written for every request."""
    step = int(10 ** max(0, len(str(samples)) - 2))
    return samples // step * step


def _counted(metric: AnalysisMetric, tally: Tally) -> tuple[float, int, int]:
    """Limit, events and trials of a metric.

    Where stable answered because no server of the canary could be tried, nothing was learnt about the canary: at most
    as many requests count as its servers were tried.
    """
    if metric.builtin == "ErrorRate":
        trials = min(tally.completed, tally.attempts)
        # A limit of zero cannot be shown to hold by any number of requests; one in a million can.
        return max(metric.threshold_range.max, 1e-6), min(tally.failed, trials), trials
    total = tally.latency_ms[-1][1] if tally.latency_ms else 0
    most = metric.threshold_range.max * 1000.0 * (1.0 + 1e-9)
    within = max((count for bound, count in tally.latency_ms if bound <= most and not math.isinf(bound)), default=0)
    trials = min(total, tally.attempts)
    return SLOW_SHARE, min(total - within, trials), trials


def _message(metric: AnalysisMetric, phase: Phase, events: int, trials: int) -> str:
    if not trials:
        return "no request reached the canary yet; no data never passes"
    what = (
        f"{events} of {trials} requests failed, {metric.threshold_range.max:g} of all may"
        if metric.builtin == "ErrorRate"
        else f"{events} of {trials} requests took over {metric.threshold_range.max:g} s, {SLOW_SHARE:g} of all may"
    )
    sure = f"{metric.confidence:g} sure, however often it is looked at"
    endings: dict[Phase, str] = {
        "Failed": f"that is too many ({sure})",
        "Successful": f"that is few enough ({sure})",
        "Running": "not enough requests to be sure"
        if trials >= metric.min_samples
        else f"at least {metric.min_samples} requests are needed",
    }
    return f"{what}: {endings[phase]}"
