"""Counters of pods added up over their restarts.

A counter that is smaller than before belongs to a pod that started again: all of it is new. What a pod counted stays
counted when the pod is gone. After a restart of the operator everything starts over from the pods' own counters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.contract.router import RevisionTraffic
from millrace.decide.deployment.analysis import Tally

Bins = tuple[int, ...]


@dataclass
class TrafficCounter:
    """Requests by revision over all routers."""

    totals: dict[str, Tally] = field(default_factory=dict)
    _before: dict[tuple[str, str], RevisionTraffic] = field(default_factory=dict)

    def add(self, router: str, page: dict[str, RevisionTraffic]) -> None:
        """What a router shows now; `router` is the pod's UID."""
        for revision, now in page.items():
            before = self._before.get((router, revision), RevisionTraffic())
            restarted = now.attempts < before.attempts or now.completed < before.completed
            self.totals[revision] = _sum(
                self.totals.get(revision, Tally()), now, RevisionTraffic() if restarted else before
            )
            self._before[router, revision] = now
        for key in [key for key in self._before if key[0] == router and key[1] not in page]:
            del self._before[key]  # the cluster is gone; a new one of that name counts from zero

    def keep(self, revisions: set[str], routers: set[str]) -> None:
        """Forget everything else."""
        self.totals = {revision: tally for revision, tally in self.totals.items() if revision in revisions}
        self._before = {key: seen for key, seen in self._before.items() if key[0] in routers and key[1] in revisions}


@dataclass
class BinCounter:
    """Rows per bin and feature over all servers of one revision."""

    totals: dict[str, Bins] = field(default_factory=dict)
    _before: dict[str, dict[str, Bins]] = field(default_factory=dict)

    def add(self, server: str, page: dict[str, Bins]) -> None:
        """What a server shows now; `server` is the pod's UID and changes of its containers are seen as resets."""
        before = self._before.get(server, {})
        restarted = any(_fell(before.get(name, ()), bins) for name, bins in page.items())
        for name, bins in page.items():
            earlier = () if restarted else before.get(name, ())
            known = self.totals.get(name, (0,) * len(bins))
            if len(known) == len(bins) and len(earlier) in (0, len(bins)):
                earlier = earlier or (0,) * len(bins)
                self.totals[name] = tuple(k + n - e for k, n, e in zip(known, bins, earlier, strict=True))
        self._before[server] = dict(page)

    def keep(self, servers: set[str]) -> None:
        """Forget the last readings of pods that are gone."""
        self._before = {server: seen for server, seen in self._before.items() if server in servers}


def _fell(before: Bins, now: Bins) -> bool:
    return len(before) == len(now) and any(n < b for b, n in zip(before, now, strict=True))


def _sum(total: Tally, now: RevisionTraffic, before: RevisionTraffic) -> Tally:
    latency = dict(total.latency_ms)
    for bound, count in now.latency_ms.items():
        latency[bound] = latency.get(bound, 0) + max(0, count - before.latency_ms.get(bound, 0))
    return Tally(
        total.attempts + now.attempts - before.attempts,
        total.completed + now.completed - before.completed,
        total.failed + max(0, now.failed - before.failed),
        tuple(sorted(latency.items())),
    )
