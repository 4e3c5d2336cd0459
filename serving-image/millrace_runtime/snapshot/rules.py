"""Rules over all rows, block by block: which hold, and what was seen where one does not."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from millrace.contract.dataset import NullFraction, RowCount, Rule, Unique
from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import hashing
from millrace_runtime.snapshot.hashing import Hashes, Numbers
from millrace_runtime.snapshot.records import Records, counted, spans

Table = Any
_COMPARED = 10_000
"""So many rows that look equal are compared by their values."""


class Check(Protocol):
    """One rule, and what it has seen."""

    def see(self, table: Table) -> None:
        """Take in a block of rows."""

    def failed(self, rows: Iterator[Table]) -> FailedRule | None:
        """The rule, if it does not hold; `rows` are all rows once more, to find an example in."""


def checks(rules: Sequence[Rule], names: Sequence[str], scratch: pathlib.Path, discretion: Discretion) -> list[Check]:
    """One check a rule. Raises StageError(SchemaMismatch) for a rule about a column that is not frozen."""
    found: list[Check] = []
    for number, rule in enumerate(rules):
        if rule.row_count is not None:
            found.append(_Counted(rule.name, rule.row_count))
        elif rule.null_fraction is not None:
            _present(rule.name, (rule.null_fraction.field,), names)
            found.append(_Missing(rule.name, rule.null_fraction))
        elif rule.unique is not None:
            _present(rule.name, rule.unique.fields, names)
            found.append(_Repeated(rule.name, rule.unique, scratch / f"unique-{number}", discretion))
    return found


class _Counted:
    def __init__(self, name: str, wanted: RowCount) -> None:
        self.name, self.wanted, self.rows = name, wanted, 0

    def see(self, table: Table) -> None:
        self.rows += table.num_rows

    def failed(self, _: Iterator[Table]) -> FailedRule | None:
        rows, wanted = self.rows, self.wanted
        if wanted.min is not None and rows < wanted.min:
            return FailedRule(self.name, str(rows), f"{rows} rows, at least {wanted.min} are wanted")
        if wanted.max is not None and rows > wanted.max:
            return FailedRule(self.name, str(rows), f"{rows} rows, at most {wanted.max} are wanted")
        return None


class _Missing:
    def __init__(self, name: str, wanted: NullFraction) -> None:
        self.name, self.wanted, self.rows, self.missing = name, wanted, 0, 0

    def see(self, table: Table) -> None:
        self.rows += table.num_rows
        self.missing += table[self.wanted.field].null_count

    def failed(self, _: Iterator[Table]) -> FailedRule | None:
        share = self.missing / max(1, self.rows)
        if share <= self.wanted.max:
            return None
        text = f'{share:.2%} of column "{self.wanted.field}" is missing, at most {self.wanted.max:.2%} may be'
        return FailedRule(self.name, f"{share:.6g}", text)


class _Repeated:
    """Rows by a number of the columns: equal rows are in one range. Those that look equal are compared once more."""

    def __init__(self, name: str, wanted: Unique, scratch: pathlib.Path, discretion: Discretion) -> None:
        self.name, self.wanted, self._keys, self._discretion = name, wanted, Records(scratch), discretion

    def see(self, table: Table) -> None:
        self._keys.add(self._numbers(table))

    def failed(self, rows: Iterator[Table]) -> FailedRule | None:
        excess, again = 0, np.empty(0, np.uint64)
        for (span,) in spans(self._keys):
            keys, counts = counted(span)
            excess += int((counts - 1).sum())
            again = np.concatenate([again, keys[counts > 1][: _COMPARED - len(again)]])
        if not excess:
            return None
        # Numbers of 64 bits are equal by chance once in a thousand tables of 200 million rows.
        proven, example = self._compared(rows, again, all_of_them=excess <= _COMPARED)
        if example is None:
            return None
        excess = proven if excess <= _COMPARED else excess
        return FailedRule(
            self.name,
            str(excess),
            f"{excess} rows repeat the key ({', '.join(self.wanted.fields)}){self._such_as(example)}",
        )

    def _such_as(self, example: tuple[Any, ...]) -> str:
        """A row that repeats another one, as far as its values may be said."""
        pairs = zip(self.wanted.fields, example, strict=True)
        shown = [f"{name}={value}" for name, value in pairs if not self._discretion.hides(name)]
        return f", such as {', '.join(shown)[:120]}" if shown else ""

    def _compared(
        self, rows: Iterator[Table], alike: Numbers, *, all_of_them: bool
    ) -> tuple[int, tuple[Any, ...] | None]:
        """How many rows repeat another one, of those whose numbers are in `alike`, and one of them."""
        seen: set[tuple[Any, ...]] = set()
        count, example = 0, None
        for table in rows:
            chosen = table.filter(pa.array(hashing.among(self._numbers(table), alike)))
            for row in chosen.select(self.wanted.fields).to_pylist():
                values = tuple(row.values())
                if values in seen:
                    count, example = count + 1, example or values
                    if not all_of_them:
                        return count, example
                seen.add(values)
        return count, example

    def _numbers(self, table: Table) -> Numbers:
        return hashing.mixed(Hashes(table).rows(self.wanted.fields, exact=True))


def _present(rule: str, fields: Sequence[str], names: Sequence[str]) -> None:
    absent = [field for field in fields if field not in names]
    if absent:
        text = f'Rule {rule} is about column "{absent[0]}", which is not frozen. Correct spec.validation.rules.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
