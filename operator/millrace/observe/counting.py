"""Counters of pods added up: what happened while somebody looked, never what had been counted before.

A counter that is smaller than before belongs to a pod that started again: all of it is new. What a pod counted stays
counted when the pod is gone.

    router pages --> TrafficCounter --> a look: what each revision did since the last one --> Windows --> Traffic

A rollout and a step each have a window that begins when this process first sees them, so a revision that is tried
again is not judged on what an earlier try left in the routers, and neither is it after the operator restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from millrace.api.deployment_status import DeploymentStatus
from millrace.contract.router import RevisionTraffic
from millrace.decide.deployment.metrics import Stratum
from millrace.decide.deployment.observation import Traffic, Window

Bins = tuple[int, ...]
Page = Mapping[str, RevisionTraffic]
"""Counters by revision."""


@dataclass(frozen=True)
class Look:
    """What one router counted between two answers in which it applied the same weights."""

    generation: str
    before: Page
    counted: Page

    def stratum(self, canary: str, stable: str) -> tuple[tuple[str, bool], Stratum] | None:
        """What it says about a canary beside stable, and under what it is added up.

        The two are compared over the same time only, so a look counts for neither when no server of the canary could
        be tried; looks in which that was so for a part are added up apart.
        """
        tried = self.counted.get(canary)
        if tried is None:
            return None
        whole = tried.healthy > 0 and self.before[canary].healthy > 0
        if not whole and not tried.attempts:
            return None
        return (self.generation, whole), Stratum(tried, self.counted.get(stable, RevisionTraffic()))


@dataclass
class TrafficCounter:
    """The last answer of each router, to be subtracted from the next."""

    _before: dict[str, tuple[str, Page]] = field(default_factory=dict)

    def look(self, router: str, generation: str, page: Page) -> Look | None:
        """What came since the last answer; None after the first one, and when the weights changed in between.

        `router` is the pod's UID. A revision that the last page did not have counts from this one on: its cluster may
        be older than it looks.
        """
        known = self._before.get(router)
        self._before[router] = generation, page
        if known is None or known[0] != generation:
            return None
        counted = {revision: now.since(known[1][revision]) for revision, now in page.items() if revision in known[1]}
        return Look(generation, known[1], counted)

    def keep(self, routers: set[str]) -> None:
        """Forget every other pod."""
        self._before = {router: answer for router, answer in self._before.items() if router in routers}


@dataclass
class _Counted:
    since: datetime
    strata: dict[tuple[str, bool], Stratum] = field(default_factory=dict)

    def window(self) -> Window:
        return Window(since=self.since, strata=tuple(self.strata.values()))


@dataclass
class Windows:
    """Requests since the rollout and since the step that a status speaks of."""

    _counted: dict[tuple[str, str, str, datetime], _Counted] = field(default_factory=dict)
    """By kind of window, canary, stable, and the moment in status.rollout: another start is another window."""

    def add(self, looks: Iterable[Look]) -> None:
        """Count these in every window that had begun before them."""
        for look in looks:
            for (_, canary, stable, _), counted in self._counted.items():
                found = look.stratum(canary, stable)
                if found is not None:
                    key, stratum = found
                    known = counted.strata.get(key)
                    counted.strata[key] = stratum if known is None else known.plus(stratum)

    def follow(self, status: DeploymentStatus, now: datetime) -> None:
        """Begin the windows that the status speaks of, and forget every other."""
        wanted = _moments(status)
        self._counted = {key: self._counted.get(key) or _Counted(now) for key in wanted}

    def traffic(self, status: DeploymentStatus) -> tuple[Traffic, ...]:
        """What was counted for this status's canary, with the moments that it is counted from."""
        found: dict[str, Any] = {}
        for key in _moments(status):
            if key in self._counted:
                kind, canary, _, moment = key
                found |= {"revision": canary, kind: moment, f"since_{kind}": self._counted[key].window()}
        return (Traffic(**found),) if found else ()


def _moments(status: DeploymentStatus) -> list[tuple[str, str, str, datetime]]:
    canary, memory = status.canary, status.rollout
    if canary is None or memory is None:
        return []
    stable = status.stable.revision if status.stable is not None else ""
    moments = (("rollout", memory.started_time), ("step", memory.step_started_time))
    return [(kind, canary.revision, stable, moment) for kind, moment in moments if moment is not None]


@dataclass
class BinCounter:
    """Rows per bin and feature over all servers of one revision."""

    totals: dict[str, Bins] = field(default_factory=dict)
    _before: dict[str, dict[str, Bins]] = field(default_factory=dict)

    def add(self, server: str, page: dict[str, Bins], *, from_now: bool = False) -> None:
        """What a server shows now; `server` is the pod's UID and changes of its containers are seen as resets.

        `from_now`: what a server had counted before it was first seen does not count.
        """
        before = self._before.get(server, dict(page) if from_now else {})
        restarted = any(_fell(before.get(name, ()), bins) for name, bins in page.items())
        for name, bins in page.items():
            earlier = () if restarted else before.get(name, ())
            known = self.totals.get(name, (0,) * len(bins))
            if len(known) == len(bins) and len(earlier) in (0, len(bins)):
                earlier = earlier or (0,) * len(bins)
                self.totals[name] = tuple(k + n - e for k, n, e in zip(known, bins, earlier, strict=True))
        self._before[server] = dict(page)

    def restart(self) -> None:
        """Count only what comes from now on."""
        self.totals = {}

    def keep(self, servers: set[str]) -> None:
        """Forget the last readings of pods that are gone."""
        self._before = {server: seen for server, seen in self._before.items() if server in servers}


def _fell(before: Bins, now: Bins) -> bool:
    return len(before) == len(now) and any(n < b for b, n in zip(before, now, strict=True))
