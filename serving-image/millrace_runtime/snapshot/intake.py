"""Reads every file once: typed, checked, accounted for, and on its way into key order."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.contract.dataset import Field, Role, Rule, Split
from millrace_runtime.outcome import say
from millrace_runtime.snapshot import division, rules, schema
from millrace_runtime.snapshot.account import Account
from millrace_runtime.snapshot.ahead import ahead
from millrace_runtime.snapshot.division import Rows
from millrace_runtime.snapshot.erasing import Erased, Wanted
from millrace_runtime.snapshot.history import Previous
from millrace_runtime.snapshot.schema import Contract
from millrace_runtime.snapshot.shuffle import Shuffle
from millrace_runtime.snapshot.tables import Sheet

Table = Any


@dataclass(frozen=True)
class Intake:
    """What was read: the rows with their numbers, what the rules saw, and what the columns turned out to be."""

    fields: tuple[Field, ...]
    rows: Shuffle
    numbers: Rows
    checks: list[rules.Check]
    account: Account
    contract: Contract
    erased: Erased
    """Rows that were left out, as theirs are to be forgotten."""


@dataclass(frozen=True)
class Dividing:
    """How rows are divided, the version before, and who is left out."""

    how: Split
    previous: Previous | None
    wanted: Wanted | None = None


def read(
    contract: Contract, sheets: Sequence[Sheet], asked: Sequence[Rule], split: Dividing, scratch: pathlib.Path
) -> Intake:
    """Read all rows. Raises StageError."""
    if not contract.guesses:
        return _read(contract, sheets, asked, split, scratch / "rows")
    contract = schema.look(contract, sheets, thoroughly=False)
    try:
        # Whether later rows fit what the first blocks were taken for shows while they are read.
        return _read(contract, sheets, asked, split, scratch / "first")
    except schema.WidenedError as error:
        say(f"looking at all rows first: column {error} is not what its first rows were")
    contract = schema.look(contract, sheets, thoroughly=True)
    return _read(contract, sheets, asked, split, scratch / "rows")


def _read(
    contract: Contract, sheets: Sequence[Sheet], asked: Sequence[Rule], split: Dividing, scratch: pathlib.Path
) -> Intake:
    for guess in contract.guesses.values():
        guess.recount()
    frozen = tuple(one for one in contract.fields if one.role is not Role.IGNORE)
    names = [one.name for one in frozen]
    numbers = Rows(frozen, split.how, division.ways(frozen, split.how, split.previous), scratch)
    checks = rules.checks(asked, names, scratch, contract.discretion)
    erased = Erased(split.wanted, frozen, split.how.group_by or ())
    account = Account(contract.discretion)
    intake = Intake(frozen, Shuffle(scratch / "table"), numbers, checks, account, contract, erased)
    for sheet in sheets:
        say(f"reading {sheet.name}: {sheet.dialect or sheet.names}", logging.DEBUG)
        # Reading, numbering and spilling run side by side.
        for table, numbered in ahead(_numbered(ahead(_typed(contract, sheet, erased)), numbers, names)):
            for check in intake.checks:
                check.see(table)
            intake.account.see(table)
            intake.rows.add(numbered)
        say(f"read {sheet.name}: {intake.account.rows} rows so far")
    return intake


def _numbered(tables: Iterator[Table], numbers: Rows, names: Sequence[str]) -> Iterator[tuple[Table, Table]]:
    for table in tables:
        yield table, numbers.see(table.select(names))


def _typed(contract: Contract, sheet: Sheet, erased: Erased) -> Iterator[Table]:
    before = 0
    for table in sheet.tables([one.name for one in contract.fields]):
        yield erased.kept(contract.typed(sheet, table, before))
        before += table.num_rows
