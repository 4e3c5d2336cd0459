"""`make fuzz-serving`: requests that are wrong in every layer, against the real server.

    python tests/fuzz_serving [--requests N] [--seed N] [--replay ID]

The last line is `requests=N crashes=C unexpected-5xx=U`; one request is sent again by its id.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime" / "serving" / "kit"))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from serving_kit import models, process

from millrace_fuzz_serving import mutations, run
from millrace_fuzz_serving.corpus import Corpus
from millrace_fuzz_serving.run import Findings, Id

REQUESTS = 50_000
MOST_GROWTH = 0.10
SHOWN = 20
CLASSES = ("2xx", "3xx", "4xx", "5xx", "closed")

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def main(arguments: list[str]) -> int:
    """0 when nothing crashed, nothing was answered 5xx but 503, and memory stayed where it was."""
    options = _parser().parse_args(arguments)
    made = {"numbers": models.classifier(), "words": models.mixed_classifier()}
    corpora = {name: Corpus(model) for name, model in made.items()}
    wanted = _wanted(options, list(made))
    found: dict[str, Findings] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-fuzz-") as folder, _bar() as bar:
        for name, some in wanted.items():
            task = bar.add_task(f"requests about {name}", total=len(some))
            with process.start(made[name], Path(folder) / name) as server:
                server.wait_ready()
                port, pid = server.settings.port, server.process.pid
                asked = run.against(port, pid, some, options.seed, corpora, lambda task=task: bar.advance(task))
                found[name] = asyncio.run(asked)
                alive = server.process.poll() is None and server.infer(made[name].rows(0, 1)).status == 200
                if not alive:
                    found[name].faults.append((some[-1], "crash", server.log()[-300:].encode()))
    return _told(found, options.replay is not None)


def _wanted(options: argparse.Namespace, names: list[str]) -> dict[str, list[Id]]:
    if options.replay is not None:
        return {options.replay.model: [options.replay]}
    share = options.requests // len(names)
    return {name: list(run.ids(name, share, options.seed)) for name in names}


def _told(found: dict[str, Findings], replayed: bool) -> int:
    faults = [fault for findings in found.values() for fault in findings.faults]
    console.print(_table(found))
    for one, fault, heard in faults[:SHOWN]:
        console.print(f"[red]{fault}[/red] {one}: {heard!r}", markup=True)
    if faults:
        console.print(f"Next: python tests/fuzz_serving --replay {faults[0][0]}")
    grown = not replayed and any(findings.growth >= MOST_GROWTH for findings in found.values())
    for name, findings in found.items():
        console.print(
            f"memory of the server of {name}: {findings.warm_kib / 1024:.1f} MiB warm,"
            f" {findings.last_kib / 1024:.1f} MiB at the end ({findings.growth:+.1%})"
        )
    counts = {kind: sum(one.count(kind) for one in found.values()) for kind in ("crash", "unexpected-5xx")}
    total = sum(one.requests for one in found.values())
    console.print(f"requests={total} crashes={counts['crash']} unexpected-5xx={counts['unexpected-5xx']}")
    return 1 if faults or grown else 0


def _table(found: dict[str, Findings]) -> Table:
    table = Table("kind", *CLASSES, "faults")
    for kind in mutations.KINDS:
        counts = [sum(one.answers[kind, status] for one in found.values()) for status in CLASSES]
        faults = sum(one.kind == kind for findings in found.values() for one, _, _ in findings.faults)
        table.add_row(kind, *(f"{count:,}" if count else "" for count in counts), str(faults or ""))
    return table


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not sys.stdout.isatty())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other requests (default: 0)")
    parser.add_argument("--replay", type=Id.parse, metavar="ID", help="one request, as numbers/elements/17")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
