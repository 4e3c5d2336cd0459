"""What the router's statistics say about a revision: which series of Envoy, and how they add up.

A revision R is two clusters in Envoy. `R` holds its servers: what was sent to them, and how many are healthy. `R-route`
is where its share of the requests goes, with what callers were answered in the end, retries included; a retry may have
been answered by the stable revision. Proven with a real Envoy in `tests/router/test_statistics.py`:

| question | series |
| --- | --- |
| attempts made at R | `upstream_rq_total{R}` + `upstream_rq_pending_failure_eject{R}` (got no connection) |
| requests that R failed at first | `upstream_rq_retry_success{R-route}` (saved), `upstream_rq_xx{R-route,5}` (lost) |
| of these, seen by callers | `upstream_rq_xx{R-route,5}` |
| time until callers had an answer | `upstream_rq_time{R-route}`, milliseconds, merged once per second |
| healthy servers | `membership_healthy{R}` |

Attempts at stable include the retries of the canary's failures, so what stable was asked for itself is
`upstream_rq_completed{R-route}`. Requests of a canary without a healthy server go to stable without an attempt at it.
Counters start again from zero when Envoy restarts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from millrace.contract.exposition import Sample

ROUTE_SUFFIX = "-route"
REVISION_DOMAIN = "revision.millrace.internal"
SCRAPE_PATH = "/stats/prometheus?usedonly&filter=^cluster\\.[0-9a-f]%2B(-route)%3F\\."
"""On the stats listener: only the clusters of revisions, only statistics that were ever written."""

LATENCY_BUCKETS_MS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)

_CLUSTER = "envoy_cluster_name"
_CLASS = "envoy_response_code_class"


def revision_host(revision: str) -> str:
    """The Host under which a server is asked whether it is ready, so that one of another revision says no.

    An address may belong to another pod by the time it is asked: a name that is resolved is always a little old.
    """
    return f"{revision}.{REVISION_DOMAIN}"


@dataclass
class RevisionTraffic:
    """Counters of one revision at one router pod; differences of two readings are what happened between them."""

    attempts: int = 0
    """Tries at the revision's own servers."""
    completed: int = 0
    """Requests routed to the revision and answered, by whomever."""
    saved: int = 0
    """Requests answered without error after a retry."""
    lost: int = 0
    """Requests answered 5xx to the caller."""
    healthy: int = 0
    """Servers of the revision that answer their health check; a gauge."""
    latency_ms: dict[float, int] = field(default_factory=dict)
    """Cumulative count per upper bound in milliseconds, infinity included."""

    @property
    def failed(self) -> int:
        """Requests of this revision that did not succeed at once."""
        return self.saved + self.lost


def revisions(samples: Iterable[Sample]) -> dict[str, RevisionTraffic]:
    """Add up one page of the stats listener by revision. Clusters that are no revision's are left out."""
    found: dict[str, RevisionTraffic] = {}
    for sample in samples:
        cluster = sample.labels.get(_CLUSTER, "")
        revision = cluster.removesuffix(ROUTE_SUFFIX)
        if cluster in ("", "admin", "public"):
            continue
        traffic = found.setdefault(revision, RevisionTraffic())
        if cluster == revision:
            _add_member(traffic, sample)
        else:
            _add_route(traffic, sample)
    return found


def _add_member(traffic: RevisionTraffic, sample: Sample) -> None:
    value = int(sample.value)
    match sample.name:
        case "envoy_cluster_upstream_rq_total" | "envoy_cluster_upstream_rq_pending_failure_eject":
            traffic.attempts += value
        case "envoy_cluster_membership_healthy":
            traffic.healthy = value


def _add_route(traffic: RevisionTraffic, sample: Sample) -> None:
    value = int(sample.value)
    match sample.name:
        case "envoy_cluster_upstream_rq_completed":
            traffic.completed += value
        case "envoy_cluster_upstream_rq_retry_success":
            traffic.saved += value
        case "envoy_cluster_upstream_rq_xx" if sample.labels.get(_CLASS) == "5":
            traffic.lost += value
        case "envoy_cluster_upstream_rq_time_bucket":
            traffic.latency_ms[float(sample.labels["le"])] = value
