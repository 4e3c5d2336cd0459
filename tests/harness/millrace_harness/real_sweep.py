"""What `tests/harness/real` does: runs the plans of the real tier and reports the results."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from . import plans, real_workers, report
from .replay import _line as line
from .run import Told

LEAST: Final = 200
"""So many plans must have been reached."""


def run(console: Console, *, only: str, processes: int, command: str, only_lists: bool = False) -> int:
    """Tell the plans of a CI run, or those that match. 0 when all held. Raises ValueError if none matches."""
    with real_workers.opened(processes) as pool:
        names = _needed(only)
        with report.progress(console, "undisturbed", len(names)) as heard:
            undisturbed = pool.undisturbed(names, heard)
        bad = [f"{one.plan}, undisturbed: {text}" for one in undisturbed for text in one.findings]
        for text in bad:
            console.print(text, style="red", markup=False)
        of_two = pool.of_two([name for name in real_workers.OF_TWO if name in names])
        chosen = real_workers.chosen(undisturbed, of_two, only)
        if not chosen:
            raise ValueError(f"no plan matches {only}; here there are plans of {', '.join(names)}")
        if only_lists:
            print("\n".join(plan.id for plan in chosen))
            return 0
        with report.progress(console, "plans", len(chosen)) as heard:
            told = pool.disturbed(chosen, {one.plan: one.end for one in undisturbed}, heard)
    return _say(console, told, len(names), command, LEAST if not only else 1) or bool(bad)


def replay(console: Console, identity: str) -> int:
    """One plan alone, with what happened in it. Raises ValueError for an id that is none."""
    plan = plans.parse(identity)
    with real_workers.opened(1) as pool:
        (undisturbed,) = pool.undisturbed([plan.workload], lambda _: None)
        (told,) = pool.disturbed([plan], {plan.workload: undisturbed.end}, lambda _: None, keeps_history=True)
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
    return [parts[1]] if len(parts) > 1 and parts[1] in real_workers.WORKLOADS else list(real_workers.WORKLOADS)


def _say(console: Console, told: list[Told], workloads: int, command: str, least: int) -> int:
    """Plans whose fault was not reached in any try prove nothing: they are listed and not counted."""
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
