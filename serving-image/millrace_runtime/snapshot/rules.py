"""Rules over the whole table: which hold, and what was seen where one does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from millrace.contract.dataset import NullFraction, RowCount, Rule, Unique
from millrace.contract.reasons import Reason
from millrace.contract.report import FailedRule
from millrace_runtime.outcome import StageError

Table = Any


def failed(rules: Sequence[Rule], table: Table) -> tuple[FailedRule, ...]:
    """Return the rules that do not hold. Raises StageError(SchemaMismatch) for a rule about a column that is absent."""
    findings = []
    for rule in rules:
        finding = None
        if rule.row_count is not None:
            finding = _row_count(rule.name, rule.row_count, table)
        elif rule.null_fraction is not None:
            finding = _null_fraction(rule.name, rule.null_fraction, table)
        elif rule.unique is not None:
            finding = _unique(rule.name, rule.unique, table)
        if finding is not None:
            findings.append(finding)
    return tuple(findings)


def _row_count(name: str, wanted: RowCount, table: Table) -> FailedRule | None:
    rows = table.num_rows
    if wanted.min is not None and rows < wanted.min:
        return FailedRule(name, str(rows), f"{rows} rows, at least {wanted.min} are wanted")
    if wanted.max is not None and rows > wanted.max:
        return FailedRule(name, str(rows), f"{rows} rows, at most {wanted.max} are wanted")
    return None


def _null_fraction(name: str, wanted: NullFraction, table: Table) -> FailedRule | None:
    _present(name, (wanted.field,), table)
    share = table[wanted.field].null_count / max(1, table.num_rows)
    if share <= wanted.max:
        return None
    return FailedRule(
        name, f"{share:.6g}", f'{share:.2%} of column "{wanted.field}" is missing, at most {wanted.max:.2%} may be'
    )


def _unique(name: str, wanted: Unique, table: Table) -> FailedRule | None:
    _present(name, wanted.fields, table)
    counts = table.select(wanted.fields).group_by(list(wanted.fields)).aggregate([([], "count_all")])
    excess = table.num_rows - counts.num_rows
    if excess == 0:
        return None
    example = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).select(wanted.fields).to_pylist()[0]
    shown = ", ".join(f"{key}={value}" for key, value in example.items())[:120]
    return FailedRule(name, str(excess), f"{excess} rows repeat the key ({', '.join(wanted.fields)}), such as {shown}")


def _present(rule: str, fields: Sequence[str], table: Table) -> None:
    absent = [field for field in fields if field not in table.column_names]
    if absent:
        text = f'Rule {rule} is about column "{absent[0]}", which is not frozen. Correct spec.validation.rules.'
        raise StageError(Reason.SCHEMA_MISMATCH, text)
