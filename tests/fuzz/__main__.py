"""`make fuzz-crs`: custom resources mutated from their own schemas, against a real API server and the real operator.

    python tests/fuzz [--seed N] [--only GLOB] [--replay ID] [--list] [--json FILE]

The last line is `mutations=N refused=R accepted=A accepted-stuck=S`; one mutation is tried again by its id.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import fnmatch
import json
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "harness"), str(HERE.parent / "cluster")]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from millrace_cluster.failure import ClusterError  # noqa: E402  the path is set above
from millrace_fuzz import report, run, schema  # noqa: E402
from millrace_fuzz.lanes import Outcome  # noqa: E402
from millrace_fuzz.run import Work  # noqa: E402
from millrace_harness import plane  # noqa: E402

SHOWN = 40

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def main(argv: list[str]) -> int:
    """0 when every mutation was answered as its schema wants, and everything accepted came to rest and went back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other values (default: 0)")
    parser.add_argument("--only", default="*", metavar="GLOB", help="mutations whose id matches")
    parser.add_argument("--replay", metavar="ID", help="one mutation (a walk: all of its steps), and what it is")
    parser.add_argument("--list", action="store_true", help="print the ids and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    options = parser.parse_args(argv)
    wanted = (lambda name: name == options.replay) if options.replay else (
        lambda name: fnmatch.fnmatchcase(name, options.only)
    )  # fmt: skip
    work = run.only(run.plan(options.seed), wanted)
    if options.list:
        return _list(work)
    if not work.size:
        console.print(f"no mutation is called {options.replay or options.only}; see: python tests/fuzz --list")
        return 2
    if options.replay:
        _show(work)
    try:
        return _run(work, options.seed, options.json)
    except ClusterError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing is left behind")
        return 130


def _run(work: Work, seed: int, file: Path | None) -> int:
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="millrace-fuzz-") as folder, _bar() as bar:
        task = bar.add_task("the control plane starts", total=work.size)
        with plane.Plane(Path(folder), exempt=["admin"]) as made:

            def told(outcome: Outcome) -> None:
                outcomes.append(outcome)
                stuck = sum(one.fault == "stuck" for one in outcomes[-1:]) + bar.tasks[0].fields.get("stuck", 0)
                total = max(work.size, len(outcomes))
                bar.update(task, advance=1, total=total, description=outcome.mutation.kind, stuck=stuck)

            wrong = asyncio.run(run.run(made, work, told))
    _say(outcomes, wrong, seed)
    if file is not None:
        file.write_text(json.dumps([_record(one) for one in outcomes], indent=1))
    console.print(
        f"of what must be refused {100 * report.share(outcomes):.1f} % was, by its path; "
        f"{time.monotonic() - began:.0f} s"
    )
    print(report.line(outcomes), flush=True)
    return 0 if report.is_good(outcomes, wrong) else 1


def _list(work: Work) -> int:
    for one in (*work.asked, *(one for chain in work.chains for one in chain)):
        print(f"{one.expected:<9} {one.id}")
    return 0


def _show(work: Work) -> None:
    for one in (*work.asked, *(one for chain in work.chains for one in chain)):
        console.print(f"{one.id}: {one.fault} at {one.place}, must be {one.expected}", markup=False)
        console.print(json.dumps(one.spec, indent=1, ensure_ascii=False), markup=False)


def _say(outcomes: list[Outcome], wrong: list[str], seed: int) -> None:
    console.print(report.table(outcomes))
    bad = [one for one in outcomes if one.fault]
    for one in bad[:SHOWN]:
        text = " ".join(one.message.split())[:400]
        console.print(f"finding: {one.fault}: {one.mutation.id}: {text}", markup=False, style="red")
    for text in wrong[:SHOWN]:
        console.print(f"finding: {text}", markup=False, style="red")
    if bad:
        if len(bad) > SHOWN:
            console.print(f"... and {len(bad) - SHOWN} more: --json FILE writes all")
        again = f" --seed {seed}" if seed else ""
        console.print(f"try one again: .venv/bin/python tests/fuzz{again} --replay {bad[0].mutation.id}", markup=False)


def _record(one: Outcome) -> schema.Manifest:
    return {**dataclasses.asdict(one.mutation), "answer": one.answer, "wrong": one.fault, "message": one.message}


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
