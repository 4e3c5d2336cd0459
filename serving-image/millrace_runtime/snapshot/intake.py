"""Reads every file once: typed, checked, accounted for, and on its way into key order."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millrace_runtime.outcome import say
from millrace_runtime.snapshot import identity, rules, schema, shuffle
from millrace_runtime.snapshot.account import Account
from millrace_runtime.snapshot.divide import FULL
from millrace_runtime.snapshot.schema import Contract
from millrace_runtime.snapshot.shuffle import KEY, Shuffle
from millrace_runtime.snapshot.spec import Field, Role, Rule
from millrace_runtime.snapshot.tables import Sheet

Table = Any


@dataclass(frozen=True)
class Intake:
    """What was read: the rows with their keys, what the rules saw, and what the columns turned out to be."""

    fields: tuple[Field, ...]
    rows: Shuffle
    checks: list[rules.Check]
    account: Account
    contract: Contract


@dataclass(frozen=True)
class Identity:
    """The columns that make a row the same row in the next version; None: all of them."""

    columns: tuple[str, ...] | None

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """A new column must not make every row a new row; without one of the old columns there is no telling."""
        return self.columns if self.columns and set(self.columns) <= set(names) else tuple(names)


def read(
    contract: Contract, sheets: Sequence[Sheet], asked: Sequence[Rule], same: Identity, scratch: pathlib.Path
) -> Intake:
    """Read all rows. Raises StageError."""
    if not contract.guesses:
        return _read(contract, sheets, asked, same, scratch / "rows")
    contract = schema.look(contract, sheets, thoroughly=False)
    try:
        # Whether later rows fit what the first blocks were taken for shows while they are read.
        return _read(contract, sheets, asked, same, scratch / "first")
    except schema.WidenedError as error:
        say(f"looking at all rows first: column {error} is not what its first rows were")
    contract = schema.look(contract, sheets, thoroughly=True)
    return _read(contract, sheets, asked, same, scratch / "rows")


def _read(
    contract: Contract, sheets: Sequence[Sheet], asked: Sequence[Rule], same: Identity, scratch: pathlib.Path
) -> Intake:
    for guess in contract.guesses.values():
        guess.recount()
    frozen = tuple(one for one in contract.fields if one.role is not Role.IGNORE)
    names = [one.name for one in frozen]
    intake = Intake(frozen, Shuffle(scratch / "table"), rules.checks(asked, names, scratch), Account(), contract)
    identifying = same.of(names)
    for sheet in sheets:
        say(f"reading {sheet.name}: {sheet.dialect or sheet.names}", logging.DEBUG)
        for table in _typed(contract, sheet):
            for check in intake.checks:
                check.see(table)
            intake.account.see(table)
            intake.rows.add(_keyed(table, names, identifying))
        say(f"read {sheet.name}: {intake.account.rows} rows so far")
    return intake


def _typed(contract: Contract, sheet: Sheet) -> Iterator[Table]:
    before = 0
    for table in sheet.tables([one.name for one in contract.fields]):
        yield contract.typed(sheet, table, before)
        before += table.num_rows


def _keyed(table: Table, names: Sequence[str], identifying: Sequence[str]) -> Table:
    full = identity.contents(table, names)
    if set(identifying) == set(names):
        return table.append_column(KEY, shuffle.as_column(full))
    keys = identity.contents(table, identifying)
    return table.append_column(KEY, shuffle.as_column(keys)).append_column(FULL, shuffle.as_column(full))
