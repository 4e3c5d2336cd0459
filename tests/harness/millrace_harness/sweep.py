"""All plans of a command, told by worker processes.

First every workload is told undisturbed: that gives its plans and its end. Then the chosen plans are told, each held
against that end. Workers are started anew with a fixed hash seed, so that a plan does the same in every one of them.
"""

from __future__ import annotations

import fnmatch
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import ending, plans
from .plans import Plan
from .run import Told, tell
from .trace import Trace
from .workloads import WORKLOADS

T = TypeVar("T")
Heard = Callable[[Told], None]
"""Told of each run as it ends."""

_ends: dict[str, dict[str, Any]] = {}
"""Of a worker: how each undisturbed workload ended."""


@dataclass
class References:
    """The undisturbed runs, by workload."""

    told: dict[str, Told] = field(default_factory=dict)
    of_two: dict[str, Trace] = field(default_factory=dict)
    """What two replicas asked and were shown."""

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        return {name: one.end for name, one in self.told.items()}

    @property
    def findings(self) -> list[str]:
        """What was wrong without any fault."""
        return [f"{name}, undisturbed: {text}" for name, one in self.told.items() for text in one.findings]

    @property
    def cheap(self) -> frozenset[str]:
        """The third of the workloads that takes the fewest requests, and so the least time."""
        ordered = sorted(self.told, key=lambda name: (len(self.told[name].trace.asked), name))
        return frozenset(ordered[: len(ordered) // 3])

    def plans(self) -> list[Plan]:
        """Every plan there is."""
        return [plan for name, one in self.told.items() for plan in plans.every(name, one.trace, self.of_two.get(name))]


def references(names: Iterable[str], workers: int, heard: Heard) -> References:
    """Tell every workload undisturbed."""
    found = References()
    with _pool(workers, {}) as pool:
        futures = {pool.submit(_undisturbed, name): name for name in names}
        for told, of_two in _results(futures, lambda told: (told, Trace())):
            found.told[told.plan], found.of_two[told.plan] = told, of_two
            heard(told)
    found.told = {name: found.told[name] for name in WORKLOADS if name in found.told}
    return found


def disturbed(chosen: Sequence[Plan], ends: Mapping[str, dict[str, Any]], workers: int, heard: Heard) -> list[Told]:
    """Tell every plan, in the order of the plans."""
    found: dict[str, Told] = {}
    with _pool(workers, ends) as pool:
        futures = {pool.submit(_disturbed, plan): plan.id for plan in chosen}
        for told in _results(futures, lambda told: told):
            found[told.plan] = told
            heard(told)
    return [found[plan.id] for plan in chosen]


def selected(known: References, only: str, *, everything: bool) -> list[Plan]:
    """The plans of a command: those that match, those of a CI run, or all."""
    found = known.plans()
    if only:
        return sorted({plan for plan in found if fnmatch.fnmatchcase(plan.id, only)})
    return sorted(set(found)) if everything else plans.chosen(found, cheap=known.cheap)


def _pool(workers: int, ends: Mapping[str, dict[str, Any]]) -> ProcessPoolExecutor:
    os.environ["PYTHONHASHSEED"] = "0"  # of the workers: the order of a set is the same in all of them
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(dict(ends),))


def _begin(ends: dict[str, dict[str, Any]]) -> None:
    logging.disable(logging.CRITICAL)
    _ends.update(ends)


def _results(futures: Mapping[Future[T], str], otherwise: Callable[[Told], T]) -> Iterator[T]:
    """The results as they come; a run that raised is one with a finding."""
    for future in as_completed(futures):
        error = future.exception()
        if error is None:
            yield future.result()
        else:
            why = f"the harness failed: {type(error).__name__}: {error}"
            yield otherwise(Told(futures[future], [why], reached=True))


def _undisturbed(workload: str) -> tuple[Told, Trace]:
    """Told to one operator, and to two: their end is the same, what they ask is not."""
    alone, two = tell(workload), tell(workload, replicas=2)
    alone.findings += [f"with two replicas: {text}" for text in two.findings]
    alike = WORKLOADS[workload].alike
    alone.findings += [f"with two replicas: {text}" for text in ending.differences(two.end, alone.end, alike)]
    return _light(alone, keeps_trace=True), two.trace


def _disturbed(plan: Plan) -> Told:
    """Tell a plan. What a user does in it is done in its own undisturbed run too."""
    end = _ends[plan.workload]
    if plan.fault == "recreated":
        end = tell(plan.workload, plan, is_control=True).end
    return _light(tell(plan.workload, plan, end))


def _light(told: Told, *, keeps_trace: bool = False) -> Told:
    """Without what need not travel between processes."""
    end = told.end if keeps_trace else {}
    trace = told.trace if keeps_trace else Trace()
    return Told(told.plan, told.findings, told.reached, told.seconds, told.virtual, end, trace)
