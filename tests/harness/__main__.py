"""`make harness`: the operator under every fault, in virtual time.

    python tests/harness                    what CI runs: a fixed choice of plans, spread over faults and places
    python tests/harness --all              every plan there is
    python tests/harness --only 'stale-*'   the plans whose ids match
    python tests/harness --replay ID        one plan again, with what happened in it
    python tests/harness --list             the ids of all plans

The last line is `plans=N failed=0`; the exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

from rich.console import Console  # noqa: E402  the path is set above

from millrace_harness import plans, replay, report, sweep  # noqa: E402
from millrace_harness.workloads import WORKLOADS  # noqa: E402

COMMAND = "python tests/harness"
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def main(argv: list[str]) -> int:
    """0 when every plan held, 1 when one did not, 2 for a command that makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="every plan, not only those of a CI run")
    what.add_argument("--only", default="", metavar="GLOB", help="the plans whose ids match")
    what.add_argument("--replay", default="", metavar="ID", help="one plan, with what happened in it")
    what.add_argument("--list", action="store_true", help="print the ids of all plans")
    parser.add_argument("--workloads", default="", metavar="A,B", help="only these workloads")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    options = parser.parse_args(argv)
    try:
        if options.replay:
            return replay.show(console, plans.parse(options.replay))
        return _sweep(options)
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    except KeyboardInterrupt:
        console.print("stopped")
        return 130


def _sweep(options: argparse.Namespace) -> int:
    names = _named(options)
    quiet = Console(quiet=True) if options.list else console
    with report.progress(quiet, "undisturbed", len(names)) as heard:
        known = sweep.references(names, options.workers, heard)
    for text in known.findings:
        console.print(f"[red]{text}[/red]", markup=True)
    chosen = sweep.selected(known, options.only, everything=options.all or options.list)
    if options.list:
        print("\n".join(plan.id for plan in chosen))
        return 0
    if not chosen:
        raise ValueError(f"no plan matches {options.only}. List them with: {COMMAND} --list")
    with report.progress(console, "plans", len(chosen)) as heard:
        told = sweep.disturbed(chosen, known.ends, options.workers, heard)
    report.failures(console, told, COMMAND)
    return report.ending(console, told, len(names), COMMAND) or bool(known.findings)


def _named(options: argparse.Namespace) -> list[str]:
    """The workloads that are needed. Raises ValueError for one that is not."""
    wanted = [name for name in options.workloads.split(",") if name] or list(WORKLOADS)
    unknown = [name for name in wanted if name not in WORKLOADS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is no workload; there are {', '.join(WORKLOADS)}")
    parts = options.only.split("/")
    exact = len(parts) > 1 and parts[1] in WORKLOADS
    return [parts[1]] if exact and not options.workloads else wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
