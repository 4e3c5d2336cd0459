"""What is striking about the rows of a Dataset's version: `quality.json` in its folder, and the Dataset's status."""

from __future__ import annotations

from dataclasses import dataclass, replace

from millrace.contract.record import Record

FILE = "quality.json"
MAX_SUSPECTS, MAX_NAME = 5, 128
"""So many suspects are named in the report and in status, with so much of their names; quality.json names all."""


@dataclass(frozen=True)
class LeakageSuspect(Record):
    """A feature that alone predicts the label. `measure` is AUC or R2; `value` a decimal as text."""

    field: str
    measure: str
    value: str


@dataclass(frozen=True)
class Quality(Record):
    """Counts of rows.

    Near copies are searched for among `compared_held_out` rows of validation and test, and `compared_train` of train.
    """

    duplicate_rows: int = 0
    """Rows with the same features and label as another one that is counted already."""
    conflicting_rows: int = 0
    """Rows with the same features as another one, but another label."""
    shared_rows: int = 0
    """Rows whose Id another row has too."""
    copied_rows: int = 0
    """Rows of validation and test whose features a train row has too, under another Id or in another group."""
    near_copied_rows: int = 0
    """Rows of validation and test, not copied, whose features a train row has too but for one, or but for rounding."""
    moved_rows: int = 0
    """Rows that have another part than in the version before; none ever leaves train."""
    compared_held_out: int = 0
    compared_train: int = 0
    leakage_suspects: tuple[LeakageSuspect, ...] = ()


def told(found: Quality) -> Quality:
    """What of it goes into the report."""
    named = (replace(one, field=one.field[:MAX_NAME]) for one in found.leakage_suspects[:MAX_SUSPECTS])
    return replace(found, leakage_suspects=tuple(named))
