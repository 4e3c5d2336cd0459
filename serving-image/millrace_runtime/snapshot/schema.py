"""The source's columns against the schema: the resolved fields, and one typed table of all files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from millrace.contract.dataset import Field, Mode, Role, Schema
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import columns

Table = Any
NamedTables = Sequence[tuple[str, Table]]
_SHOWN = 5


def resolve(schema: Schema, tables: NamedTables, previous: Sequence[Field] = ()) -> tuple[Field, ...]:
    """Return every field of the version, sorted as declared and then as found.

    With Infer, a column is what the previous version took it for, so that a type cannot change unnoticed; a column that
    neither the schema nor the previous version knows is inferred in a first version and refused afterwards.
    Raises StageError(SchemaMismatch) for columns that are missing or unknown.
    """
    known = {field.name: field for field in schema.fields}
    if schema.mode is Mode.INFER:
        known |= {field.name: field for field in previous if field.name not in known}
        if not previous:
            known |= {field.name: field for field in _inferred(tables, set(known))}
    findings = [finding for name, table in tables for finding in _differences(known, schema.mode, name, table)]
    if findings:
        raise _mismatch(findings)
    return tuple(known.values())


def typed(fields: Iterable[Field], tables: NamedTables) -> Table:
    """Return one pyarrow.Table of all files, without the Ignore columns. Raises StageError(SchemaMismatch)."""
    fields = tuple(fields)
    parts, findings = [], []
    for name, table in tables:
        part: dict[str, Any] = {}
        for field in fields:
            if field.role is Role.IGNORE and field.name not in table.column_names:
                continue
            try:
                column = columns.coerce(table[field.name], field.type)
                columns.check(column, field)
            except columns.MisfitError as fault:
                findings.append(_sentence(field.name, name, fault))
                continue
            if field.role is not Role.IGNORE:
                part[field.name] = column
        if not findings:
            parts.append(pa.table(part))
    if findings:
        raise _mismatch(findings)
    return pa.concat_tables(parts)


def _inferred(tables: NamedTables, declared: set[str]) -> list[Field]:
    names = [name for name in tables[0][1].column_names if name not in declared]
    fields, findings = [], []
    for name in names:
        held = [table[name] for _, table in tables if name in table.column_names]
        try:
            fields.append(Field(name=name, type=columns.infer(_joined(held))))
        except columns.MisfitError as fault:
            findings.append(_sentence(name, tables[0][0], fault))
    if findings:
        raise _mismatch(findings)
    return fields


def _joined(held: list[Any]) -> Any:
    kinds = {column.type for column in held}
    if len(kinds) == 1:
        return pa.chunked_array([chunk for column in held for chunk in column.chunks], kinds.pop())
    # Files that disagree, such as int32 beside int64: the widest common type, else text.
    tables = [pa.table({"column": column}) for column in held]
    try:
        return pa.concat_tables(tables, promote_options="permissive")["column"]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise columns.MisfitError(None, " and ".join(sorted(map(str, kinds))), "differ between files") from error


def _differences(known: dict[str, Field], mode: Mode, file: str, table: Table) -> list[str]:
    present = set(table.column_names)
    missing = [n for n, field in known.items() if n not in present and field.role is not Role.IGNORE]
    findings = [f'{file} has no column "{name}"' for name in missing]
    if mode is not Mode.ALLOW_NEW_FIELDS:
        unknown = sorted(present - set(known))
        whose = "neither the schema nor the version before names" if mode is Mode.INFER else "the schema does not name"
        findings += [f'{file} has a column "{name}" that {whose}' for name in unknown]
    return findings


def _sentence(column: str, file: str, fault: columns.MisfitError) -> str:
    if fault.row is None:
        return f'{file}, column "{column}": {fault.value} {fault.problem}'
    value = f'"{fault.value}" ' if fault.value else ""
    return f'{file}, row {fault.row + 1}, column "{column}": {value}{fault.problem}'


def _mismatch(findings: list[str]) -> StageError:
    more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    advice = "Correct the source, or spec.schema.fields"
    return StageError(Reason.SCHEMA_MISMATCH, f"{'; '.join(findings[:_SHOWN])}{more}. {advice}.")
