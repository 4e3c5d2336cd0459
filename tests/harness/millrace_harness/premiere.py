"""What `tests/harness/real` does: tells the plans of the real tier, and says what came of them."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from . import plans, report, troupe
from .replay import _line as line
from .run import Told

LEAST: Final = 200
"""So many plans must have been reached."""


def run(console: Console, *, only: str, processes: int, command: str, only_lists: bool = False) -> int:
    """Tell the plans of a CI run, or those that match. 0 when all held. Raises ValueError if none matches."""
    with troupe.opened(processes) as company:
        names = _needed(only)
        with report.progress(console, "undisturbed", len(names)) as heard:
            undisturbed = company.undisturbed(names, heard)
        bad = [f"{one.plan}, undisturbed: {text}" for one in undisturbed for text in one.findings]
        for text in bad:
            console.print(text, style="red", markup=False)
        of_two = company.of_two([name for name in troupe.OF_TWO if name in names])
        chosen = troupe.chosen(undisturbed, of_two, only)
        if not chosen:
            raise ValueError(f"no plan matches {only}; here there are plans of {', '.join(names)}")
        if only_lists:
            print("\n".join(plan.id for plan in chosen))
            return 0
        with report.progress(console, "plans", len(chosen)) as heard:
            told = company.disturbed(chosen, {one.plan: one.end for one in undisturbed}, heard)
    return _say(console, told, len(names), command, LEAST if not only else 1) or bool(bad)


def replay(console: Console, identity: str) -> int:
    """One plan alone, with what happened in it. Raises ValueError for an id that is none."""
    plan = plans.parse(identity)
    with troupe.opened(1) as company:
        (undisturbed,) = company.undisturbed([plan.workload], lambda _: None)
        (told,) = company.disturbed([plan], {plan.workload: undisturbed.end}, lambda _: None, keeps_history=True)
    for change in told.history.changes:
        if change.name.kind != "leases":
            console.print(line(change), markup=False)
    for text in dict.fromkeys(told.findings):
        console.print(f"finding: {text}", style="red", markup=False)
    if not told.reached:
        console.print("its fault was not reached", style="red")
    print(f"plans=1 failed={0 if told.is_good else 1}", flush=True)
    return 0 if told.is_good else 1


def _needed(only: str) -> list[str]:
    """The workloads whose plans can match."""
    parts = only.split("/")
    return [parts[1]] if len(parts) > 1 and parts[1] in troupe.WORKLOADS else list(troupe.WORKLOADS)


def _say(console: Console, told: list[Told], workloads: int, command: str, least: int) -> int:
    """Plans whose place chance passed by in every try prove nothing: they are named and not counted."""
    missed = [one.plan for one in told if not one.reached]
    reached = [one for one in told if one.reached]
    if missed:
        console.print(f"not reached, and not counted: {len(missed)}: {' '.join(missed)}", markup=False)
    report.failures(console, reached, command)
    code = report.ending(console, reached, workloads, command)
    if len(reached) < least:
        console.print(f"only {len(reached)} plans were reached, not {least}", style="red")
        return 1
    return code
