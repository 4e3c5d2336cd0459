"""What a rollout does with its analyses: which of them watch the canary now, and what it waits for because of them.

A canary passes an analysis step on the requests since that step, and everything in the background on those since the
rollout began. What compares it with stable has to be shown while both get requests: before the canary takes everything.
"""

from __future__ import annotations

from datetime import datetime

from millrace.api import deployment as spec
from millrace.api.deployment_status import AnalysisResult, DeploymentStatus, Rollout
from millrace.api.quantities import seconds
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.status import later

from . import analysis, steps
from .finding import CanaryContext, Finding, Signal
from .observation import Observation


def judged(seen: Observation, state: DeploymentStatus) -> tuple[AnalysisResult, ...]:
    """Every analysis that watches the canary now: the one of the present step, and what watches in the background."""
    canary, memory = state.canary, state.rollout or Rollout()
    if canary is None or state.stable is None:
        return ()
    results: tuple[AnalysisResult, ...] = ()
    step = steps.current(seen, state)
    if step is not None and step.analysis is not None:
        results += analysis.judge_all(
            step.analysis.metrics, seen.strata(canary.revision, step=memory.step_started_time)
        )
    background = _background(seen, state)
    if background is not None:
        results += analysis.judge_all(background.metrics, seen.strata(canary.revision, rollout=memory.started_time))
    return results


def analysing(context: CanaryContext) -> Finding:
    """At an analysis step."""
    step = steps.current(context.seen, context.state)
    if step is None or step.analysis is None:
        return Finding(signal=Signal.DONE)
    began = steps.began(context.seen, context.state)
    results = analysis.judge_all(step.analysis.metrics, context.seen.strata(context.canary.revision, step=began))
    since = context.seen.counted_since(context.canary.revision, step=began)
    return _under_analysis(context, step.analysis, results, since)


def before_promotion(context: CanaryContext) -> Finding | None:
    """What keeps a canary that is past its last step from being promoted; None once everything passed.

    With all the traffic it cannot be compared any more: that was shown before it got it.
    """
    return _unless_passed(context, compared_too=context.canary.weight < 100)


def before_everything(context: CanaryContext) -> Finding | None:
    """What keeps a canary from a step that gives it all the traffic: what can only be shown beside stable."""
    if context.canary.weight >= 100:
        return None
    background = _background(context.seen, context.state)
    if background is None or not any(metric.compare is not None for metric in background.metrics):
        return None
    return _unless_passed(context, compared_too=True, others_too=False)


def _background(seen: Observation, state: DeploymentStatus) -> spec.Analysis | None:
    canary = steps.canary_of(seen)
    if canary is None or state.stable is None:
        return None
    found = analysis.watching(canary)
    return found if found.metrics else None


def _unless_passed(context: CanaryContext, *, compared_too: bool, others_too: bool = True) -> Finding | None:
    seen, state, canary = context.seen, context.state, context.canary
    background, memory = _background(seen, state), state.rollout or Rollout()
    asked = [
        one
        for one in (background.metrics if background is not None else ())
        if (compared_too if one.compare is not None else others_too)
    ]
    if background is None or not asked:
        return None
    results = analysis.judge_all(asked, seen.strata(canary.revision, rollout=memory.started_time))
    began = steps.began(seen, state)
    counted = seen.counted_since(canary.revision, rollout=memory.started_time or began)
    found = _under_analysis(context, background, results, max(began, counted))
    return None if found.signal is Signal.DONE else found


def _under_analysis(
    context: CanaryContext, asked: spec.Analysis, results: tuple[AnalysisResult, ...], since: datetime
) -> Finding:
    if analysis.together(results) == "Successful":
        return Finding(signal=Signal.DONE, results=results)
    impossible = _impossible(context, asked, results)
    if impossible is not None:
        return impossible
    # Time that this process did not see pass was given to nobody.
    end = later(max(since, context.seen.steady_since or since), seconds(asked.max_duration))
    open_results = [result for result in results if result.phase != "Successful"]
    undecided = ", ".join(result.name for result in open_results)
    nobody_calls = all(analysis.is_default(result) and not result.samples for result in open_results)
    in_time = context.seen.now < end
    if nobody_calls:
        return _without_traffic(context, asked, results, end if in_time else None)
    if in_time:
        text = f"the analysis of {undecided}, at most {asked.max_duration}"
        return Finding(
            signal=Signal.WAITING, reason=Reason.CanaryAnalysing, waiting_for=text, until=end, results=results
        )
    return Finding(
        signal=Signal.INCONCLUSIVE,
        reason=Reason.AnalysisInconclusive,
        why=f"no verdict on {undecided} within {asked.max_duration}; the canary stays where it is",
        waiting_for="a person: retry or abort",
        results=analysis.inconclusive(results),
    )


def _impossible(context: CanaryContext, asked: spec.Analysis, results: tuple[AnalysisResult, ...]) -> Finding | None:
    """A comparison with a stable that gets no requests: no time and no caller brings it a verdict."""
    if context.canary.weight < 100:
        return None
    compared = {one.name for one in asked.metrics if one.compare is not None}
    names = [one.name for one in results if one.name in compared and not one.samples]
    if not names:
        return None
    told = f"{', '.join(names)} compares with stable, which gets no requests beside a canary at 100 %"
    why = f"a verdict that cannot come: {told}"
    return Finding(signal=Signal.HELD, reason=Reason.NothingToCompare, why=why, results=results)


def _without_traffic(
    context: CanaryContext, asked: spec.Analysis, results: tuple[AnalysisResult, ...], end: datetime | None
) -> Finding:
    """A canary that nobody calls: not promoted on no data, and whoever wants no verdict is told how to say so."""
    model = context.canary.model
    if end is not None:
        text = (
            f"callers: no request has reached {model} beside stable yet, and no data never promotes; "
            "to promote it unjudged, disable the default"
        )
        return Finding(signal=Signal.WAITING, reason=Reason.NoTraffic, waiting_for=text, until=end, results=results)
    return Finding(
        signal=Signal.INCONCLUSIVE,
        reason=Reason.NoTraffic,
        why=f"no request reached {model} beside stable within {asked.max_duration}, and no data never promotes; "
        "to promote it unjudged, disable the default",
        waiting_for="callers, or a person",
        results=analysis.inconclusive(results),
    )
