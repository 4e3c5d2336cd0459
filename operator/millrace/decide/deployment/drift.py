"""Whether the rows served still look like the rows trained on: a sequential Kolmogorov-Smirnov test on binned counts.

For every feature the cumulative shares of the served rows are compared with those of the training rows. The bins are
those of the reference profile, the one for missing values last; the sup over bin edges never exceeds the sup over all
values, so bounds for distribution functions hold. Categories are compared in the order of the profile: any order fixed
beforehand maps them to numbers, so the same bounds hold.

                D  -  r(t, a_k / 2F)  -  DKW(n_reference, a / 2F)  >  margin        alarm

D is the largest difference of the cumulative shares, t the rows counted, F the number of features, a the false-alarm
rate. A long quiet past would hide a change, so the test is started again and again: the k-th start gets
a_k = a / (k (k + 1)), which adds up to a over all starts there will ever be. Starts are forgotten so that the ages of
those kept are about powers of two; forgetting a test can only make alarms rarer. The bounds are in `sequential`.

The rate holds for independent rows, over an unlimited horizon, over all features together, however often it is looked
at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from . import sequential

Bins = tuple[int, ...]
Counts = Mapping[str, Bins]
"""Rows per bin, by feature."""

MIN_NEW_ROWS = 50
"""A start needs that many rows since the start before."""
MOST_STARTS = 40
SHARE_FLOOR = 1e-4
"""Empty bins count as this share in PSI, which is infinite otherwise."""


@dataclass(frozen=True)
class Rule:
    """spec.monitoring.drift, as numbers."""

    false_alarm_rate: float = 0.01
    margin: float = 0.05
    min_samples: int = 500


@dataclass(frozen=True)
class Start:
    """One test: what had been counted when it began. `number` counts from 1 and is never used twice."""

    number: int
    rows: int
    counts: Counts


@dataclass(frozen=True)
class Verdict:
    """What is known now. `score` is the largest D, `excess` how far the lower bound of a D is above the margin.

    Score and PSI are of the newest `window` of the `samples` rows counted.
    """

    state: Literal["None", "Drifted", "InsufficientData"] = "InsufficientData"
    score: float = 0.0
    excess: float = -math.inf
    worst_feature: str = ""
    samples: int = 0
    psi: float = 0.0
    window: int = 0


@dataclass(frozen=True)
class Memory:
    """What the next look needs to know of the ones before: at most `MOST_STARTS` snapshots of the counts."""

    starts: tuple[Start, ...] = ()
    next_number: int = 1
    alarm: Verdict | None = field(default=None)
    """The first alarm, kept until another model serves."""


def look(memory: Memory, live: Counts, reference: Counts, rule: Rule) -> tuple[Memory, Verdict]:
    """Judge the rows counted so far, and remember.

    `live` are totals that never decrease. Features without a reference of the same bins are left out.
    """
    known: Counts = {
        name: bins for name, bins in live.items() if len(reference.get(name, ())) == len(bins) and any(reference[name])
    }
    rows = max((sum(bins) for bins in known.values()), default=0)
    memory = _started(memory, known, rows)
    if memory.alarm is not None:
        return memory, memory.alarm
    verdict = _judge(memory, known, reference, rule, rows) if known else Verdict()
    alarm = verdict if verdict.state == "Drifted" else None
    return Memory(memory.starts, memory.next_number, alarm), verdict


def population_stability(live: Bins, reference: Bins) -> float:
    """PSI: sum of (p - q) ln(p / q) over the bins. Shown to people only: with few rows it is mostly noise, so no
    verdict uses it.
    """
    total, expected = sum(live), sum(reference)
    if not total or not expected:
        return 0.0
    shares = [
        (max(p / total, SHARE_FLOOR), max(q / expected, SHARE_FLOOR)) for p, q in zip(live, reference, strict=True)
    ]
    return sum((p - q) * math.log(p / q) for p, q in shares)


def distance(live: Bins, reference: Bins) -> float:
    """Largest difference of the cumulative shares."""
    total, expected = sum(live), sum(reference)
    cumulated = zip(itertools.accumulate(live), itertools.accumulate(reference), strict=True)
    return max((abs(p / total - q / expected) for p, q in cumulated), default=0.0) if total and expected else 0.0


def _judge(memory: Memory, live: Counts, reference: Counts, rule: Rule, rows: int) -> Verdict:
    best = Verdict(samples=rows)
    for start in memory.starts:
        level = rule.false_alarm_rate / (2.0 * len(live) * start.number * (start.number + 1))
        for name, window in _since(start, live):
            score = distance(window, reference[name])
            known = sequential.dkw_radius(sum(reference[name]), rule.false_alarm_rate / (2.0 * len(live)))
            excess = score - sequential.empirical_radius(sum(window), level) - known - rule.margin
            if excess > best.excess:
                psi = population_stability(window, reference[name])
                best = Verdict("None", score, excess, name, rows, psi, sum(window))
    if rows < rule.min_samples or best.excess == -math.inf:
        return replace(best, state="InsufficientData", excess=-math.inf)
    return best if best.excess <= 0 else replace(best, state="Drifted")


def _since(start: Start, live: Counts) -> Iterator[tuple[str, Bins]]:
    for name, bins in live.items():
        before = start.counts.get(name)
        yield name, bins if before is None else tuple(now - then for now, then in zip(bins, before, strict=True))


def _started(memory: Memory, live: Counts, rows: int) -> Memory:
    """Begin a new test with the rows after this look, and forget tests of about the same age."""
    if not memory.starts:
        # The first test counts from the pods' own beginning: nothing was looked at before.
        return Memory((Start(1, 0, {}),), 2, memory.alarm)
    if rows - memory.starts[-1].rows < MIN_NEW_ROWS:
        return memory
    starts = [*memory.starts, Start(memory.next_number, rows, dict(live))]
    return Memory(_thinned(starts, rows), memory.next_number + 1, memory.alarm)


def _thinned(starts: list[Start], rows: int) -> tuple[Start, ...]:
    """The first and the newest stay; one whose neighbours' ages differ by less than a factor of two goes."""
    kept = [starts[-1]]
    for older, start in zip(starts[-3::-1], starts[-2:0:-1], strict=True):
        if rows - older.rows > 2 * (rows - kept[-1].rows):
            kept.append(start)
    return (*([starts[0]] if len(starts) > 1 else []), *reversed(kept))[-MOST_STARTS:]
