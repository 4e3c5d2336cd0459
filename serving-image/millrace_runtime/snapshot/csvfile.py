"""A CSV file as tables of text, a few megabytes at a time, every record whole and counted twice.

The bytes are cut where a record ends, so the parser never sees half of one, and how many records it returns is compared
with how many are there: the size of a block changes nothing but the memory held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from millrace.contract.dataset import Csv
from millrace_runtime.discretion import Discretion
from millrace_runtime.snapshot import dialect, streams, structure
from millrace_runtime.snapshot.ahead import ahead
from millrace_runtime.snapshot.dialect import Dialect, refusal
from millrace_runtime.snapshot.source import File

Table = Any
RECORD_BYTES = 16 * 1024 * 1024
"""A longer record is refused: what never ends is an open quote."""


@dataclass(frozen=True)
class Block:
    """Whole records: their bytes, the line they begin on, and how they are made up."""

    data: bytes
    line: int
    held: structure.Structure
    records: structure.Records


@dataclass(frozen=True)
class CsvFile:
    """One file and how it is written. `checks_quotes`: nobody said which quote it is, so others are refused."""

    file: File
    dialect: Dialect
    checks_quotes: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The header's fields."""
        return self.dialect.names

    def tables(self) -> Iterator[Table]:
        """Yield pyarrow.Tables of text, empty fields missing. Raises StageError(SourceMalformed) with the line."""
        for block in ahead(self.blocks()):
            if len(block.records):
                yield self._table(block)

    def line(self, row: int) -> int:
        """The line on which data row `row`, counted from 0, begins. Reads the file again."""
        before = 0
        for block in self.blocks():
            if row < before + len(block.records):
                return block.line + structure.line(block.data, int(block.records.firsts[row - before]))
            before += len(block.records)
        raise IndexError(row)

    def blocks(self) -> Iterator[Block]:
        """Yield the data records, without the header. Raises StageError(SourceMalformed)."""
        header = True
        for block in self._blocks():
            if not header:
                yield block
                continue
            header = False
            rest = int(block.records.firsts[1]) if len(block.records) > 1 else len(block.data)
            data = block.data[rest:]
            yield self._block(data, block.line + structure.line(block.data, rest), self._structure(data))

    def _blocks(self) -> Iterator[Block]:
        """The header's record and all others."""
        line, held = self.dialect.first_line, b""
        is_bare: bool | None = None
        for chunk in self._chunks():
            held += chunk
            found = self._structure(held)
            cut = int(found.ends[-1]) + 1 if len(found.ends) else 0
            if len(held) - cut > RECORD_BYTES:
                raise self._endless(held, cut, line, found)
            if cut:
                if is_bare is None:
                    first = int(found.ends[0])
                    is_bare = self.dialect.newline == b"\n" and held[max(0, first - 1) : first] != b"\r"
                if is_bare:
                    self._check_alike(held[:cut], line, found)
                yield self._block(held[:cut], line, found)
                line += structure.line(held, cut)
                held = held[cut:]
        if held:
            found = self._structure(held)
            if len(found.closes) and found.closes[-1] == len(held):
                raise self._unclosed(held, line, found)
            yield self._block(held, line, found)

    def _chunks(self) -> Iterator[bytes]:
        skip = self.dialect.skipped
        for chunk in streams.decoded(self.file, self.dialect.compression, self.dialect.encoding):
            rest = chunk[skip:]
            skip -= len(chunk) - len(rest)
            if rest:
                yield rest

    def _structure(self, data: bytes) -> structure.Structure:
        used = self.dialect
        return structure.of(data, quote=used.quote, delimiter=used.delimiter, newline=used.newline)

    def _block(self, data: bytes, line: int, held: structure.Structure) -> Block:
        """Check the bytes of whole records."""
        self._check_text(data, line)
        if held.problem is not None and held.problem.at < len(data):
            raise refusal(self.file.name, f"line {line + structure.line(data, held.problem.at)} {held.problem.text}")
        ends = held.ends[held.ends < len(data)]
        records = structure.records(data, ends)
        if len(records.blank) and len(self.names) == 1:
            at = line + structure.line(data, int(records.blank[0]))
            why = f"line {at} is blank, which in a file of one column may be a missing value or nothing"
            raise refusal(self.file.name, f'{why}. Write "" for a missing value, or delete the line')
        self._check_ends(data, line, held)
        return Block(data, line, held, records)

    def _check_text(self, data: bytes, line: int) -> None:
        if data.isascii():
            return
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = line + structure.line(data, error.start)
            raise refusal(self.file.name, f"line {at} is not UTF-8. Set spec.csv.encoding") from error

    def _check_ends(self, data: bytes, line: int, held: structure.Structure) -> None:
        """A lone carriage return (or line feed, in a file that ends lines with the other) means two things."""
        if self.dialect.newline == b"\n":
            if b"\r" not in data or data.count(b"\r") == data.count(b"\r\n"):
                return
            lone = structure.find(data.replace(b"\r\n", b"\n\n"), "\r")
        else:
            lone = structure.find(data, "\n")
        lone = held.outside(lone)
        if len(lone):
            at = line + structure.line(data, int(lone[0]))
            why = f"line {at} has a line end within it that is not the file's own"
            raise refusal(self.file.name, f"{why}. Put the field in quotes, or end all lines alike")

    def _check_alike(self, data: bytes, line: int, held: structure.Structure) -> None:
        """In a file whose first line ends in a line feed alone, a carriage return before one may belong to a text."""
        if b"\r\n" not in data:
            return
        found = structure.returns(data, held, self.dialect.quote)
        if len(found):
            at = line + structure.line(data, int(found[0]) - 1)
            why = f"line {at} ends in a carriage return and a line feed, the first line in a line feed alone"
            raise refusal(self.file.name, f"{why}. End all lines alike")

    def _endless(self, data: bytes, cut: int, line: int, held: structure.Structure) -> Exception:
        if len(held.closes) and held.closes[-1] == len(data):
            return self._unclosed(data, line, held)
        at = line + structure.line(data, cut)
        return refusal(self.file.name, f"the record on line {at} is longer than {RECORD_BYTES >> 20} MiB. Shorten it")

    def _unclosed(self, data: bytes, line: int, held: structure.Structure) -> Exception:
        opened = len(held.opens) - 1
        while opened and held.opens[opened] == held.closes[opened - 1] + 1:  # a doubled quote within the same field
            opened -= 1
        at = line + structure.line(data, int(held.opens[opened]))
        return refusal(self.file.name, f"line {at} opens a quote that is never closed. Close it, or set spec.csv.quote")

    def _table(self, block: Block) -> Table:
        try:
            table = self._parsed(block.data)
        except pa.ArrowInvalid as error:
            raise self._ragged(block) from error
        if table.num_rows != len(block.records):
            why = f"{len(block.records)} records from line {block.line} on were read as {table.num_rows}"
            raise refusal(self.file.name, f"{why}. Set spec.csv.quote and spec.csv.delimiter")
        if self.checks_quotes and b"'" in block.data:
            self._check_quotes(block, table)
        return table

    def _parsed(self, data: bytes) -> Table:
        used = self.dialect
        return pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(column_names=list(self.names), block_size=len(data) + 1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=used.delimiter, quote_char=used.quote or False, newlines_in_values=bool(used.quote)
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in self.names},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                check_utf8=False,
            ),
        )

    def _ragged(self, block: Block) -> Exception:
        """The parser's own words quote the row."""
        marks = block.held.outside(structure.find(block.data, self.dialect.delimiter))
        counts = block.records.fields(marks)
        wrong = (counts != len(self.names)).nonzero()[0]
        if not len(wrong):
            return refusal(self.file.name, f"the records from line {block.line} on cannot be read. Set spec.csv")
        at = block.line + structure.line(block.data, int(block.records.firsts[wrong[0]]))
        fields = f"{counts[wrong[0]]} field{'s' if counts[wrong[0]] != 1 else ''}"
        return refusal(
            self.file.name, f"line {at} has {fields}, the header {len(self.names)}. Correct it, or set spec.csv"
        )

    def _check_quotes(self, block: Block, table: Table) -> None:
        """A field in single quotes: which quote is meant was not said, and the two readings differ."""
        for name in table.column_names:
            column = table[name]
            wrapped = pc.and_(
                pc.and_(pc.starts_with(column, "'"), pc.ends_with(column, "'")),
                pc.greater(pc.binary_length(column), 1),
            )
            row = pc.index(wrapped, True).as_py()
            if row >= 0:
                at = block.line + structure.line(block.data, int(block.records.firsts[row]))
                why = f'line {at}, column "{name}" is in single quotes, which may or may not be part of the value'
                raise refusal(self.file.name, f"{why}. Set spec.csv.quote")


def opened(file: File, asked: Csv, known: frozenset[str], discretion: Discretion) -> CsvFile:
    """Find out how the file is written. Raises StageError(SourceMalformed)."""
    found = dialect.detect(file, asked, known, discretion)
    return CsvFile(file, found, asked.quote is None and found.quote == '"')
