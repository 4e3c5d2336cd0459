"""What a snapshot found in its source: `report.json` beside the frozen files, and a summary that fits into a status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.contract.record import Record

REPORT_FILE = "report.json"
SUMMARY_COLUMNS = 20
_LONGEST = 200


@dataclass(frozen=True)
class Column(Record):
    """One frozen column. `examples` are values of the data: they stay in the store."""

    name: str
    type: str
    role: str
    inferred: bool
    """Nobody declared it: the type was read off its values, or off the file."""
    why: str
    missing: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileRead(Record):
    """One file of the source; `dialect` says how a CSV file is written, in words."""

    name: str
    dialect: str = ""


@dataclass(frozen=True)
class InferredColumn(Record):
    """One line of the summary: no value of the data."""

    name: str
    type: str
    missing: int
    why: str


@dataclass(frozen=True)
class ReadingSummary(Record):
    """What a status has room for: the dialects, and the first inferred columns of `inferred_columns`."""

    dialect: str = ""
    inferred_columns: int = 0
    columns: tuple[InferredColumn, ...] = ()
    left_out: str = ""
    """Columns that were not frozen although the schema says nothing of them, and files that were not read."""


@dataclass(frozen=True)
class Reading(Record):
    """Everything that was found; `left_out` maps columns that were not frozen, and files that were not read, to why."""

    rows: int
    columns: tuple[Column, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FileRead, ...] = ()

    def summary(self) -> ReadingSummary:
        """The part that fits into a status."""
        inferred = [column for column in self.columns if column.inferred]
        shown = tuple(InferredColumn(c.name[:128], c.type, c.missing, c.why) for c in inferred[:SUMMARY_COLUMNS])
        left = "; ".join(f"{name}: {why}" for name, why in self.left_out.items())
        return ReadingSummary(self._dialects(), len(inferred), shown, _cut(left))

    def _dialects(self) -> str:
        """`comma-separated, quote ", UTF-8`; where files differ, how many are written which way."""
        counted = Counter(one.dialect for one in self.files if one.dialect)
        if len(counted) <= 1:
            return _cut(next(iter(counted), ""))
        return _cut("; ".join(f"{count} files {dialect}" for dialect, count in counted.most_common()))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
