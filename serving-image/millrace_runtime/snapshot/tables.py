"""The source's files as tables with names: what their columns are, and their rows a few megabytes at a time."""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millrace.contract.dataset import Csv, Field, Format, Role
from millrace.contract.reasons import Reason
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import csvfile, texts, types
from millrace_runtime.snapshot.csvfile import CsvFile
from millrace_runtime.snapshot.parquetfile import ParquetFile
from millrace_runtime.snapshot.source import File
from millrace_runtime.snapshot.texts import Words
from millrace_runtime.snapshot.types import Reading

Table = Any
_BREAKING = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode's categories of what ends a line somewhere, though line feed and tab are escaped everywhere."""
_AS_IS = Reading(None, lambda array: array)


@dataclass
class Sheet:
    """One file. `columns` says how each is read, `unreadable` names the types that no field can have."""

    file: File
    held: CsvFile | ParquetFile
    columns: dict[str, Reading]
    unreadable: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Columns that nobody asked for and that are no data, and why."""
    words: Words = texts.PLAIN
    dialect: str = ""

    @property
    def name(self) -> str:
        """Below the source's URI."""
        return self.file.name

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, as found."""
        return (*self.columns, *self.unreadable)

    def tables(self, names: Collection[str]) -> Iterator[Table]:
        """Yield pyarrow.Tables with the named columns, those told by folders included. Raises StageError."""
        within = [name for name in names if name in self.columns and name not in self._told()]
        found = self.held.tables() if isinstance(self.held, CsvFile) else self.held.tables(within)
        for table in found:
            columns = {name: _one(table[name]) for name in within}
            for name, value in self._told().items():
                if name in names:
                    columns[name] = pa.repeat(pa.scalar(value, pa.string()), table.num_rows)
            yield pa.table(columns)

    def line(self, row: int) -> int | None:
        """The line of a data row, counted from 0, where the file has lines."""
        return self.held.line(row) if isinstance(self.held, CsvFile) else None

    def _told(self) -> dict[str, str | None]:
        own = self.held.names if isinstance(self.held, CsvFile) else self.held.schema.names
        return {name: value for name, value in self.file.partitions.items() if name not in own}


def opened(
    files: Iterable[File], kind: Format, asked: Csv, fields: Sequence[Field], discretion: Discretion
) -> tuple[Sheet, ...]:
    """Open every file. `fields` are the columns known so far. Raises StageError(SourceMalformed)."""
    read = _csv if kind is Format.CSV else _parquet
    sheets = []
    for file in files:
        sheet = read(file, asked, fields, discretion)
        _check_names(sheet, discretion)
        sheets.append(sheet)
    return tuple(sheets)


def _csv(file: File, asked: Csv, fields: Sequence[Field], discretion: Discretion) -> Sheet:
    wanted = {one.name for one in fields if one.role is not Role.IGNORE}
    held = csvfile.opened(file, asked, frozenset(wanted - set(file.partitions)), discretion)
    missing = texts.MISSING if asked.null_values is None else asked.null_values
    words = Words(frozenset(missing), everywhere=asked.null_values is not None, decimal=held.dialect.decimal)
    names = [*held.names, *(name for name in file.partitions if name not in held.names)]
    sheet = Sheet(file, held, dict.fromkeys(names, _AS_IS), words=words, dialect=held.dialect.said)
    _check_distinct(file.name, list(held.names), discretion)
    return sheet


def _parquet(file: File, _: Csv, fields: Sequence[Field], discretion: Discretion) -> Sheet:
    held = ParquetFile(file, discretion)
    _check_distinct(file.name, held.schema.names, discretion)
    asked_for = {one.name for one in fields}
    sheet = Sheet(file, held, {})
    for column in held.schema:
        if column.name in held.index and column.name not in asked_for:
            sheet.left_out[column.name] = "the index of a pandas frame"
            continue
        if column.name in held.stated:
            sheet.unreadable[column.name] = held.stated[column.name]
            continue
        try:
            sheet.columns[column.name] = types.reading(column)
        except types.UnreadableError as error:
            sheet.unreadable[column.name] = str(error)
    sheet.columns |= {name: _AS_IS for name in file.partitions if name not in held.schema.names}
    return sheet


def _check_distinct(file: str, names: Sequence[str], discretion: Discretion) -> None:
    twice = sorted(name for name, times in collections.Counter(names).items() if times > 1)
    if twice:
        which = discretion.named(twice[0], names)
        raise StageError(Reason.SOURCE_MALFORMED, f"{file}: {which} appears twice. Rename one of them.")


def _check_names(sheet: Sheet, discretion: Discretion) -> None:
    for name in sheet.names:
        if not name.strip():
            raise StageError(Reason.SOURCE_MALFORMED, f"{sheet.name}: a column has no name. Give every column a name.")
        odd = next((one for one in name if one not in "\n\t" and unicodedata.category(one) in _BREAKING), None)
        if odd is not None:
            which = discretion.named(name, sheet.names).encode("unicode_escape").decode()
            text = f"{sheet.name}: {which} has the control character U+{ord(odd):04X} in its name. Rename it."
            raise StageError(Reason.SOURCE_MALFORMED, text)


def _one(column: Any) -> Any:
    """A plain array, of a column that may come as chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
