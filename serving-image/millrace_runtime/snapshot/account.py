"""What was found in the source: per column type, reason, missing values and examples; per file the dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from millrace.contract.dataset import Role
from millrace.contract.reading import Column, FileRead, Reading
from millrace_runtime.discretion import Discretion
from millrace_runtime.snapshot.schema import Contract
from millrace_runtime.snapshot.tables import Sheet

Table = Any
EXAMPLES = 5
_LOOKED_AT = 1000
_LETTERS = 80


class Account:
    """Adds up blocks of typed rows."""

    def __init__(self, discretion: Discretion) -> None:
        self.rows = 0
        self._discretion = discretion
        self._missing: dict[str, int] = {}
        self._examples: dict[str, tuple[str, ...]] = {}

    def see(self, table: Table) -> None:
        """Take in a block."""
        self.rows += table.num_rows
        for name in table.column_names:
            column = table[name]
            self._missing[name] = self._missing.get(name, 0) + column.null_count
            if not self._examples.get(name) and not self._discretion.hides(name):
                found = pc.unique(column.slice(0, _LOOKED_AT).drop_null()).slice(0, EXAMPLES).to_pylist()
                self._examples[name] = tuple(_shown(value) for value in found)

    def reading(self, contract: Contract, sheets: Sequence[Sheet], others: Mapping[str, str]) -> Reading:
        """The whole account; `others` are files that were not read, and why."""
        columns = tuple(
            Column(
                name=one.name,
                type=str(one.type),
                role=str(one.role),
                inferred=one.name in contract.undeclared,
                why=_why(contract, one.name),
                missing=self._missing.get(one.name, 0),
                examples=self._examples.get(one.name, ()),
            )
            for one in contract.fields
            if one.role is not Role.IGNORE
        )
        left = {name: why for sheet in sheets for name, why in sheet.left_out.items()}
        named = {one.name for one in contract.fields}
        unnamed = {n: "the schema does not name it" for sheet in sheets for n in sheet.names if n not in named}
        files = tuple(FileRead(sheet.name, sheet.dialect) for sheet in sheets)
        return Reading(rows=self.rows, columns=columns, left_out=unnamed | left | dict(others), files=files)


def _why(contract: Contract, name: str) -> str:
    if name not in contract.undeclared:
        return "declared"
    if name not in contract.kinds:
        return "as in the version before"
    guess = contract.guesses[name]
    return guess.why if guess.values or not contract.kinds[name] else "as the file says"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
