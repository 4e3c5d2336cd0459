"""Tests that may be looked at after every single observation, for ever, at a stated error rate.

* `Side.ABOVE` and `Side.BELOW`: is the rate of a yes/no event above, or below, a limit? A mixture of bets whose capital
  is a supermartingale while the claim is false, so by Ville's inequality it ever reaches 1/alpha with probability alpha
  at most.
  Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86(1), 2024; for a Bernoulli
  variable a bet is a likelihood ratio against the limit (Robbins, Annals of Mathematical Statistics 41(5), 1970).
* `empirical_radius`: how far an empirical distribution function may ever be from the true one. Howard and Ramdas,
  Sequential estimation of quantiles, Bernoulli 28(3), 2022, Theorem 2 (their `EmpiricalProcessLILBound`).
* `dkw_radius`: the same at one fixed sample size. Dvoretzky, Kiefer and Wolfowitz 1956 with Massart's constant, 1990.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from enum import Enum

MIN_ROWS = 100
"""The bound of `empirical_radius` holds from this sample size on."""

_STEEPER = (1.25, 1.5, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
"""Odds of the alternatives that are bet on, relative to the odds of the limit."""


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
    terms = [
        math.log(share)
        + _times(events, _log(rate) - math.log(limit))
        + _times(quiet, math.log1p(-rate) - math.log1p(-limit))
        for rate, share in _bets(side, limit)
    ]
    highest = max(terms)
    return -math.inf if highest == -math.inf else highest + math.log(sum(math.exp(term - highest) for term in terms))


def is_shown(side: Side, limit: float, events: int, trials: int, confidence: float) -> bool:
    """Whether the rate is on that side of `limit`, wrongly said with probability 1 - confidence at most, ever."""
    return evidence(side, limit, events, trials) >= -math.log1p(-confidence)


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


def _bets(side: Side, limit: float) -> Iterator[tuple[float, float]]:
    odds = limit / (1.0 - limit)
    if side is Side.BELOW:
        yield 0.0, 0.5
    share = (0.5 if side is Side.BELOW else 1.0) / len(_STEEPER)
    for steeper in _STEEPER:
        other = odds / steeper if side is Side.BELOW else odds * steeper
        yield other / (1.0 + other), share


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
