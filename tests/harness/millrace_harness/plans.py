"""Every plan: one workload, one fault, one place. Enumerated from what an undisturbed run asked and was shown.

    crash-after/canary-promotes/apply-configmaps-3     killed right after the third effective write of that site
    answer-409/canary-promotes/patch_status-models-1   the first request of that site is answered 409
    stale-watch/canary-promotes/models-4               from the fourth event of that watch on, it lags

An id is all that a replay needs. Places count from 1 and are those of the undisturbed run: up to the fault a run is the
same run.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .trace import Asked, Shown, Trace

CRASHES: Final = ("crash-before", "crash-after")
ANSWERS: Final = (
    "answer-409", "answer-410", "answer-422", "answer-429", "answer-500", "answer-503",
    "timeout", "reply-lost", "stalled-watch",
)  # fmt: skip
"""The nine faults of a call site."""
STALE: Final = ("stale-list", "stale-watch", "recreated")
UNOBSERVED: Final = ("unobserved",)
EVENTS: Final = ("lost-event", "duplicated-event", "reordered-event")
CLOCKS: Final = ("clock-forward", "clock-back")
LEADERS: Final = ("paused-leader",)

CLASSES: Final = {
    "crashes": CRASHES,
    "answers": ANSWERS,
    "stale reads": STALE,
    "unobserved states": UNOBSERVED,
    "events": EVENTS,
    "clock jumps": CLOCKS,
    "paused leaders": LEADERS,
}
MINIMUM: Final = {
    "crashes": 600,
    "answers": 400,
    "stale reads": 300,
    "unobserved states": 150,
    "events": 90,
    "clock jumps": 40,
    "paused leaders": 40,
}
"""How many plans of a class a CI run takes (all of them where there are fewer)."""
CHEAP: Final = 2 / 3
"""The share that comes from workloads which take little time, as long as they have so many."""
HOLD_SECONDS: Final = 30.0
"""How long a view of the world stays old: six times the patience of the operator with its own writes."""
OWN: Final = frozenset({"datasets", "trainingruns", "models", "deployments"})


@dataclass(frozen=True, order=True)
class Plan:
    """`place` is a call site (`apply configmaps`) or the kind of a watch (`models`); `nth` counts there."""

    fault: str
    workload: str
    place: str
    nth: int

    @property
    def id(self) -> str:
        return f"{self.fault}/{self.workload}/{self.place.replace(' ', '-')}-{self.nth}"

    @property
    def replicas(self) -> int:
        """How many operators run."""
        return 2 if self.fault in LEADERS else 1

    @property
    def group(self) -> str:
        """The class of the fault."""
        return next(name for name, faults in CLASSES.items() if self.fault in faults)

    def __str__(self) -> str:
        return self.id


def parse(text: str) -> Plan:
    """The plan of an id. Raises ValueError for text that is none."""
    try:
        fault, workload, rest = text.split("/")
        place, _, nth = rest.rpartition("-")
        verb, _, kind = place.partition("-")
        plan = Plan(fault, workload, f"{verb} {kind}" if kind else verb, int(nth))
        known = plan.group
    except (ValueError, StopIteration):
        raise ValueError(f"{text} is no plan. List them with: python tests/harness --list") from None
    assert known
    return plan


def every(workload: str, trace: Trace, of_two: Trace | None = None) -> Iterator[Plan]:
    """All plans of a workload, in a fixed order; those for two replicas from what two asked and were shown."""
    for one, fault in itertools.product(trace.effects, (*CRASHES, *CLOCKS)):
        yield Plan(fault, workload, one.site, one.effect)
    for one, fault in itertools.product((of_two or Trace()).effects, LEADERS):
        yield Plan(fault, workload, one.site, one.effect)
    for one, fault in itertools.product(_spread(trace), ANSWERS):
        yield Plan(fault, workload, one.site, one.nth)
    for shown, fault in itertools.product(trace.shown, (*EVENTS, "stale-list", "stale-watch", "unobserved")):
        if _is_possible(fault, shown, trace):
            yield Plan(fault, workload, shown.kind, shown.nth)
    for shown in _recreatable(trace):
        yield Plan("recreated", workload, shown.kind, shown.nth)


def _is_possible(fault: str, shown: Shown, trace: Trace) -> bool:
    """A DELETED object is not in an older list under its new version; only what something follows goes unobserved."""
    if fault == "unobserved":
        return trace.followed(shown, HOLD_SECONDS)
    return fault != "stale-list" or shown.event != "DELETED"


def _spread(trace: Trace) -> Iterator[Asked]:
    """Of each call site the first request, one in the middle and the last."""
    by_site: dict[str, list[Asked]] = {}
    for one in trace.asked:
        by_site.setdefault(one.site, []).append(one)
    for found in by_site.values():
        for index in sorted({0, len(found) // 2, len(found) - 1}):
            yield found[index]


def _recreatable(trace: Trace) -> Iterator[Shown]:
    """Of each of our objects the first event, one in the middle and the last."""
    by_uid: dict[str, list[Shown]] = {}
    for one in trace.shown:
        if one.kind in OWN and one.event != "DELETED":
            by_uid.setdefault(one.uid, []).append(one)
    for found in by_uid.values():
        for index in sorted({0, len(found) // 2, len(found) - 1}):
            yield found[index]


def chosen(
    plans: Iterable[Plan], minimum: Mapping[str, int] = MINIMUM, cheap: Collection[str] = frozenset()
) -> list[Plan]:
    """What a CI run takes: of each class as many as `minimum` says, spread over faults, workloads and places, and
    `CHEAP` of them from the workloads in `cheap`.

    Every call site gets every fault of its class, whatever the minimum says.
    """
    found = sorted(set(plans))
    taken: list[Plan] = []
    for name, faults in CLASSES.items():
        members = [plan for plan in found if plan.fault in faults]
        some = _one_of_each(members, cheap) if name == "answers" else []
        wanted = max(0, minimum[name] - len(some))
        some += _evenly([plan for plan in members if plan.workload in cheap], int(wanted * CHEAP), set(some))
        some += _evenly(members, max(0, minimum[name] - len(some)), set(some))
        taken += some
    return sorted(taken)


def _one_of_each(members: Sequence[Plan], cheap: Collection[str]) -> list[Plan]:
    """One plan for each call site and fault; the workloads take turns, cheap ones where they come by."""
    groups = _grouped(members, lambda plan: (plan.place, plan.fault))
    fitting = [[plan for plan in group if plan.workload in cheap] or group for group in groups]
    return [group[index % len(group)] for index, group in enumerate(fitting)]


def _evenly(members: Sequence[Plan], count: int, taken: Collection[Plan] = frozenset()) -> list[Plan]:
    """So many of them that are not taken, in turn from each (fault, workload, place)."""
    left = [plan for plan in members if plan not in taken]
    groups = _grouped(left, lambda plan: (plan.fault, plan.workload, plan.place))
    in_turn = (one for rank in itertools.zip_longest(*map(_middle_out, groups)) for one in rank if one is not None)
    return list(itertools.islice(in_turn, count))


def _grouped(members: Sequence[Plan], key: Callable[[Plan], tuple[str, ...]]) -> list[list[Plan]]:
    """The groups in an order that favours none, the same each time."""
    ordered = sorted(members, key=lambda plan: (key(plan), plan))
    groups = [list(group) for _, group in itertools.groupby(ordered, key)]
    return sorted(groups, key=lambda group: hashlib.sha256(group[0].id.encode()).digest())


def _middle_out(group: Sequence[Plan]) -> list[Plan]:
    """First, last, middle, then the rest: the ends differ most."""
    order = dict.fromkeys([0, len(group) - 1, len(group) // 2, *range(len(group))])
    return [group[index] for index in order]


def counts(plans: Iterable[Plan]) -> dict[str, int]:
    """How many plans of each fault."""
    found = dict.fromkeys((fault for faults in CLASSES.values() for fault in faults), 0)
    for plan in plans:
        found[plan.fault] += 1
    return found
