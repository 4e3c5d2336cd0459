"""`make bench-operator`: our operator at scale, beside Go operators on the same API server; printed, never asserted.

    python tests/benchmarks/operator                 # 100, 1,000 and 5,000 objects: up to two hours
    python tests/benchmarks/operator --small         # 100 objects, one round: some minutes
    python tests/benchmarks/operator --counts 5000 --add            # beside the counts that were measured before
    python tests/benchmarks/operator --counts 1000 --rounds 2 --only kernel,twin

Writes tests/benchmarks/results/operator.json and .md (not with --small or --only).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), *(str(HERE.parents[1] / folder) for folder in ("cluster", "kit"))]

from millrace_benchmarks import machine  # noqa: E402  the path is set above
from millrace_cluster.failure import ClusterError  # noqa: E402
from millrace_scale import contenders, extras, figures, report  # noqa: E402
from millrace_scale.plane import Plane  # noqa: E402
from millrace_scale.run import Bench  # noqa: E402

RESULTS = HERE.parent / "results"
COUNTS = (100, 1000, 5000)
ROUNDS = {100: 3}
"""One round of every other count."""
NOTES = """\
* All operators in turn, round by round, each as a process of its own on a fresh control plane; two cores are shared by
  everything. Compare ratios; repeats differ by 20-30 %. With several rounds the medians are shown.
* No client is throttled: the limits of all Go clients are raised, ours has none. Eight workers (Rollouts: its default).
* Nodes and kubelets are KWOK's, so pods start and answer nothing: Models are approved beforehand by their gates, and in
  place of scraping the routers' ConfigMaps are read in memory. Every N Deployments have N Models, 2 N objects in all.
* A Deployment of ours has {children} children, a Rollout one ReplicaSet, a Widget one ConfigMap: `kernel` is our kernel
  doing the twin's work, the only pair of the same work.
* Writes are counted in the API server's audit log, by user; leases are left out. CPU and memory are the process's own.
* Off: API priority and fairness, etcd's fsync, Rollouts' notifications and metrics ports, our scraping.
"""


def main(argv: list[str]) -> int:
    """Measure, print, write."""
    options = _options(argv)
    begun, facts = time.monotonic(), machine.phrase(machine.describe())
    chosen = [one for one in contenders.ALL if not options.only or one.name in options.only.split(",")]
    counts = [100] if options.small else [int(count) for count in options.counts.split(",")]
    before = report.measured_before(RESULTS, counts) if options.add else report.Before()
    found, further = before.runs, before.further
    failed = False
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-scale-") as folder:
            _measure(Path(folder), chosen, counts, options, found)
            if not (options.only or further):
                further = _extras(Path(folder), kills=1 if options.small else options.kills)
    except ClusterError as error:
        print(error, file=sys.stderr)
        failed = True  # what was measured until then is shown, and not written
    medians = [figures.median([one for one in found if (one.contender, one.count) == key])
               for key in dict.fromkeys((one.contender, one.count) for one in found)]  # fmt: skip
    facts += f"; {', '.join(f'{count:,}' for count in counts)} objects, {(time.monotonic() - begun) / 60:.0f} minutes"
    facts = f"{before.machine}. {facts}" if before.machine else facts
    text = _text(medians, further, f"{facts}.")
    print(f"\n{text}")
    if not (failed or options.small or options.only):
        report.write(RESULTS, report.document(found, medians, machine=facts, further=further), text)
        print(f"written to {(RESULTS / 'operator.md').relative_to(HERE.parents[2])} and .json")
    return int(failed)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="100 objects, one round, nothing written")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="objects created at once")
    parser.add_argument("--add", action="store_true", help="keep what was measured before, but at these counts")
    parser.add_argument("--rounds", type=int, default=0, help="of every count; by default 3 of the smallest, else 1")
    parser.add_argument("--only", default="", help=f"some of {','.join(one.name for one in contenders.ALL)}")
    parser.add_argument("--kills", type=int, default=5, help="how often the leader is killed")
    return parser.parse_args(argv)


def _measure(
    folder: Path,
    chosen: list[contenders.Contender],
    counts: list[int],
    options: argparse.Namespace,
    found: list[figures.Figures],
) -> None:
    for count in counts:
        rounds = 1 if options.small else options.rounds or ROUNDS.get(count, 1)
        for number in range(rounds):
            for one in chosen if number % 2 == 0 else reversed(chosen):
                began, name = time.monotonic(), f"{one.name}-{count}-{number}"
                with _bench(folder) as bench:
                    found.append(asyncio.run(bench.run(one, count, name)))
                told = f"{count:>6,} {one.title:36} round {number + 1}/{rounds} {time.monotonic() - began:4.0f} s"
                print(f"{told}  {found[-1].children_per_s:.0f} children/s", flush=True)


def _extras(folder: Path, kills: int) -> dict[str, float]:
    with _bench(folder) as bench:
        return asyncio.run(extras.measure(bench, kills=kills))


@contextlib.contextmanager
def _bench(folder: Path) -> Iterator[Bench]:
    """On a control plane of its own, of which nothing is left: what one run wrote, no other one has to carry."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        Plane(Path(own), [one.name for one in contenders.ALL]) as plane,
    ):
        yield Bench(plane, lambda line: print(f"       {line}", flush=True))


def _text(medians: list[figures.Figures], further: dict[str, float], facts: str) -> str:
    titles = {one.name: one.title for one in contenders.ALL}
    children = next((f"{one.children_per_object:.0f}" for one in medians if one.contender == "millrace"), "several")
    parts, counted = [facts, report.table(medians, titles)], report.ratios(medians)
    parts += [report.ratio_table(counted)] if counted else []
    grown = report.growth(medians)
    parts += [report.growth_table(grown, titles)] if grown else []
    parts += ["\n".join(f"* {name}: {value:.2f}" for name, value in further.items())] if further else []
    return "\n\n".join([*parts, NOTES.format(children=children)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
