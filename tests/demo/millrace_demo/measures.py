"""Numbers about the operator itself, read from its own /metrics."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

from .release import Release


@dataclass(frozen=True)
class Footprint:
    """Resident memory in MiB and the time from event to start of a reconcile in milliseconds (bucket bounds)."""

    memory_mib: float
    events: int
    p50_ms: float
    p99_ms: float


def footprint(release: Release) -> Footprint:
    """What the operator pod says now."""
    with (
        release.kubectl.port_forward(f"pod/{release.operator_pod()}", 8080) as url,
        urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    buckets: dict[float, float] = {}
    memory = 0.0
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == "process_resident_memory_bytes":
            memory = float(value)
        elif name.startswith("millrace_event_to_reconcile_seconds_bucket"):
            bound = float(name.split('le="')[1].split('"')[0])
            buckets[bound] = buckets.get(bound, 0.0) + float(value)
    total = max(buckets.values(), default=0.0)
    return Footprint(memory / 2**20, int(total), 1000 * _quantile(buckets, 0.5), 1000 * _quantile(buckets, 0.99))


def _quantile(buckets: dict[float, float], share: float) -> float:
    total = max(buckets.values(), default=0.0)
    return next((bound for bound, count in sorted(buckets.items()) if count >= share * total), 0.0)
