"""The stories that are told under faults. The same in every tier; each says what it must end in."""

from __future__ import annotations

from . import canaries, deletions, pipeline, retention, retraining, serving  # noqa: F401 - each tells what it holds
from .wanted import Is, Wanted
from .workload import WORKLOADS, Workload

__all__ = ["WORKLOADS", "Is", "Wanted", "Workload"]
