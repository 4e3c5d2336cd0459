"""What can be measured of a canary: one entry for each builtin of the API.

A metric is a share of requests: `count` says how many there were and on how many of them the event happened, in the
canary and, where the two are compared, in stable over the same time. Where the router's counters leave room, it says at
least and at most how many: a canary fails by what is certain, and passes by what is possible (`analysis`).

To add one: an entry here, its name in `api.deployment.AnalysisMetric.builtin`, and, if the router counts something that
nobody read before, its line in `contract.router.RevisionTraffic`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from millrace.api.deployment import AnalysisMetric
from millrace.contract.router import LATENCY_BUCKETS_MS, RevisionTraffic

SLOW_SHARE = 0.05
"""A 95th percentile is under its threshold when at most this share of the requests is over it."""
LEAST_SHARE = 1e-6
"""A share of zero cannot be shown to hold by any number of requests; one in a million can."""


@dataclass(frozen=True)
class Stratum:
    """What canary and stable did over the same time, under one set of weights."""

    canary: RevisionTraffic = field(default_factory=RevisionTraffic)
    stable: RevisionTraffic = field(default_factory=RevisionTraffic)

    def plus(self, other: Stratum) -> Stratum:
        """Both together; only where the weights were the same."""
        return Stratum(self.canary.plus(other.canary), self.stable.plus(other.stable))


@dataclass(frozen=True)
class Events:
    """On how many of so many requests something happened, at least and at most."""

    trials: int = 0
    least: int = 0
    most: int = 0

    def plus(self, other: Events) -> Events:
        """Both together."""
        return Events(self.trials + other.trials, self.least + other.least, self.most + other.most)


@dataclass(frozen=True)
class Counted:
    """What a metric makes of one stratum. Without trials in `stable` the canary stands alone there."""

    canary: Events = Events()
    stable: Events = Events()

    def plus(self, other: Counted) -> Counted:
        """Both together: to be shown, not to be judged."""
        return Counted(self.canary.plus(other.canary), self.stable.plus(other.stable))


@dataclass(frozen=True)
class Metric:
    """One entry."""

    event: str
    """What happens to a request, in a word or two: the share of such requests is what is measured."""
    unit: str
    """Of thresholdRange.max; empty where that is a share of the requests itself."""
    beside_stable: bool
    """Whether the canary is compared with stable, or held against a share alone."""
    counters: frozenset[str]
    """What it reads of `RevisionTraffic`; nothing else changes its verdict."""
    share: Callable[[AnalysisMetric], float]
    """The share of requests (beyond stable's, where they are compared) that may have the event."""
    count: Callable[[AnalysisMetric, Stratum], Counted]
    sentence: Callable[[AnalysisMetric, Counted], str]
    """What was counted and what may be, without the verdict."""


# --- ErrorRate


def _error_share(asked: AnalysisMetric) -> float:
    if asked.compare is not None:
        return max(asked.compare.max_increase, LEAST_SHARE)
    return max(asked.threshold_range.max, LEAST_SHARE) if asked.threshold_range is not None else LEAST_SHARE


def _errors(asked: AnalysisMetric, seen: Stratum) -> Counted:
    """Failed and refused requests.

    A request is refused (4xx) for what the caller sent, or for what the model cannot take: which of the two, only
    stable can tell. So refusals always count beside stable's; server errors do if the metric says `compare`, and are
    counted alone if it has a threshold.

    A canary's request that none of its servers could be tried for was answered by stable: nothing is learnt from it,
    and up to as many events may be stable's.
    """
    canary, stable = seen.canary, seen.stable
    trials = min(canary.completed, canary.attempts)
    if not stable.completed:
        if asked.compare is not None:
            return Counted()
        return Counted(Events(trials, _within(canary.failed - canary.untried, trials), _within(canary.failed, trials)))
    certain = canary.failed + canary.refused - min(canary.saved, canary.refused) - canary.untried
    tried = Events(trials, _within(certain, trials), _within(canary.failed + canary.refused, trials))
    excused = stable.failed if asked.compare is not None else 0
    surely = excused + stable.refused - min(excused, stable.saved, stable.refused)
    beside = Events(
        stable.completed, _within(surely, stable.completed), _within(excused + stable.refused, stable.completed)
    )
    return Counted(tried, beside)


def _errors_told(asked: AnalysisMetric, total: Counted) -> str:
    canary, stable = total.canary, total.stable
    failed = f"{_range(canary)} of {canary.trials} requests failed or were refused (4xx)"
    if asked.compare is not None:
        there = f"{_range(stable)} of {stable.trials} at stable over the same time"
        return f"{failed}, {there}; up to {_percent(_error_share(asked))} of all requests more than at stable may"
    if not stable.trials:
        failed = f"{_range(canary)} of {canary.trials} requests failed"
        return f"{failed}, up to {_percent(_error_share(asked))} may; beside stable nothing was counted"
    there = f"stable refused {_range(stable)} of {stable.trials} over the same time"
    return f"{failed}, {there}; up to {_percent(_error_share(asked))} may fail, or be refused where stable does not"


# --- LatencyP95


def _slow(asked: AnalysisMetric, seen: Stratum) -> Counted:
    """Requests that took longer than the limit: at least those over the next bound, at most those over the last one."""
    latency = seen.canary.latency_ms
    total = latency.get(math.inf, 0)
    trials = min(total, seen.canary.attempts)
    below, above = _bounds(asked, tuple(latency))
    most = total - (latency[below] if below is not None else 0)
    # Which of the requests were answered by stable instead is not known: it may be the slow ones.
    least = total - (latency[above] if above is not None else total) - (total - trials)
    return Counted(Events(trials, _within(least, trials), _within(most, trials)))


def _bounds(asked: AnalysisMetric, bounds: tuple[float, ...]) -> tuple[float | None, float | None]:
    """The largest bound of the histogram at or under the limit, and the smallest at or over it, in milliseconds."""
    limit = _limit_ms(asked)
    below = max((bound for bound in bounds if bound <= limit * (1.0 + 1e-9) and not math.isinf(bound)), default=None)
    above = min((bound for bound in bounds if bound >= limit * (1.0 - 1e-9)), default=None)
    return below, above


def _limit_ms(asked: AnalysisMetric) -> float:
    return asked.threshold_range.max * 1000.0 if asked.threshold_range is not None else math.inf


def _slow_told(asked: AnalysisMetric, total: Counted) -> str:
    told = f"{_range(total.canary)} of {total.canary.trials} requests took over {_limit_ms(asked) / 1000.0:g} s"
    below, above = _bounds(asked, (*LATENCY_BUCKETS_MS, math.inf))
    if below != above:
        exact = " or ".join(f"{bound / 1000.0:g} s" for bound in (below, above) if bound and not math.isinf(bound))
        told += f" (only a max of {exact} would be counted exactly)"
    return f"{told}, up to {_percent(SLOW_SHARE)} may"


def _percent(share: float) -> str:
    return f"{100.0 * share:.6g} %"


def _range(events: Events) -> str:
    if events.least == events.most:
        return str(events.least)
    return f"between {events.least} and {events.most}"


def _within(count: int, trials: int) -> int:
    return max(0, min(count, trials))


METRICS: Mapping[str, Metric] = {
    "ErrorRate": Metric(
        event="errors",
        unit="",
        beside_stable=True,
        counters=frozenset({"attempts", "completed", "saved", "lost", "refused"}),
        share=_error_share,
        count=_errors,
        sentence=_errors_told,
    ),
    "LatencyP95": Metric(
        event="share over",
        unit="s",
        beside_stable=False,
        counters=frozenset({"attempts", "latency_ms"}),
        share=lambda _: SLOW_SHARE,
        count=_slow,
        sentence=_slow_told,
    ),
}
"""By the name in the API."""
