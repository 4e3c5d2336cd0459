"""Numbers about one telling of the story: the operator's own, read from its /metrics, and how long each part took."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .release import Release
from .timeline import Moment
from .traffic import Tally

FILE = "MILLRACE_MEASURES"
"""The environment variable that names the JSON file to write; nothing is written without it."""


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
        release.home.port_forward(f"pod/{release.operator_pod()}", 8080) as url,
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


@dataclass
class Laps:
    """Seconds of the parts of a telling, which follow each other without a gap."""

    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def end(self, name: str) -> None:
        """The part that ends now."""
        self.seconds[name] = self.total() - sum(self.seconds.values())

    def total(self) -> float:
        """Seconds since the first part began."""
        return time.monotonic() - self._begun


def between(moments: Sequence[Moment], first: str, last: str) -> float | None:
    """Seconds from the first moment of one word to the first later moment of another; None if either is missing."""
    begun = next((moment.at for moment in moments if moment.word == first), None)
    ended = [moment.at for moment in moments if moment.word == last and begun is not None and moment.at >= begun]
    return ended[0] - begun if begun is not None and ended else None


def sentence(laps: Laps, idle: Footprint, after: Footprint) -> str:
    """What a telling took, on one clock, and what the operator took for it."""
    whole, story = sum(laps.seconds.values()), laps.seconds["story"]
    return (
        f"{whole:.0f} s in all: {whole - story:.0f} s for cluster, images and operator, {story:.0f} s for the story. "
        f"The operator: {idle.memory_mib:.0f} MiB of memory idle, {after.memory_mib:.0f} MiB after the story; "
        f"of {after.events} events it took up half within {after.p50_ms:g} ms and 99 % within {after.p99_ms:g} ms"
    )


def record(
    told: bool, laps: Laps, moments: Sequence[Moment], tally: Tally, idle: Footprint, after: Footprint
) -> dict[str, Any]:
    """Everything measured, as JSON holds it; times are seconds unless their name says otherwise."""
    return {
        "told": told,
        "total_s": laps.total(),
        "parts_s": laps.seconds,
        "apply_to_first_correct_prediction_s": between(moments, "applied", "predicted"),
        "drift_injected_to_detected_s": between(moments, "shift", "drift"),
        "drift_injected_to_new_model_at_100_s": between(moments, "shift", "promoted"),
        "operator_idle": asdict(idle),
        "operator_after_the_story": asdict(after),
        "requests": {
            "sent": tally.sent,
            "failed": tally.failed,
            "p50_ms": 1000 * tally.quantile(0.5),
            "p99_ms": 1000 * tally.quantile(0.99),
            "by_version": dict(tally.versions),
        },
        "timeline": [asdict(moment) for moment in moments],
    }


def write(measured: dict[str, Any]) -> None:
    """Write the record to the file that MILLRACE_MEASURES names, if it names one."""
    path = os.environ.get(FILE)
    if path:
        Path(path).write_text(json.dumps(measured, indent=1) + "\n")
