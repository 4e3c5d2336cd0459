"""What the router's statistics say about a revision: which series of Envoy, and how they add up.

A revision R is two clusters in Envoy. `R` holds its servers: what was sent to them, and how many are healthy. `R-route`
is where its share of the requests goes, with what callers were answered in the end, retries included; a retry may have
been answered by the stable revision. Proven with a real Envoy in `tests/router/test_statistics.py`:

| question | series |
| --- | --- |
| attempts made at R | `upstream_rq_total{R}` + `upstream_rq_pending_failure_eject{R}` (got no connection) |
| requests that R failed at first | `upstream_rq_retry_success{R-route}` (saved), `upstream_rq_xx{R-route,5}` (lost) |
| of these, seen by callers | `upstream_rq_xx{R-route,5}` |
| requests that were refused | `upstream_rq_xx{R-route,4}`: never tried again |
| time until callers had an answer | `upstream_rq_time{R-route}`, milliseconds, merged once per second |
| healthy servers | `membership_healthy{R}` |

Attempts at stable include the retries of the canary's failures, so what stable was asked for itself is
`upstream_rq_completed{R-route}`. Requests of a canary without a healthy server go to stable without an attempt at it.
Counters start again from zero when Envoy restarts, and may go on where they were when a cluster goes and comes back.

`RevisionTraffic` is the one record of all of them, from the page to the verdict: a counter is one line in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.contract.exposition import Sample

ROUTE_SUFFIX = "-route"
REVISION_DOMAIN = "revision.millrace.internal"
SCRAPE_PATH = "/stats/prometheus?usedonly&filter=^cluster\\.[0-9a-f]%2B(-route)%3F\\."
"""On the stats listener: only the clusters of revisions, only statistics that were ever written."""

LATENCY_BUCKETS_MS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)

_SERVERS, _ROUTE = "", ROUTE_SUFFIX
_PREFIX = "envoy_cluster_"
_CLUSTER = "envoy_cluster_name"
_CLASS = "envoy_response_code_class"
_SOURCE, _GAUGE = "source", "gauge"


def revision_host(revision: str) -> str:
    """The Host under which a server is asked whether it is ready, so that one of another revision says no.

    An address may belong to another pod by the time it is asked: a name that is resolved is always a little old.
    """
    return f"{revision}.{REVISION_DOMAIN}"


def _counter(cluster: str, *series: str, code_class: str = "", gauge: bool = False) -> Any:
    """A field that is the sum of these series of R (`_SERVERS`) or of R-route (`_ROUTE`)."""
    keys = tuple((cluster, _PREFIX + name, code_class) for name in series)
    return dataclasses.field(default=0, metadata={_SOURCE: keys, _GAUGE: gauge})


def _histogram(cluster: str, series: str) -> Any:
    key = (cluster, f"{_PREFIX}{series}_bucket", "")
    return dataclasses.field(default_factory=dict, metadata={_SOURCE: (key,), _GAUGE: False})


@dataclass(frozen=True)
class RevisionTraffic:
    """Counters of one revision: at one router since it started, or what all routers counted in some time."""

    attempts: int = _counter(_SERVERS, "upstream_rq_total", "upstream_rq_pending_failure_eject")
    """Tries at the revision's own servers."""
    healthy: int = _counter(_SERVERS, "membership_healthy", gauge=True)
    """Servers of the revision that answer their health check; a gauge."""
    completed: int = _counter(_ROUTE, "upstream_rq_completed")
    """Requests routed to the revision and answered, by whomever."""
    saved: int = _counter(_ROUTE, "upstream_rq_retry_success")
    """Requests answered without a server error after a retry."""
    lost: int = _counter(_ROUTE, "upstream_rq_xx", code_class="5")
    """Requests answered 5xx to the caller."""
    refused: int = _counter(_ROUTE, "upstream_rq_xx", code_class="4")
    """Requests answered 4xx to the caller."""
    latency_ms: Mapping[float, int] = _histogram(_ROUTE, "upstream_rq_time")
    """Cumulative count per upper bound in milliseconds, infinity included."""

    @property
    def failed(self) -> int:
        """Requests of this revision that did not succeed at once; never those that were refused."""
        return self.saved + self.lost

    @property
    def untried(self) -> int:
        """Requests that no server of the revision could be tried for: whoever answered, it was not this revision."""
        return max(0, self.completed - self.attempts)

    def plus(self, other: RevisionTraffic) -> RevisionTraffic:
        """Both together. Of two histograms only the bounds that both have can be added up."""
        return _combined(self, other, lambda mine, its: mine + its)

    def since(self, before: RevisionTraffic) -> RevisionTraffic:
        """What came after `before`, a reading of the same router; all of it where the router has started again."""
        if self._has_fallen(before):
            return self
        found = _combined(self, before, lambda mine, its: max(0, mine - its))
        return dataclasses.replace(found, **{name: getattr(self, name) for name in _GAUGES})

    def _has_fallen(self, before: RevisionTraffic) -> bool:
        """Whether anything is less than it was: counters only grow, so these began anew."""
        fell = any(getattr(self, name) < getattr(before, name) for name in _COUNTERS)
        return fell or any(self.latency_ms.get(bound, count) < count for bound, count in before.latency_ms.items())


def revisions(samples: Iterable[Sample]) -> dict[str, RevisionTraffic]:
    """Add up one page of the stats listener by revision. Clusters that are no revision's are left out."""
    found: dict[str, dict[str, Any]] = {}
    for sample in samples:
        cluster = sample.labels.get(_CLUSTER, "")
        if cluster in ("", "admin", "public"):
            continue
        revision = cluster.removesuffix(ROUTE_SUFFIX)
        counted = found.setdefault(revision, {})
        field = _FIELDS.get((cluster[len(revision) :], sample.name, sample.labels.get(_CLASS, "")))
        if field is None:
            continue
        if "le" in sample.labels:
            counted.setdefault(field, {})[float(sample.labels["le"])] = int(sample.value)
        else:
            counted[field] = counted.get(field, 0) + int(sample.value)
    return {revision: RevisionTraffic(**counted) for revision, counted in found.items()}


def _combined(one: RevisionTraffic, other: RevisionTraffic, how: Any) -> RevisionTraffic:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(RevisionTraffic):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, Mapping):
            bounds = [bound for bound in mine if bound in its] if mine and its else [*mine, *its]
            values[field.name] = {bound: how(mine.get(bound, 0), its.get(bound, 0)) for bound in bounds}
        else:
            values[field.name] = how(mine, its)
    return RevisionTraffic(**values)


_FIELDS: Mapping[tuple[str, str, str], str] = {
    key: field.name for field in dataclasses.fields(RevisionTraffic) for key in field.metadata[_SOURCE]
}
_COUNTERS = tuple(
    field.name
    for field in dataclasses.fields(RevisionTraffic)
    if field.default is not dataclasses.MISSING and not field.metadata[_GAUGE]
)
_GAUGES = tuple(field.name for field in dataclasses.fields(RevisionTraffic) if field.metadata[_GAUGE])
