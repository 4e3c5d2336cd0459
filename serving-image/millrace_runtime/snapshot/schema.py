"""The source's columns against the schema: the resolved fields, and every block of rows as one typed table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract.dataset import Field, FieldType, Mode, Role, Schema
from millrace.contract.reasons import Reason
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import columns, inference
from millrace_runtime.snapshot.inference import Guess
from millrace_runtime.snapshot.tables import Sheet
from millrace_runtime.snapshot.texts import MisfitError

Table = Any
_SHOWN = 5
_NUMBERS = frozenset({FieldType.INT64, FieldType.FLOAT32, FieldType.FLOAT64})


class WidenedError(Exception):
    """A later block does not fit what the first ones were taken for: begin again, having looked at all of them."""


@dataclass
class Contract:
    """Every field of the version, as declared and then as found.

    `guesses` are those of columns whose type is read off their values, `kinds` what the files say of the other inferred
    ones. Columns in `undeclared` were never vouched for by anybody: codes in them are not made numbers.
    """

    fields: tuple[Field, ...]
    undeclared: frozenset[str] = frozenset()
    guesses: dict[str, Guess] = field(default_factory=dict)
    kinds: dict[str, list[FieldType]] = field(default_factory=dict)
    is_sure: bool = False
    """The guesses are of all values, not of the first."""
    blank: frozenset[str] = frozenset()
    """Columns of which no value was seen yet."""

    @property
    def discretion(self) -> Discretion:
        """What may be said of the columns' values."""
        return Discretion(self.fields)

    def settled(self, *, is_sure: bool) -> Contract:
        """The same with the types that the guesses stand for now."""
        types = {name: _joined(name, self.kinds[name], guess) for name, guess in self.guesses.items()}
        fields = tuple(Field(name=one.name, type=types[one.name]) if one.name in types else one for one in self.fields)
        blank = frozenset(name for name, guess in self.guesses.items() if not guess.values and not self.kinds[name])
        return Contract(fields, self.undeclared, self.guesses, self.kinds, is_sure, blank)

    def typed(self, sheet: Sheet, table: Table, before: int) -> Table:
        """Return a block as one pyarrow.Table without the Ignore columns; `before` rows of the file came before it.

        Raises StageError(SchemaMismatch) with the first row of every column at fault, WidenedError.
        """
        part: dict[str, Any] = {}
        findings = []
        for one in self.fields:
            if one.role is Role.IGNORE and one.name not in sheet.columns:
                continue
            try:
                column = self._column(sheet, table, one)
            except MisfitError as fault:
                findings.append(sentence(one.name, sheet, fault, before, self.discretion))
                continue
            if one.role is not Role.IGNORE:
                part[one.name] = column
        if findings:
            raise mismatch(findings)
        return pa.table(part)

    def _column(self, sheet: Sheet, table: Table, one: Field) -> Any:
        plain = sheet.columns[one.name].plain(_array(table[one.name]))
        is_text = pa.types.is_string(plain.type)
        try:
            if one.name in self.undeclared and is_text and one.type in _NUMBERS:
                inference.refuse_codes(plain)
            column = columns.coerce(plain, one.type, sheet.words)
        except MisfitError as fault:
            if one.name in self.guesses and not self.is_sure:
                raise WidenedError(one.name) from fault
            raise
        if one.name in self.guesses:
            self._count(sheet, one, plain, column)
        self._check_partition(sheet, one, column)
        columns.check(column, one)
        return column

    def _count(self, sheet: Sheet, one: Field, plain: Any, column: Any) -> None:
        guess = self.guesses[one.name]
        if sheet.columns[one.name].kind is None:
            guess.count(plain, column, sheet.words)
            if guess.values and one.name in self.blank and not self.is_sure:
                raise WidenedError(one.name)

    def _check_partition(self, sheet: Sheet, one: Field, column: Any) -> None:
        """A column that stands in the file and in the folder's name must say the same in both."""
        if one.name not in sheet.file.partitions:
            return
        told = pa.array([sheet.file.partitions[one.name]], pa.string())
        value = columns.coerce(told, one.type, sheet.words)[0]
        same = pc.is_null(column) if not value.is_valid else pc.fill_null(pc.equal(column, value), False)
        told_by = f'"{told[0].as_py()}"'
        columns.refuse(column, pc.invert(same), "is not what the folder says", against=told_by)


