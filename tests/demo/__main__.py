"""`make demo`: the closed loop on real data, from nothing to a model that replaced itself.

    python tests/demo [--down | --remove]

Nobody types anything between the first line and the last. Everything stays up to look around, unless the story failed
or `--down` is given: then a local cluster is taken down, and what the demo put into a cluster of your own is removed.
MILLRACE_MEASURES names a JSON file for what was measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("demo", "cluster", "images")]

from rich.console import Console  # noqa: E402
from rich.markup import escape  # noqa: E402

import millrace_cluster  # noqa: E402  the path is set above: this runs before any install
from millrace_cluster import evidence  # noqa: E402
from millrace_demo import bars, data, further, measures, objects, prediction, release, sources, timeline, traffic  # noqa: E402
from millrace_demo.kubectl import CommandFailed, Kubectl, TimedOut, condition, is_true  # noqa: E402

RELEASE = "millrace-demo"
"""Its team's namespace has the same name; its own is `millrace-demo-system`."""
NAME = "visits"
RATE = 60.0
ROWS_OF_A = 1500
PATIENCE = 420.0

console = Console(highlight=False, soft_wrap=True)
"""Piped into a file, a line stays a line."""


def main(argv: list[str]) -> int:
    """Tell the story; 0 when every part of it was seen in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--down", action="store_true", help="take everything down at the end")
    ending.add_argument("--remove", action="store_true", help="only remove what an earlier demo left in the cluster")
    options = parser.parse_args(argv)
    try:
        if options.remove:
            release.remove(millrace_cluster.up(), RELEASE)
            return 0
        console.rule("Millrace: the closed loop")
        return _told(down=options.down)
    except millrace_cluster.ClusterError as error:
        console.print(str(error), style="red", markup=False)
        return error.exit_code
    except (CommandFailed, TimedOut) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def _told(*, down: bool) -> int:
    """The demo and what is done after it; nothing is done to a cluster on which it may not begin."""
    laps = measures.Laps()
    cluster = millrace_cluster.up()
    release.check(cluster, RELEASE)
    laps.end("cluster")
    evidence.offer(RELEASE, lambda: release.last_words(cluster, RELEASE))
    told, why, seen = False, "the story was not told as it should be: see above", {}
    try:
        told = _demo(cluster, laps)
    except (CommandFailed, TimedOut, millrace_cluster.ClusterError) as error:
        why = str(error)
    finally:
        if not told:
            seen = evidence.collect()
        if down or not told:
            _take_down(cluster, asked=down)
    if not told:
        _report_failure(seen, why)
    return 0 if told else 1


def _take_down(cluster: millrace_cluster.Cluster, *, asked: bool) -> None:
    """What was made here goes; a local cluster as a whole, unless it was not asked for and somebody else uses it."""
    if cluster.kind == "own" or (not asked and release.is_shared_by_others(cluster, RELEASE)):
        release.remove(cluster, RELEASE)
    else:
        millrace_cluster.down()


def _report_failure(seen: Mapping[str, str], why: str) -> None:
    """As the last lines: what the pods said, and what went wrong."""
    for title, text in seen.items():
        console.print(f"--- the last {evidence.LINES} lines of {title}", markup=False)
        console.print(text, markup=False)
    console.print(why, style="red", markup=False)


def _demo(cluster: millrace_cluster.Cluster, laps: measures.Laps) -> bool:
    values = release.prepare_images(cluster)
    laps.end("images")
    with console.status(f"helm install {RELEASE} charts/millrace"):
        installed = release.install(cluster, RELEASE, values)
    laps.end("install")
    console.print(f"  ok   installing the operator ({laps.seconds['install']:.1f} s)")
    console.print(f"everything is there after {laps.total():.0f} s; the times below count from here")
    idle = measures.footprint(installed)
    with timeline.Timeline(installed.kubectl, say=_say) as seen:
        tally = _story(installed.kubectl, seen)
    laps.end("story")
    told = seen.told() and tally.failed == 0
    busy = measures.footprint(installed)
    _epilogue(installed, seen, told)
    console.print(measures.sentence(laps, idle, busy))
    _further(installed)
    measures.write(measures.record(told, laps, seen.moments, tally, idle, busy))
    return told


def _say(moment: timeline.Moment) -> None:
    console.print(f"  {moment.at:6.1f} s  [bold]{moment.word:<10}[/bold] {escape(moment.detail)}")


def _story(kubectl: Kubectl, seen: timeline.Timeline) -> traffic.Tally:
    first, second = data.slices()
    with sources.open_sources(kubectl) as store:
        uri = store.put("sources/visits/a.csv", first.csv).rsplit("/", 1)[0] + "/"
        author = kubectl.whoami()
        with prediction.Probe(kubectl, store, NAME, seen.note) as probe:
            seen.note("applied", "a Dataset, a TrainingRun and a Deployment")
            kubectl.apply(
                objects.dataset(NAME, uri),
                objects.training_run(NAME, NAME, NAME, author),
                objects.deployment(NAME, NAME, NAME),
            )
            kubectl.until("mdep", NAME, lambda item: is_true(item, "Ready"), PATIENCE, "Ready")
            probe.wait(30)
        with (
            kubectl.port_forward(f"svc/{NAME}", 80) as url,
            bars.Bars(console, ROWS_OF_A) as bar,
            traffic.Caller(url, NAME, first.rows, RATE) as caller,
        ):
            while caller.tally.sent < ROWS_OF_A:
                bar.show(caller.tally.sent)
                time.sleep(0.2)
            caller.rows = second.rows
            bar.shift(caller.tally.sent)
            store.put("sources/visits/b.csv", second.csv)
            seen.note(
                "shift",
                "callers are now slice B, people with more chronic conditions; their rows were added to the source",
            )
            deadline = time.monotonic() + PATIENCE
            while not seen.told() and time.monotonic() < deadline:
                bar.show(caller.tally.sent)
                time.sleep(0.2)
            caller.stop()
            bar.end(caller.tally.sent)
    _report(caller.tally)
    return caller.tally


def _report(tally: traffic.Tally) -> None:
    console.print(
        f"requests {tally.sent}, failed {tally.failed}, p50 {1000 * tally.quantile(0.5):.1f} ms, "
        f"p99 {1000 * tally.quantile(0.99):.1f} ms, by model version {dict(tally.versions)}"
    )
    for failure, count in tally.failures.most_common(3):
        console.print(f"  {count} times {failure}")


def _epilogue(installed: release.Release, seen: timeline.Timeline, told: bool) -> None:
    kubectl = installed.kubectl
    console.rule("where everything stands")
    console.print(kubectl.run("get", "mds,mtr,mmd,mdep"), markup=False)
    missing = [word for word in timeline.STORY if word not in seen.words()]
    if not told:
        console.print(
            f"[red]not seen: {', '.join(missing) or 'nothing, but not in order or with failed requests'}[/red]"
        )
    if condition(kubectl.get("mdep", NAME) or {}, "DriftDetected").get("reason") == "InsufficientData":
        console.print(
            "DRIFT InsufficientData: the new model is watched in turn; the callers went before it had enough rows"
        )


def _further(installed: release.Release) -> None:
    ending = "make demo ARGS=--remove" if installed.cluster.kind == "own" else "make cluster-down"
    console.print("To look further:")
    for line in further.lines(installed.kubectl, NAME, ending):
        console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
