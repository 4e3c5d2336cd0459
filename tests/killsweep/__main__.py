"""`make kill-sweep`: the closed loop with the operator killed after every effective write.

    python tests/killsweep [--most N] [--undisturbed | --swept] [--keep]

The story is told twice in fresh namespaces: undisturbed, then with a kill after every effective write, its reply lost.
Both must end alike, and a caller at 100 requests/s must not notice. The last line is `kills=N failed=0`.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / folder) for folder in ("demo", "cluster", "images"))]

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: E402

import millrace_cluster  # noqa: E402  the path is set above
from millrace_demo import release  # noqa: E402
from millrace_demo.kubectl import CommandFailed, TimedOut  # noqa: E402
from millrace_demo.timeline import STORY  # noqa: E402
from millrace_demo.traffic import Tally  # noqa: E402
from millrace_killsweep import ending, installation, report, story  # noqa: E402
from millrace_killsweep.ending import Ending  # noqa: E402
from millrace_killsweep.points import Points  # noqa: E402
from millrace_killsweep.supervisor import Supervisor  # noqa: E402

RELEASE = "millrace-sweep"
"""Its namespace has the same name."""
PATIENCE = 1200.0
MOST = 200

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True)
class Telling:
    """One telling of the story and what it left."""

    points: Points
    end: Ending
    tally: Tally
    findings: list[str]


def main(argv: list[str]) -> int:
    """0 when the swept story ended as the undisturbed one, no request failed and no finding is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=MOST, metavar="N", help="kills at one place (verb, kind, name)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--undisturbed", action="store_true", help="only the undisturbed story: lists the kill points")
    only.add_argument("--swept", action="store_true", help="only the swept story, held against what must be")
    parser.add_argument("--keep", action="store_true", help="leave the release and its objects to look around")
    options = parser.parse_args(argv)
    try:
        cluster = millrace_cluster.up()
        release.check(cluster, RELEASE)
        images = release.prepare_images(cluster)
        tell = functools.partial(_telling, cluster, images, keep=options.keep)
        plain = None if options.swept else tell("undisturbed", most=0)
        swept = None if options.undisturbed else tell("swept", most=options.most)
    except millrace_cluster.ClusterError as error:
        console.print(f"[red]{error}[/red]")
        return error.exit_code
    except (CommandFailed, TimedOut, installation.Unreachable) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("stopped; everything was removed")
        return 130
    tellings = [one for one in (plain, swept) if one is not None]
    findings = [text for one in tellings for text in one.findings]
    if plain is not None and swept is not None:
        findings += ending.differences(swept.end, plain.end)
    for text in findings:
        console.print(f"[red]finding: {text}[/red]")
    failed = sum(one.tally.failed for one in tellings) + len(findings)
    kills = sum(one.points.kills for one in tellings)
    print(f"kills={kills} failed={failed}", flush=True)
    return 1 if failed else 0


def _telling(
    cluster: millrace_cluster.Cluster, images: dict[str, str], title: str, *, most: int, keep: bool
) -> Telling:
    """Tell the story in a fresh namespace."""
    console.rule(title)
    folder = Path(tempfile.mkdtemp(prefix="millrace-killsweep-"))
    with installation.installed(cluster, RELEASE, images, keep=keep) as found:
        points = Points(most=most)
        operator = found.supervisor(points, folder)
        try:
            with operator, _bar() as bar:
                told = story.tell(found.kubectl, operator, PATIENCE, _shown(bar, points))
                end = ending.read(found.kubectl, story.NAME)
        except BaseException:
            console.print(report.listing(points.seen), report.summary(points.seen))
            console.print(found.kubectl.run("get", "mds,mtr,mmd,mdep,jobs,pods"), markup=False)
            console.print(f"starts: {operator.starts}, crashes: {operator.crashes}; log: {operator.log}")
            raise
    findings = ending.findings(end, points.created("jobs.batch"), story.NAME) + operator.crashes
    findings += [f"nobody saw: {word}" for word in STORY if word not in told.words]
    _say(told, points, operator)
    if not (findings or told.tally.failed):
        shutil.rmtree(folder)
    return Telling(points, end, told.tally, findings)


def _shown(bar: Progress, points: Points) -> story.Watcher:
    task = bar.add_task("applied", total=len(STORY), kills=0, requests="")

    def show(word: str, tally: Tally | None) -> None:
        done = STORY.index(word) + 1 if word in STORY else 0
        requests = f"{tally.sent} requests, {tally.failed} failed" if tally else ""
        bar.update(task, completed=done, description=word, kills=points.kills, requests=requests)

    return show


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[kills]} kills  {task.fields[requests]}"),
        TimeElapsedColumn(),
        console=console,
    )


def _say(told: story.Told, points: Points, operator: Supervisor) -> None:
    for moment in told.moments:
        console.print(f"  {moment.at:6.1f} s  {moment.word:<10} {moment.detail}", markup=False)
    console.print(report.listing(points.seen), report.summary(points.seen))
    tally = told.tally
    console.print(
        f"requests {tally.sent}, failed {tally.failed}, p50 {1000 * tally.quantile(0.5):.1f} ms, "
        f"p99 {1000 * tally.quantile(0.99):.1f} ms, by model version {dict(tally.versions)}; "
        f"operator started {operator.starts} times"
    )
    for failure, count in tally.failures.most_common(5):
        console.print(f"  {count} times {failure}", markup=False)
    if tally.failed:
        console.print(f"the operator's log: {operator.log}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
