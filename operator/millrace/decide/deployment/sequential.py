"""Tests that may be looked at after every single observation, for ever, at a stated error rate.

* `Side.ABOVE` and `Side.BELOW`: is the rate of a yes/no event above, or below, a limit? A mixture of bets whose capital
  is a supermartingale while the claim is false, so by Ville's inequality it ever reaches 1/alpha with probability alpha
  at most.
  Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86(1), 2024; for a Bernoulli
  variable a bet is a likelihood ratio against the limit (Robbins, Annals of Mathematical Statistics 41(5), 1970).
* `difference_is_shown`: the same about the difference of two rates that were measured side by side, whatever their
  common level does meanwhile; its source is told there.
* `empirical_radius`: how far an empirical distribution function may ever be from the true one. Howard and Ramdas,
  Sequential estimation of quantiles, Bernoulli 28(3), 2022, Theorem 2 (their `EmpiricalProcessLILBound`).
* `dkw_radius`: the same at one fixed sample size. Dvoretzky, Kiefer and Wolfowitz 1956 with Massart's constant, 1990.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

MIN_ROWS = 100
"""The bound of `empirical_radius` holds from this sample size on."""

_STEEPER = (1.25, 1.5, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
"""Odds of the alternatives that are bet on, relative to the odds of the limit."""

_STAKES = tuple(2.0**-power for power in range(8))
"""Stakes that are bet, as parts of the largest that cannot lose more than everything."""
_LEVELS = ((0.0, 0.5), (0.02, 0.1), (0.06, 0.1), (0.2, 0.1), (0.5, 0.1), (0.8, 0.1))
"""(common level that a bet subtracts, its part of the capital)."""


class Side(Enum):
    """Which claim about the rate gathers evidence."""

    ABOVE = "above"
    BELOW = "below"


def evidence(side: Side, limit: float, events: int, trials: int) -> float:
    """Logarithm of the capital won by betting that the rate is on that side of `limit`.

    Reject "it is not" at error rate alpha once this is at least ln(1/alpha), however often it is looked at.
    `limit` is above 0 and below 1; `events` of `trials` were counted. One half of the capital of BELOW bets on rate 0.
    """
    quiet = trials - events
    return _log_sum(
        [
            start + _times(events, of_an_event) + _times(quiet, of_none)
            for start, of_an_event, of_none in _gains(side, limit)
        ]
    )


def is_shown(side: Side, limit: float, events: int, trials: int, confidence: float) -> bool:
    """Whether the rate is on that side of `limit`, wrongly said with probability 1 - confidence at most, ever."""
    return evidence(side, limit, events, trials) >= -math.log1p(-confidence)


@dataclass(frozen=True)
class Table:
    """Trials in two arms to which each trial was sent by chance, in the same proportion for all trials of the table."""

    trials: int
    events: int
    other_trials: int
    other_events: int


def difference_evidence(side: Side, margin: float, tables: Iterable[Table]) -> float:
    """Logarithm of the capital won by betting that the rate is above (or below) the other arm's plus `margin`.

    Trial t goes to the arm with probability p, decided without looking at it. With y its event (0 or 1) and m fixed,

        X = (y - m) / p  in the arm,   -(y - m) / (1 - p)  in the other one

    has the mean "rate here minus rate there" of that very trial, whatever m is and whatever the rates are at the time:
    the inverse-propensity-weighted (m = 0) or augmented difference. So 1 + l (X - margin) is a fair or losing bet while
    the claim "above" is false, and its product over trials reaches 1/alpha with probability alpha at most (Ville).
    The capital is a mixture over stakes l and levels m: m = 0 is best where events are rare, an m near the common rate
    where there are many, such as a caller who sends nonsense to both.

    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86(1), 2024; for randomised
    arms: Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals
    of Statistics 49(2), 2021, section 4.2, and Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, Anytime-valid
    off-policy inference for contextual bandits, ACM/IMS Journal of Data Science 1(3), 2024.

    Assumed: which arm a trial goes to says nothing about the trial. Not assumed: that trials are independent, or that
    their common rate stands still. A table with another proportion must be another table: added up, a rate that drifts
    while the proportion changes would look like a difference. p is the proportion that the table shows, which is known
    where the proportion asked for is not (trials that could not be made); given it, events are drawn without
    replacement, which varies less than what the bet is fair for (Hoeffding, JASA 58, 1963, theorem 4).
    Where nothing went to the other arm (p = 1) the rate is held against the margin alone.
    """
    return _difference(side, margin, tuple(table for table in tables if table.trials))


def difference_is_shown(side: Side, margin: float, tables: Iterable[Table], confidence: float) -> bool:
    """Whether the rate is on that side of the other arm's plus `margin`, wrongly said with probability 1 - confidence
    at most, ever.
    """
    return difference_evidence(side, margin, tables) >= -math.log1p(-confidence)


def empirical_radius(rows: int, alpha: float) -> float:
    """Bound on sup|F_t - F|, for all t >= MIN_ROWS together, of independent rows, with probability 1 - alpha.

    0.85 sqrt((ln(1 + ln(t / MIN_ROWS)) + C) / t); infinite below MIN_ROWS.
    """
    if rows < MIN_ROWS:
        return math.inf
    return 0.85 * math.sqrt((math.log1p(math.log(rows / MIN_ROWS)) + _lil_constant(alpha)) / rows)


def dkw_radius(rows: int, alpha: float) -> float:
    """Bound on sup|F_n - F| at this one sample size, with probability 1 - alpha; infinite without rows."""
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * rows)) if rows > 0 else math.inf


@functools.lru_cache(maxsize=4096)
def _gains(side: Side, limit: float) -> tuple[tuple[float, float, float], ...]:
    """By bet, logarithms: its part of the capital, and what an event and a trial without one multiply it by."""
    return tuple(
        (math.log(share), _log(rate) - math.log(limit), math.log1p(-rate) - math.log1p(-limit))
        for rate, share in _bets(side, limit)
    )


def _bets(side: Side, limit: float) -> Iterator[tuple[float, float]]:
    odds = limit / (1.0 - limit)
    if side is Side.BELOW:
        yield 0.0, 0.5
    share = (0.5 if side is Side.BELOW else 1.0) / len(_STEEPER)
    for steeper in _STEEPER:
        other = odds / steeper if side is Side.BELOW else odds * steeper
        yield other / (1.0 + other), share


@functools.lru_cache
def _stakes(side: Side) -> tuple[tuple[float, float, float], ...]:
    """(level, stake, logarithm of the part of the capital), by level.

    Half of BELOW is bet on "no event at all": what good canaries show.
    """
    rest = 0.5 if side is Side.BELOW else 1.0
    spread = tuple((level, stake, rest * share / len(_STAKES)) for level, share in _LEVELS for stake in _STAKES)
    bets = ((0.0, 1.0, 0.5), *spread) if side is Side.BELOW else spread
    return tuple((level, stake, math.log(part)) for level, stake, part in bets)


@functools.lru_cache(maxsize=4096)  # a pass judges the same counts several times
def _difference(side: Side, margin: float, tables: tuple[Table, ...]) -> float:
    won = [_won(side, margin, table) for table in tables]
    return _log_sum([start + sum(each[at] for each in won) for at, (_, _, start) in enumerate(_stakes(side))])


@functools.lru_cache(maxsize=4096)  # of several tables only the last one grows
def _won(side: Side, margin: float, table: Table) -> tuple[float, ...]:
    """By bet, the logarithm of what it has made of a capital of 1 in one table."""
    sign = 1.0 if side is Side.ABOVE else -1.0
    found = []
    for level, bets in itertools.groupby(_stakes(side), key=lambda bet: bet[0]):
        gains = [(count, sign * (value - margin)) for count, value in _payoffs(level, table)]
        worst = max(-gain for _, gain in gains)
        happened = [one for one in gains if one[0]]
        found += [_grown(stake / worst if worst > 0 else stake, happened) for _, stake, _ in bets]
    return tuple(found)


def _grown(size: float, gains: Iterable[tuple[int, float]]) -> float:
    """Logarithm of what a capital of 1 becomes by a bet of `size` in trials: (how many, what a unit gains in each)."""
    made = 0.0
    for count, gain in gains:
        made += count * _log(1.0 + size * gain)
    return made


def _payoffs(level: float, table: Table) -> tuple[tuple[int, float], ...]:
    """(trials, X of each): with and without the event, here and there."""
    if not table.other_trials:
        return (table.events, 1.0), (table.trials - table.events, 0.0)
    here = table.trials / (table.trials + table.other_trials)
    there = 1.0 - here
    return (
        (table.events, (1.0 - level) / here),
        (table.trials - table.events, -level / here),
        (table.other_events, -(1.0 - level) / there),
        (table.other_trials - table.other_events, level / there),
    )


def _log_sum(terms: Sequence[float]) -> float:
    highest = max(terms)
    return -math.inf if highest == -math.inf else highest + math.log(sum(math.exp(term - highest) for term in terms))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _times(count: int, logarithm: float) -> float:
    """0 x -inf is 0: an impossible event that did not happen costs nothing."""
    return count * logarithm if count else 0.0


@functools.lru_cache(maxsize=4096)
def _lil_constant(alpha: float) -> float:
    """The smallest C, to 0.001, for which some eta makes the error rate of the bound alpha at most."""
    low, high = 1.0, 8.0
    while _lil_error(high) > alpha:
        low, high = high, 2.0 * high
    while high - low > 0.001:
        middle = (low + high) / 2.0
        low, high = (middle, high) if _lil_error(middle) > alpha else (low, middle)
    return high


@functools.lru_cache(maxsize=4096)
def _lil_error(constant: float) -> float:
    """The least over eta of 4 exp(-g C) (1 + 1/((g - 1) ln eta)), g = (2/eta) (0.85 - sqrt(2 (eta - 1)/C))^2 > 1."""
    best = math.inf
    for step in range(1, 400):
        eta = 1.0 + 0.0025 * step
        rest = 0.85 - math.sqrt(2.0 * (eta - 1.0) / constant)
        gamma = 2.0 / eta * rest * rest
        if rest > 0.0 and gamma > 1.0:
            best = min(best, 4.0 * math.exp(-gamma * constant) * (1.0 + 1.0 / ((gamma - 1.0) * math.log(eta))))
    return best
