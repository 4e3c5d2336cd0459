"""Gates: what a candidate must show, as pure arithmetic on decimals.

    threshold       min <= candidate <= max
    maxRegression   candidate is at most that much worse than the champion
    minImprovement  candidate is at least that much better than the champion

Both models were measured on the same test rows. Without a champion a comparison has nothing to fail against and passes.
What was not measured fails: no data never promotes.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal

from millrace.api.training_run import Baseline, Evaluation, Gate, GateResult, Metric, NumberRange

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})
NO_CHAMPION = "holds, as there was no champion to compare with"
_EXACT = decimal.Context(prec=50, traps=[])
_LARGEST_EXPONENT = 1000


def evaluate(
    evaluation: Evaluation, candidate: Iterable[Metric], champion: Iterable[Metric], champion_name: str | None
) -> tuple[GateResult, ...]:
    """One result a gate, in their order. `champion_name` is None while there is no champion."""
    measured = {metric.name: metric.value for metric in candidate}
    compared = {metric.name: metric.value for metric in champion}
    return tuple(
        _judge(gate, measured.get(gate.metric), compared.get(gate.metric), champion_name) for gate in evaluation.gates
    )


def summary(results: Iterable[GateResult]) -> str:
    """Every gate that does not hold, by name and with its numbers."""
    failed = [f"{one.name}: {one.message or 'does not hold'}" for one in results if not one.passed]
    return "; ".join(failed)


def holding(results: Iterable[GateResult]) -> str:
    """That all of them hold, and which of them had nothing to fail against."""
    known = list(results)
    alone = ", ".join(one.name for one in known if one.message == NO_CHAMPION)
    text = f"{len(known)} of {len(known)} gates hold."
    # A champion is a version that serves: before the first one a comparison has nothing to fail against.
    return (
        f"{text} No version served when the run began, so {alone} passed without a champion to compare with."
        if alone
        else text
    )


def _judge(gate: Gate, value: str | None, compared: str | None, champion: str | None) -> GateResult:
    observed = _number(value)
    if observed is None:
        return GateResult(name=gate.name, passed=False, message=f"{gate.metric} was not measured")
    if gate.baseline is not None:
        return _against_champion(gate, gate.baseline, value, observed, compared, champion)
    return _against_range(gate, gate.threshold or NumberRange(), value, observed)


def _against_range(gate: Gate, wanted: NumberRange, value: str | None, observed: Decimal) -> GateResult:
    bounds = [(">=", wanted.min), ("<=", wanted.max)]
    text = " and ".join(f"{sign} {_written(bound)}" for sign, bound in bounds if bound is not None)
    low, high = _bound(wanted.min), _bound(wanted.max)
    passed = (low is None or observed >= low) and (high is None or observed <= high)
    return _result(gate, passed, value, text, "")


def _against_champion(
    gate: Gate, baseline: Baseline, value: str | None, observed: Decimal, compared: str | None, champion: str | None
) -> GateResult:
    if champion is None:
        return GateResult(name=gate.name, passed=True, observed=value, message=NO_CHAMPION)
    theirs = _number(compared)
    if theirs is None:
        text = f"{gate.metric} of champion {champion} was not measured"
        return GateResult(name=gate.name, passed=False, observed=value, message=text)
    lead = _bound(baseline.min_improvement)
    slack = _bound(baseline.max_regression)
    margin = lead if lead is not None else _EXACT.minus(slack or Decimal(0))
    lower = gate.metric in LOWER_IS_BETTER
    limit = _EXACT.subtract(theirs, margin) if lower else _EXACT.add(theirs, margin)
    passed = observed <= limit if lower else observed >= limit
    text = f"{'<=' if lower else '>='} {_written(limit)}"
    return _result(gate, passed, value, text, f" (champion {champion} on the same rows: {compared})")


def _result(gate: Gate, passed: bool, value: str | None, wanted: str, context: str) -> GateResult:
    verb = "is" if passed else "is not"
    text = f"{gate.metric} {value} {verb} {wanted}{context}"
    return GateResult(name=gate.name, passed=passed, observed=value, threshold=wanted[:64], message=text[:1024])


def _number(text: str | None) -> Decimal | None:
    """The number, unless it is absent or of no sensible size."""
    if text is None:
        return None
    number = _EXACT.create_decimal(text)
    return number if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None


def _bound(value: float | None) -> Decimal | None:
    """A float from a spec as people wrote it: 0.005 is 5/1000."""
    return None if value is None else _EXACT.create_decimal(repr(float(value)))


def _written(value: float | Decimal) -> str:
    return f"{value:.12g}"
