"""`make attack`: everything that was tried to get a model approved, or a secret read, by who may not; one line each.

    python tests/attack [--only TEXT]

Each line is an attack, the HTTP status and the words of its refusal. The last one is `attacks=N refused=N permitted=M`;
the exit code is 1 when one was let through, was refused by something else, or when the honest way is closed too.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from rich.console import Console  # noqa: E402  the path is set above
from rich.markup import escape  # noqa: E402

from millrace_attack.catalogue import ATTACKS  # noqa: E402
from millrace_attack.gaps import STORIES, Operator  # noqa: E402
from millrace_attack.ground import Ground  # noqa: E402
from millrace_attack.permitted import PERMITTED  # noqa: E402

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def main(argv: list[str]) -> int:
    """0 when all of it was refused, and what is permitted was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="the attacks whose name holds it")
    only = parser.parse_args(argv).only
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    logging.getLogger("millrace").setLevel(logging.CRITICAL if not os.environ.get("DEBUG") else logging.INFO)
    with tempfile.TemporaryDirectory(prefix="millrace-attack-") as folder, Ground(Path(folder)) as ground:
        console.rule("permitted")
        closed = [name for name, act in PERMITTED if only in name and not _say(name, _closed(ground, act), "permitted")]
        console.rule("attacks")
        tried = _requests(ground, only) + _stories(ground, only)
    refused = sum(tried)
    console.print(f"attacks={len(tried)} refused={refused} permitted={len(PERMITTED) - len(closed)}")
    return 0 if refused == len(tried) and not closed else 1


def _closed(ground: Ground, act: object) -> tuple[str, str]:
    answer = act(ground)  # type: ignore[operator]
    return ("" if answer.ok else f"it is refused: {answer.said}"), str(answer.code)


def _requests(ground: Ground, only: str) -> list[bool]:
    found = []
    for attack in ATTACKS:
        if only in attack.name:
            answer = attack.act(ground)
            said = f"{answer.code} {answer.said.rpartition('denied request: ')[2]}"
            found.append(_say(attack.name, (attack.verdict(answer), said), "refused"))
    return found


def _stories(ground: Ground, only: str) -> list[bool]:
    wanted = [story for story in STORIES if only in story.name]
    found: list[bool] = []
    if not wanted:
        return found
    with Operator(ground) as operator:
        for story in wanted:
            try:
                wrong, said = "", story.tell(ground, operator)
            except (AssertionError, TimeoutError) as error:
                wrong, said = f"it succeeded: {error}", ""
            found.append(_say(story.name, (wrong, said), "refused"))
    return found


def _say(name: str, verdict: tuple[str, str], word: str) -> bool:
    wrong, said = verdict
    shown = (
        f"[red]WRONG    [/red] {escape(name)}: {escape(wrong)}"
        if wrong
        else f"{word:<9} {escape(name)}: {escape(said)}"
    )
    console.print(shown)
    return not wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
