"""`make check`, `make test`, `make unit` ...: a tier of the tests, or a set of them.

    python tests/tiers NAME [--keep] [-- ARGUMENTS]     arguments go to the last step of a single tier
    python tests/tiers --list                           every tier, what it needs, and what runs beside what

Every tier's output is kept in build/tiers. The last lines of a run that failed are what failed and why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from millrace_machine import preflight  # noqa: E402  the path is set above
from millrace_tiers import table  # noqa: E402
from millrace_tiers.display import Display  # noqa: E402
from millrace_tiers.run import Sequencer  # noqa: E402


def main(arguments: list[str]) -> int:
    """0 when all passed, else the exit code of what failed first; 2 where the machine lacks something."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    own, further = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*table.SETS, *(tier.name for tier in table.TIERS)]
    parser.add_argument("name", nargs="?", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--keep", action="store_true", help="leave the cluster up at the end of `test`")
    parser.add_argument("--list", action="store_true", help="print the table")
    options = parser.parse_args(own)
    if options.list or not options.name:
        for tier in (tier for lanes in table.groups(table.TIERS) for lane in lanes for tier in lane):
            beside = f"{tier.group}, {tier.lane}" if tier.lane else tier.group
            print(f"{beside:<18} {tier.name:<18} {', '.join(sorted(tier.needs))}".rstrip())
        return 0
    return _run(options.name, further, keep=options.keep)


def _run(name: str, further: list[str], *, keep: bool) -> int:
    tiers = table.named(name)
    unready = preflight.run(f"make {name}", frozenset().union(*(tier.needs for tier in tiers)))
    if unready:
        return unready
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    return Sequencer(tiers, Display(), removes_cluster=name == "test" and not keep).run(further)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
