"""What a sweep says: a bar while it goes on, then failures, the counts by class of fault, and how to replay a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import plans
from .run import Told
from .sweep import Heard

SHOWN_FAILURES: Final = 25
SHOWN_FINDINGS: Final = 3
LINES: Final = 10
"""Progress lines where there is no terminal for a bar."""


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Heard]:
    """A bar, or a line now and then where nobody watches; gives what is to be told of each run."""
    bar = Progress(
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(), console=console, disable=not console.is_terminal,
    )  # fmt: skip
    done = failed = 0
    with bar:
        task = bar.add_task(what, total=total, failed="")

        def heard(told: Told) -> None:
            nonlocal done, failed
            done, failed = done + 1, failed + (not told.is_good)
            bar.update(task, completed=done, failed=f"{failed} failed" if failed else "")
            if not told.is_good:
                _failure(console, told)
            if not console.is_terminal and done * LINES // total > (done - 1) * LINES // total:
                console.print(f"{what}: {done} of {total}, {failed} failed")

        yield heard


def failures(console: Console, told: Sequence[Told], command: str) -> None:
    """Each plan that failed, why, and how to see it alone."""
    bad = [one for one in told if not one.is_good]
    for one in bad[:SHOWN_FAILURES]:
        more = _failure(console, one)
        if more > 0:
            console.print(f"    and {more} more: {command} --replay {escape(one.plan)}")
    if len(bad) > SHOWN_FAILURES:
        console.print(f"[red]and {len(bad) - SHOWN_FAILURES} more[/red]: {escape(' '.join(one.plan for one in bad))}")


def _failure(console: Console, one: Told) -> int:
    """The plan and why; how many more reasons there are."""
    reasons = list(dict.fromkeys(one.findings)) or ["its fault was not reached"]
    console.print(f"[red]failed[/red] {escape(one.plan)}")
    for reason in reasons[:SHOWN_FINDINGS]:
        console.print(f"    {escape(reason[:400])}")
    return len(reasons) - SHOWN_FINDINGS


def table(told: Sequence[Told]) -> Table:
    """How many plans of each fault were told, how many were reached, how many failed."""
    found = Table("class", "fault", box=None, header_style="")
    for heading in ("plans", "reached", "failed"):
        found.add_column(heading, justify="right")
    for name, faults in plans.CLASSES.items():
        members = [one for one in told if one.plan.partition("/")[0] in faults]
        found.add_row(name, "", *_counts(members), style="bold")
        for fault in faults:
            found.add_row("", fault, *_counts([one for one in members if one.plan.startswith(f"{fault}/")]))
    return found


def _counts(told: Sequence[Told]) -> tuple[str, str, str]:
    return str(len(told)), str(sum(one.reached for one in told)), str(sum(not one.is_good for one in told))


def ending(console: Console, told: Sequence[Told], workloads: int, command: str) -> int:
    """The table, how to replay, and the one line. The exit code: 0 when all is well."""
    failed = sum(not one.is_good for one in told)
    console.print(table(told))
    example = next((one.plan for one in told if not one.is_good), told[0].plan if told else "<id>")
    console.print(f"{workloads} workloads; all plans: {command} --list; one again: {command} --replay {example}")
    print(f"plans={len(told)} failed={failed}", flush=True)
    return 1 if failed or not told else 0
