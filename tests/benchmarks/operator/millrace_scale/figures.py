"""From what an API server logged, and a process used, to the figures of one run. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from millrace_scale.audit import EVENTS, Write
from millrace_scale.meter import Sample


@dataclass(frozen=True)
class Figures:
    """One run of one operator over `count` objects that were created at once."""

    contender: str
    count: int
    first_child_p50_s: float
    """From the answer to the create of an object to the answer to the write of its first child."""
    first_child_p99_s: float
    objects_per_s: float
    """Objects with a first child, over the time from the first create to the last first child."""
    children_per_object: float
    children_per_s: float
    """Children made, over the time from the first create to the last of them."""
    writes_per_object: float
    """All that was carried out until nothing was written any more, but for Events."""
    events_per_object: float
    settled_s: float
    """From the first create to the last write."""
    cpu_ms_per_object: float
    """Until the last write, Events included."""
    cpu_ms_per_child: float
    cpu_ms_per_write: float
    """Events count as writes here, since they cost as much."""
    rss_mib: float
    peak_rss_mib: float
    start_cpu_s: float
    """CPU of the start, with whatever had to be dealt with before."""
    idle_cpu_percent: float
    """Of one core."""
    idle_writes: int
    """But for the lease."""


@dataclass(frozen=True)
class Run:
    """What was seen of one run. `samples` are (time of day, sample), in order; `writes` are the operator's own."""

    contender: str
    count: int
    created: dict[str, float]
    """When each object was created, by name."""
    writes: Sequence[Write]
    samples: Sequence[tuple[float, Sample]]
    idle: tuple[float, Sample, float, Sample, int]
    """Time and sample at the begin and the end of the idle time, and the writes within."""


def first_children(created: dict[str, float], writes: Sequence[Write]) -> dict[str, float]:
    """When the first child of each object was there; its name is, or begins with, the object's."""
    found: dict[str, float] = {}
    length = len(next(iter(created), ""))
    for write in writes:
        owner = write.name[:length]
        if write.makes and write.resource != EVENTS and owner in created:
            found[owner] = min(write.at, found.get(owner, write.at))
    return found


def figures(run: Run) -> Figures:
    """The figures of a run. Raises ValueError if an object never got a child."""
    first = first_children(run.created, run.writes)
    if len(first) < run.count:
        raise ValueError(f"{run.count - len(first)} of {run.count} objects of {run.contender} never got a child")
    begun, own = min(run.created.values()), [write for write in run.writes if write.resource != EVENTS]
    children = [write.at for write in own if write.makes and write.name[: len(next(iter(run.created)))] in run.created]
    waits = sorted(max(0.0, at - run.created[name]) for name, at in first.items())
    last = max(write.at for write in run.writes)
    cpu = _sample_after(run.samples, last).cpu - run.samples[0][1].cpu
    idle_begun, before, idle_ended, after, idle_writes = run.idle
    return Figures(
        contender=run.contender,
        count=run.count,
        first_child_p50_s=quantile(waits, 0.5),
        first_child_p99_s=quantile(waits, 0.99),
        objects_per_s=run.count / (max(first.values()) - begun),
        children_per_object=len(children) / run.count,
        children_per_s=len(children) / (max(children) - begun),
        writes_per_object=len(own) / run.count,
        events_per_object=(len(run.writes) - len(own)) / run.count,
        settled_s=last - begun,
        cpu_ms_per_object=cpu / run.count * 1000,
        cpu_ms_per_child=cpu / len(children) * 1000,
        cpu_ms_per_write=cpu / len(run.writes) * 1000,
        rss_mib=after.rss,
        peak_rss_mib=after.peak,
        start_cpu_s=run.samples[0][1].cpu,
        idle_cpu_percent=(after.cpu - before.cpu) / (idle_ended - idle_begun) * 100,
        idle_writes=idle_writes,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of a sorted, non-empty sequence."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(found: Sequence[Figures]) -> Figures:
    """Figure by figure the median of repeated runs of the same kind."""
    names = [name for name in Figures.__dataclass_fields__ if name not in ("contender", "count")]
    values = {name: statistics.median(getattr(one, name) for one in found) for name in names}
    values["idle_writes"] = max(one.idle_writes for one in found)
    return Figures(contender=found[0].contender, count=found[0].count, **values)


def _sample_after(samples: Sequence[tuple[float, Sample]], moment: float) -> Sample:
    return next((sample for at, sample in samples if at >= moment), samples[-1][1])
