"""`make bench`: times and memory, printed and written to tests/benchmarks/results/, never asserted.

    python tests/benchmarks                      # all, the longest last
    python tests/benchmarks kube_client          # those of one folder, or one script by name
    python tests/benchmarks story --cold         # the story from empty caches
    python tests/benchmarks --list | --table     # what there is; the table of what was measured so far

A benchmark that fails does not stop the others; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from millrace_benchmarks import catalogue, machine, table  # noqa: E402  the path is set above

RESULTS = HERE / "results"


def main(argv: list[str]) -> int:
    """Run the benchmarks that are named, then print every number there is in one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="folders or scripts; all without a name")
    parser.add_argument("--cold", action="store_true", help="tell the story from empty caches")
    parser.add_argument("--list", action="store_true", help="print the benchmarks and end")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    options = parser.parse_args(argv)
    try:
        chosen = catalogue.named(options.names)
    except LookupError as error:
        print(f"{error.args[0]}\nNext: make bench ARGS=--list", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{benchmark.name:28} {benchmark.about}" for benchmark in chosen))
        return 0
    note = f"Last run on {machine.phrase(machine.describe())}."
    failed = [] if options.table else _run(chosen, cold=options.cold)
    found = table.rows(RESULTS)
    print(f"\n{table.markdown(found)}")
    if not options.table:
        table.write(RESULTS, found, note)
        print(f"\nwritten to {RESULTS.relative_to(HERE.parents[1])}/; every benchmark has a file of its own there")
    for name in failed:
        print(f"{name} failed; its own words are above.\nNext: make bench ARGS={name}", file=sys.stderr)
    return 1 if failed else 0


def _run(chosen: list[catalogue.Benchmark], *, cold: bool) -> list[str]:
    """The names of those that failed."""
    failed = []
    for number, benchmark in enumerate(chosen, start=1):
        print(f"\n== {number}/{len(chosen)} {benchmark.name}: {benchmark.about}", flush=True)
        begun = time.monotonic()
        tells_the_story = benchmark.script.parent.name == catalogue.LAST
        code = benchmark.run(*(["--cold"] if cold and tells_the_story else []))
        print(f"== {benchmark.name}: {time.monotonic() - begun:.0f} s, exit code {code}", flush=True)
        if code != 0:
            failed.append(benchmark.name)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
