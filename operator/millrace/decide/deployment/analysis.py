"""What the router's counters say about a canary: one sequential test per metric, then one word for all of them.

Failed once `minSamples` requests are there and the share is shown to be above what may be, Successful once they are
there and it is shown to be below, each wrong with probability 1 - confidence at most, however often one looks. Anything
else is Running: no data never passes, and nothing fails on a few requests. What is measured is in `metrics`, the tests
are in `sequential`.

A canary fails by the events that are certain and passes by those that are possible: where the counters leave room, it
stays Running rather than wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from millrace.api.deployment import Analysis, AnalysisMetric, AnalysisResult, Canary, Compare

from . import sequential
from .metrics import METRICS, Counted, Stratum
from .sequential import Side, Table

Phase = Literal["Pending", "Running", "Successful", "Failed", "Inconclusive"]
Strata = Sequence[Stratum]

DEFAULTS: Final = (
    AnalysisMetric(name="default-error-rate", builtin="ErrorRate", compare=Compare(), min_samples=100, confidence=0.95),
)
"""What every canary is watched by, unless `disableDefaults` names the builtin or the spec compares it itself."""
DEFAULT_DURATION: Final = "1h"


def watching(canary: Canary) -> Analysis:
    """The analysis in the background: the spec's, with the defaults that it neither states itself nor turns off.

    It may have no metric at all.
    """
    asked = canary.analysis
    metrics = tuple(asked.metrics) if asked is not None else ()
    off = {*canary.disable_defaults, *(one.builtin for one in metrics if one.compare is not None)}
    added = [one for one in DEFAULTS if one.builtin not in off]
    duration = asked.max_duration if asked is not None else DEFAULT_DURATION
    # Not validated: the schema's bounds are for what people write.
    return Analysis.model_construct(metrics=[*metrics, *added], max_duration=duration)


def built_in(results: Iterable[AnalysisResult]) -> str:
    """How many of them the spec does not state, to be put behind their number."""
    count = sum(is_default(one) for one in results)
    return f" ({count} of them built in)" if count else ""


def is_default(result: AnalysisResult) -> bool:
    """Whether it is about a metric that nobody asked for."""
    return result.name in {one.name for one in DEFAULTS}


def judge(asked: AnalysisMetric, strata: Strata) -> AnalysisResult:
    """One metric, now."""
    metric = METRICS[asked.builtin]
    counted = [metric.count(asked, one) for one in strata]
    total = Counted()
    for one in counted:
        total = total.plus(one)
    trials = total.canary.trials
    phase: Phase = "Running" if trials else "Pending"
    if trials >= asked.min_samples:
        if _is_shown(asked, Side.ABOVE, counted):
            phase = "Failed"
        elif _is_shown(asked, Side.BELOW, counted):
            phase = "Successful"
    return AnalysisResult(
        name=asked.name,
        phase=phase,
        value=_share(total.canary.least, total.canary.most, trials, phase),
        baseline=_share(total.stable.most, total.stable.least, total.stable.trials, phase) if asked.compare else None,
        threshold=_threshold(asked),
        samples=trials,
        message=_message(asked, phase, total),
    )


def judge_all(metrics: Iterable[AnalysisMetric], strata: Strata) -> tuple[AnalysisResult, ...]:
    """Every metric, now."""
    return tuple(judge(metric, strata) for metric in metrics)


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


def _is_shown(asked: AnalysisMetric, side: Side, counted: Sequence[Counted]) -> bool:
    """Whether the events are too many even by what is certain, or few enough even by what is possible."""
    metric, share = METRICS[asked.builtin], METRICS[asked.builtin].share(asked)
    above = side is Side.ABOVE
    if metric.beside_stable:
        tables = [
            Table(
                one.canary.trials,
                one.canary.least if above else one.canary.most,
                one.stable.trials,
                one.stable.most if above else one.stable.least,
            )
            for one in counted
        ]
        return sequential.difference_is_shown(side, share, tables, asked.confidence)
    events = sum(one.canary.least if above else one.canary.most for one in counted)
    return sequential.is_shown(side, share, events, sum(one.canary.trials for one in counted), asked.confidence)


def _share(certain: int, possible: int, trials: int, phase: Phase) -> str | None:
    """The share that the verdict rests on; without a verdict only one that is known exactly."""
    if not trials or (phase not in ("Failed", "Successful") and certain != possible):
        return None
    return f"{(certain if phase == 'Failed' else possible) / trials:.6g}"


def _threshold(asked: AnalysisMetric) -> str:
    metric = METRICS[asked.builtin]
    share = f"{metric.share(asked):g}"
    if asked.compare is not None:
        return f"{metric.event} <= stable + {share}"
    limit = asked.threshold_range.max if asked.threshold_range is not None else 0.0
    return f"{metric.event}{f' {limit:.4g} {metric.unit}' if metric.unit else ''} <= {share}"


def _message(asked: AnalysisMetric, phase: Phase, total: Counted) -> str:
    told = _counted(asked, phase, total) if total.canary.trials else _nothing(asked)
    return f"built in, unless spec.strategy.canary.disableDefaults turns it off: {told}" if asked in DEFAULTS else told


def _counted(asked: AnalysisMetric, phase: Phase, total: Counted) -> str:
    trials = total.canary.trials
    exact = total.canary.least == total.canary.most
    unsure = "too few requests to be sure yet" if exact else "that leaves it open so far"
    endings: dict[Phase, str] = {
        "Failed": f"that is too many, with a confidence of {asked.confidence:g}",
        "Successful": f"that is few enough, with a confidence of {asked.confidence:g}",
        "Running": f"at least {asked.min_samples} requests are needed" if trials < asked.min_samples else unsure,
    }
    return f"{METRICS[asked.builtin].sentence(asked, total)}: {endings[phase]}"


def _nothing(asked: AnalysisMetric) -> str:
    if asked.compare is None:
        return "no request reached the canary yet; no data never passes"
    return "no request reached canary and stable over the same time yet; no data never passes"
