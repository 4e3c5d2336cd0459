"""A Parquet file as tables, a few megabytes at a time, whatever the size of its row groups."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from millrace.contract.reasons import Reason
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.source import File

Table = Any
BATCH_BYTES = 32 * 1024 * 1024
BATCH_ROWS = 65_536
ROW_BYTES = 16 * 1024 * 1024
"""Wider rows are refused before any is read."""
_STEP_ROWS = 4_096
"""Decoded at a time, and fewer where rows are wide: a text that the file holds once may be the value of every row."""
_SMALL_DICTIONARY = 8 * 1024
_NS = 1000
_NS_RANGE = (-(2**63) // _NS + 1, 2**63 // _NS - 1)
_READ_BUFFER = 1024 * 1024
_OPAQUE = {"INTERVAL": "interval", "BSON": "BSON"}
_SPARK, _LEGACY = b"org.apache.spark.version", (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
_GREGORIAN, _ZONES = (pa.array([day]).cast(pa.timestamp("us"))[0] for day in ("1582-10-15", "1900-01-01"))


class ParquetFile:
    """One file, open only while its rows are read. Raises StageError(SourceMalformed) when made of something else."""

    def __init__(self, file: File, discretion: Discretion) -> None:
        self.file = file
        self._discretion = discretion
        with self._opened("us") as held:
            self.schema: pa.Schema = held.schema_arrow
            leaves = [held.schema.column(index) for index in range(len(held.schema))]
        self._ancient = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
        self._doubtful = self._written_otherwise()
        self.stated = {leaf.path: _OPAQUE[leaf.converted_type] for leaf in leaves if leaf.converted_type in _OPAQUE}
        """Columns of types that Arrow shows as the bytes they are made of."""

    @property
    def index(self) -> tuple[str, ...]:
        """Columns that pandas wrote for a frame's index."""
        try:
            listed = json.loads((self.schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
            return tuple(name for name in listed if isinstance(name, str))
        except (ValueError, KeyError, TypeError):
            return ()

    def _written_otherwise(self) -> dict[str, Any]:
        """Columns of instants, and from when on they are what they seem: before, old Spark counted days otherwise.

        Until Spark 3.0 (3.1 for INT96), and in its mode LEGACY: as the Julian calendar does up to 1582, and instants in
        local times of no zone up to 1900 (spark.apache.org/docs/latest/sql-data-sources-parquet.html, rebaseMode).
        """
        told = self.schema.metadata or {}
        is_old = told.get(_SPARK, b"").startswith((b"1.", b"2.", b"3.0"))
        if not is_old and not any(key in told for key in _LEGACY):
            return {}
        days = {field.name: _GREGORIAN for field in self.schema if pa.types.is_date(field.type)}
        times = {field.name: _ZONES for field in self.schema if pa.types.is_timestamp(field.type)}
        return days | times

    def tables(self, names: Sequence[str]) -> Iterator[Table]:
        """Yield pyarrow.Tables of the columns. Raises StageError(SourceMalformed)."""
        held: list[Any] = []
        rows = size = 0
        for batch in self._checked(names):
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= BATCH_ROWS or size >= BATCH_BYTES:
                yield pa.Table.from_batches(held).combine_chunks()
                held, rows, size = [], 0, 0
        if held:
            yield pa.Table.from_batches(held).combine_chunks()

    def _checked(self, names: Sequence[str]) -> Iterator[Any]:
        ancient = [name for name in names if name in self._ancient]
        twins = self._steps("ns", ancient) if ancient else None
        before = 0
        for batch in self._steps("us", names):
            if twins is not None:
                self._check_ancient(batch, next(twins), before)
            for name in set(self._doubtful).intersection(names):
                self._check_calendar(batch[name], name, before)
            before += batch.num_rows
            yield batch

    def _steps(self, unit: str, names: Sequence[str]) -> Iterator[Any]:
        with self._opened(unit) as held:
            yield from self._batches(held, names)

    def _batches(self, held: Any, names: Sequence[str]) -> Iterator[Any]:
        try:
            for group in range(held.num_row_groups):
                told = held.metadata.row_group(group)
                wide = max(1, told.total_byte_size // max(1, told.num_rows))
                if wide > ROW_BYTES:
                    raise self._too_wide(wide)
                wide = max(wide, self._longest(held, group, names))
                step = max(1, min(_STEP_ROWS, BATCH_BYTES // wide))
                for batch in held.iter_batches(step, row_groups=[group], columns=list(names), use_threads=True):
                    yield _decoded(batch.select(list(names)))
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._malformed(error) from error

    def _longest(self, held: Any, group: int, names: Sequence[str]) -> int:
        """Bytes that a row may take by what it takes from the dictionaries of a row group; 0 where they are small."""
        told = held.metadata.row_group(group)
        chunks = [told.column(index) for index in range(told.num_columns)]
        large = [one.path_in_schema for one in chunks if one.path_in_schema in names and self._has_large(one)]
        if not large:
            return 0
        with self._opened("us", large) as other:
            batch = next(other.iter_batches(1, row_groups=[group], columns=large), None)
        columns = [] if batch is None else batch.columns
        found = [pc.max(pc.binary_length(each.dictionary)) for each in columns if pa.types.is_dictionary(each.type)]
        return sum(longest.as_py() or 0 for longest in found)

    def _has_large(self, chunk: Any) -> bool:
        """Whether a dictionary of texts is not small. How large it is stands at its beginning, packed or not."""
        if chunk.physical_type != "BYTE_ARRAY" or not chunk.has_dictionary_page:
            return False
        with self.file.path.open("rb") as file:
            file.seek(chunk.dictionary_page_offset)
            size = _page_size(file.read(16))
        return size is None or size > _SMALL_DICTIONARY

    def _opened(self, unit: str, as_dictionaries: Sequence[str] = ()) -> Any:
        try:
            return pyarrow.parquet.ParquetFile(
                self.file.path,
                buffer_size=_READ_BUFFER,
                pre_buffer=False,
                coerce_int96_timestamp_unit=unit,
                read_dictionary=list(as_dictionaries),
                page_checksum_verification=True,
                arrow_extensions_enabled=True,
            )
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._malformed(error) from error

    def _too_wide(self, wide: int) -> StageError:
        text = f"{self.file.name} has rows of {wide >> 20} MiB, at most {ROW_BYTES >> 20} are read. Leave columns out."
        return StageError(Reason.SOURCE_MALFORMED, text)

    def _malformed(self, error: Exception) -> StageError:
        said = self._discretion.words(error)
        return StageError(Reason.SOURCE_MALFORMED, f"{self.file.name} is not Parquet: {said}. Write it again.")

    def _check_ancient(self, batch: Any, exact: Any, before: int) -> None:
        """INT96 has nanoseconds in a day and no range: read as microseconds, checked against what nanoseconds say."""
        for name in exact.schema.names:
            fine, coarse = exact[name].cast(pa.int64()), batch[name].cast(pa.int64())
            near = pc.and_(pc.greater(coarse, _NS_RANGE[0]), pc.less(coarse, _NS_RANGE[1]))
            lost = pc.and_(near, pc.not_equal(pc.multiply(coarse, _NS), pc.if_else(near, fine, 0)))
            row = pc.index(lost, True).as_py()
            if row >= 0:
                value = self._discretion.quoted(name, f"{fine[row]} ns")
                where = f'{self.file.name}, row {before + row + 1}, column "{name}"'
                text = f"{where}: {value} is finer than the microseconds of a Timestamp. Write microseconds."
                raise StageError(Reason.SCHEMA_MISMATCH, text)

    def _check_calendar(self, column: Any, name: str, before: int) -> None:
        since = self._doubtful[name]
        instants = column.cast(pa.timestamp("s") if pa.types.is_date(column.type) else column.type)
        plain = instants.cast(pa.timestamp(instants.type.unit)).cast(pa.timestamp("us"), safe=False)
        row = pc.index(pc.less(plain, since), True).as_py()
        if row >= 0:
            value, day = (str(each)[:10] for each in (plain.slice(row, 1).cast(pa.string())[0], since))
            where = f'{self.file.name}, row {before + row + 1}, column "{name}"'
            quoted = self._discretion.quoted(name, value)
            said = f"{quoted} was written by a Spark that counts days before {day} otherwise"
            advice = "Write it again with datetimeRebaseModeInWrite CORRECTED"
            raise StageError(Reason.SCHEMA_MISMATCH, f"{where}: {said}. {advice}.")


def _decoded(batch: Any) -> Any:
    """The batch with the values of categories themselves: so large are its rows."""
    if not any(pa.types.is_dictionary(kind) for kind in batch.schema.types):
        return batch
    columns = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _page_size(header: bytes) -> int | None:
    """Bytes of an unpacked page, by its header: Thrift's compact protocol, the second number of 32 bits. None: unknown.

    parquet-format's `PageHeader`, and thrift-compact-protocol.md: 0x15 (the next field, an i32), then a zigzag varint.
    """
    numbers: list[int] = []
    at = 0
    while len(numbers) < 2:
        end = at + 1
        while end < len(header) and header[end] & 0x80:
            end += 1
        if header[at : at + 1] != b"\x15" or end >= len(header):
            return None
        value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(header[at + 1 : end + 1]))
        numbers.append(value >> 1)
        at = end + 1
    return numbers[1]
