"""`make harness-apiserver`: the operator under faults, on a real etcd, kube-apiserver and kube-controller-manager.

    python tests/harness/real                  what CI runs: over 200 plans, two processes
    python tests/harness/real --only 'crash-*' the plans whose ids match
    python tests/harness/real --list           the ids of all plans of these workloads
    python tests/harness/real --replay ID      one plan again, with what happened in it

The last line is `plans=N failed=0`; the exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "cluster")]

from rich.console import Console  # noqa: E402  the path is set above

from millrace_harness import real_sweep  # noqa: E402

COMMAND = "python tests/harness/real"


def main(argv: list[str]) -> int:
    """0 when every plan held, 1 when one did not, 2 for a command that makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--only", default="", metavar="GLOB", help="the plans whose ids match")
    what.add_argument("--replay", default="", metavar="ID", help="one plan, with what happened in it")
    what.add_argument("--list", action="store_true", help="print the ids of all plans of these workloads")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    options = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    try:
        if options.replay:
            return real_sweep.replay(console, options.replay)
        only = "*" if options.list else options.only
        return real_sweep.run(console, only=only, processes=options.workers, command=COMMAND, only_lists=options.list)
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
