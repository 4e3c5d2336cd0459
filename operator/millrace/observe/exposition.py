"""From a page of metrics to the counts that decisions need. Raises ValueError for a page that cannot be understood."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from millrace.contract import exposition, series
from millrace.contract.profile import MAX_BINS, MAX_FEATURES

Bins = tuple[int, ...]


@dataclass(frozen=True)
class ServerPage:
    """What a server counted since it started: rows per bin by feature, and the training rows' own."""

    live: dict[str, Bins] = field(default_factory=dict)
    reference: dict[str, Bins] = field(default_factory=dict)


def server_page(text: str) -> ServerPage:
    """Read a server's /metrics. A bin that never counted may be absent: it is 0.

    Raises ValueError for what is no metrics page, for more features or bins than a profile has, and for counts that are
    no counts.
    """
    found: dict[str, dict[str, dict[int, int]]] = {series.FEATURE_BINS.name: {}, series.REFERENCE_BINS.name: {}}
    for sample in exposition.parse(text):
        counted = found.get(sample.name)
        if counted is None:
            continue
        bins = counted.setdefault(sample.labels.get("feature", ""), {})
        bins[_index(sample.labels.get("bin", ""))] = _count(sample.value)
    live, reference = found[series.FEATURE_BINS.name], found[series.REFERENCE_BINS.name]
    if len(live) > MAX_FEATURES or len(reference) > MAX_FEATURES:
        raise ValueError(f"more than {MAX_FEATURES} features")
    widths = {name: max(bins) + 1 for name, bins in reference.items()}
    return ServerPage(
        {
            name: _dense(bins, widths[name])
            for name, bins in live.items()
            if name in widths and max(bins) < widths[name]
        },
        {name: _dense(bins, widths[name]) for name, bins in reference.items()},
    )


def _dense(bins: dict[int, int], width: int) -> Bins:
    return tuple(bins.get(index, 0) for index in range(width))


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= MAX_BINS:
        raise ValueError(f"{text[:20]!r} is not a bin below {MAX_BINS}")
    return int(text)


def _count(value: float) -> int:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} is not a count")
    return int(value)