def resolve(schema: Schema, sheets: Sequence[Sheet], previous: Sequence[Field] = ()) -> Contract:
    """Return the fields, those of a first version with types that are still to be inferred from their values.

    With Infer, a column is what the previous version took it for, so that a type cannot change unnoticed; a column that
    neither the schema nor the previous version knows is inferred in a first version and refused afterwards.
    Raises StageError(SchemaMismatch) for columns that are missing or unknown.
    """
    declared = {one.name: one for one in schema.fields}
    known = dict(declared)
    found: dict[str, list[FieldType]] = {}
    if schema.mode is Mode.INFER and previous:
        known |= {one.name: one for one in previous if one.name not in known}
    elif schema.mode is Mode.INFER:
        found = _found(sheets, set(known))
        known |= {name: Field(name=name, type=FieldType.STRING) for name in found}
    discretion = Discretion(known.values())
    findings = [finding for sheet in sheets for finding in _differences(known, schema.mode, sheet, discretion)]
    if findings:
        raise mismatch(findings)
    undeclared = frozenset(known) - frozenset(declared)
    guesses = {name: Guess() for name in found}
    return Contract(tuple(known.values()), undeclared, guesses, found)


def look(contract: Contract, sheets: Sequence[Sheet], *, thoroughly: bool) -> Contract:
    """Infer from the first block of every file, or from all of them."""
    for guess in contract.guesses.values():
        guess.forget()
    for sheet in sheets:
        unsure = [name for name in contract.guesses if sheet.columns[name].kind is None]
        for table in sheet.tables(unsure) if unsure else ():
            for name in unsure:
                plain = sheet.columns[name].plain(_array(table[name]))
                contract.guesses[name].see(plain.cast(pa.string()), sheet.words)
            if not thoroughly:
                break
    return contract.settled(is_sure=thoroughly)


def _found(sheets: Sequence[Sheet], declared: set[str]) -> dict[str, list[FieldType]]:
    """The columns of the first file that nobody declared, each with what the files themselves say it is."""
    found: dict[str, list[FieldType]] = {}
    for name in (name for name in sheets[0].names if name not in declared):
        if any(name in sheet.unreadable for sheet in sheets):
            continue  # said below
        kinds = {sheet.columns[name].kind for sheet in sheets if name in sheet.columns} - {None}
        found[name] = sorted(kind for kind in kinds if kind is not None)
    return found


def _joined(name: str, kinds: Sequence[FieldType], guess: Guess) -> FieldType:
    """The type that holds what every file says. Raises MisfitError where they disagree."""
    said = {*kinds, *((guess.type,) if guess.values else ())}
    if len(said) <= 1:
        return next(iter(said), FieldType.STRING)
    if said <= _NUMBERS:
        return FieldType.FLOAT64
    raise mismatch([f'column "{name}": {" and ".join(sorted(said))} differ between files'])


def _differences(known: dict[str, Field], mode: Mode, sheet: Sheet, discretion: Discretion) -> list[str]:
    present = set(sheet.names)
    findings = []
    for name, one in known.items():
        if one.role is Role.IGNORE:
            continue
        if name in sheet.unreadable:
            findings.append(f'{sheet.name}, column "{name}": {sheet.unreadable[name]} cannot be read as {one.type}')
        elif name not in present:
            findings.append(f'{sheet.name} has no column "{name}"')
    if mode is not Mode.ALLOW_NEW_FIELDS:
        unknown = sorted(set(sheet.columns) - set(known))
        whose = "neither the schema nor the version before names" if mode is Mode.INFER else "the schema does not name"
        findings += [f"{sheet.name} has a {discretion.named(name, sheet.names)} that {whose}" for name in unknown]
        odd = [name for name in sheet.unreadable if name not in known]
        advice = "a type that no field can have: declare it with role Ignore to leave it out"
        named = {name: discretion.named(name, sheet.names) for name in odd}
        findings += [f"{sheet.name}, {named[name]}: {sheet.unreadable[name]} is {advice}" for name in odd]
    return findings


def sentence(column: str, sheet: Sheet, fault: MisfitError, before: int, discretion: Discretion) -> str:
    """Where a value is that does not fit, and what is wrong with it."""
    problem = f"{fault.problem}{discretion.against(column, fault.against)}"
    if fault.row is None:
        return f'{sheet.name}, column "{column}": {fault.value} {problem}'
    row = before + fault.row
    line = sheet.line(row)
    value = f"{discretion.quoted(column, fault.value)} " if fault.value else ""
    told = "" if line is None else f" (line {line})"
    return f'{sheet.name}, row {row + 1}, column "{column}": {value}{problem}{told}'


def mismatch(findings: Iterable[str]) -> StageError:
    """The first findings, how many more there are, and what to do."""
    findings = list(findings)
    more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    advice = "Correct the source, or spec.schema.fields"
    return StageError(Reason.SCHEMA_MISMATCH, f"{'; '.join(findings[:_SHOWN])}{more}. {advice}.")


def _array(column: Any) -> Any:
    return column.combine_chunks() if not isinstance(column, pa.ChunkedArray) else _chunk(column)


def _chunk(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
