"""One plan again, alone: what was committed, who did it, and what is wrong with it."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

from rich.console import Console

from .history import Change
from .plans import Plan
from .run import tell
from .workloads import WORKLOADS

_SELDOM: Final = frozenset({"leases"})
SEED: Final = "PYTHONHASHSEED"


def show(console: Console, plan: Plan) -> int:
    """Tell it, print its history and its findings. 0 if it is good. Raises ValueError for a workload there is not."""
    if plan.workload not in WORKLOADS:
        raise ValueError(f"{plan.workload} is no workload; there are {', '.join(WORKLOADS)}")
    _with_fixed_hashes()
    logging.disable(logging.CRITICAL)
    undisturbed = tell(plan.workload, plan, is_control=True) if plan.fault == "recreated" else tell(plan.workload)
    told = tell(plan.workload, plan, undisturbed.end)
    console.print(f"{plan.id}: {WORKLOADS[plan.workload].about}", markup=False)
    for change in told.history.changes:
        if change.name.kind not in _SELDOM:
            console.print(_line(change), markup=False)
    for text in dict.fromkeys(told.findings):
        console.print(f"[red]finding:[/red] {text}")
    if not told.reached:
        console.print("[red]its fault was not reached[/red]")
    print(f"plans=1 failed={0 if told.is_good else 1}", flush=True)
    return 0 if told.is_good else 1


def _with_fixed_hashes() -> None:
    """The order of a set of texts is part of a run: start again under the seed that sweeps use."""
    if os.environ.get(SEED) != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, SEED: "0"})


def _line(change: Change) -> str:
    verb = "makes" if change.before is None else "ends" if change.after is None else "changes"
    return f"  {change.at:8.3f} s  {change.sender:<12} {verb:<8} {change.name}{_said(change)}"


def _said(change: Change) -> str:
    """What of an object of ours or of a router changed, in short."""
    if change.after is None:
        return ""
    if change.name.kind == "events":
        return f": {change.after.get('reason')}"
    status: dict[str, Any] = dict(change.after.get("status") or {})
    said = status.get("phase") or ""
    roles = [f"{role} {one['model']} {one['weight']} %" for role in ("stable", "canary") if (one := status.get(role))]
    return f": {', '.join([str(said), *roles])}" if said or roles else ""
