"""What a Job is told that erases files, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from millrace.contract.record import Record


@dataclass(frozen=True)
class EraseTask(Record):
    """Folders of one Dataset's versions and of runs of its namespace; with any other the whole task is refused."""

    namespace: str
    dataset: str
    store_uri: str
    folders: tuple[str, ...]


class EraseOutcome(StrEnum):
    """What became of the folders."""

    ERASED = "Erased"
    FAILED = "Failed"


@dataclass(frozen=True)
class EraseReport(Record):
    """One attempt. Erased: nothing is in any of the folders, whoever erased it."""

    outcome: EraseOutcome
    reason: str = ""
    message: str = ""
    objects: int = 0
    """Files that this attempt erased."""
    bytes: int = 0
    """Their size."""
