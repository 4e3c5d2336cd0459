"""Rules over all rows, block by block: which hold, and what was seen where one does not."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import identity, shuffle
from millrace_runtime.snapshot.shuffle import KEY, Shuffle
from millrace_runtime.snapshot.spec import NullFraction, RowCount, Rule, Unique

Table = Any


class Check(Protocol):
    """One rule, and what it has seen."""

    def see(self, table: Table) -> None:
        """Take in a block of rows."""

    def failed(self, rows: Iterator[Table]) -> FailedRule | None:
        """The rule, if it does not hold; `rows` are all rows once more, to find an example in."""


def checks(rules: Sequence[Rule], names: Sequence[str], scratch: pathlib.Path) -> list[Check]:
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
            found.append(_Repeated(rule.name, rule.unique, scratch / f"unique-{number}"))
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
    """Rows by a hash of 16 bytes of the columns: equal rows are in one range, whatever the number of rows."""

    def __init__(self, name: str, wanted: Unique, scratch: pathlib.Path) -> None:
        self.name, self.wanted, self._keys = name, wanted, Shuffle(scratch)

    def see(self, table: Table) -> None:
        self._keys.add(pa.table({KEY: shuffle.as_column(identity.contents(table, self.wanted.fields))}))

    def failed(self, rows: Iterator[Table]) -> FailedRule | None:
        excess, example = 0, b""
        for span in self._keys.spans():
            held = self._keys.read(span)
            ordered = np.sort(shuffle.as_bytes(held[KEY])) if held is not None else np.empty(0, "S16")
            again = ordered[1:][ordered[1:] == ordered[:-1]]
            excess += len(again)
            example = example or (again[0] if len(again) else b"")
        if not excess:
            return None
        listed = ", ".join(self.wanted.fields)
        text = f"{excess} rows repeat the key ({listed}), such as {self._shown(rows, example)}"
        return FailedRule(self.name, str(excess), text)

    def _shown(self, rows: Iterator[Table], key: bytes) -> str:
        for table in rows:
            at = np.flatnonzero(identity.contents(table, self.wanted.fields) == key)
            if len(at):
                row = table.slice(int(at[0]), 1).select(self.wanted.fields).to_pylist()[0]
                return ", ".join(f"{name}={value}" for name, value in row.items())[:120]
        return "one that is not found again"


def _present(rule: str, fields: Sequence[str], names: Sequence[str]) -> None:
    absent = [field for field in fields if field not in names]
    if absent:
        text = f'Rule {rule} is about column "{absent[0]}", which is not frozen. Correct spec.validation.rules.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
