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
ROW_BYTES = 64 * 1024 * 1024
"""Wider rows are refused before any is read."""
_STEP_ROWS = 4_096
"""Decoded at a time: a text that the file holds once may be the value of every row."""
_NS = 1000
_NS_RANGE = (-(2**63) // _NS + 1, 2**63 // _NS - 1)
_READ_BUFFER = 1024 * 1024


class ParquetFile:
    """One file, open only while its rows are read. Raises StageError(SourceMalformed) when made of something else."""

    def __init__(self, file: File, discretion: Discretion) -> None:
        self.file = file
        self._discretion = discretion
        with self._opened("us") as held:
            self.schema: pa.Schema = held.schema_arrow
            leaves = [held.schema.column(index) for index in range(len(held.schema))]
        self._ancient = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]

    @property
    def index(self) -> tuple[str, ...]:
        """Columns that pandas wrote for a frame's index."""
        try:
            listed = json.loads((self.schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
            return tuple(name for name in listed if isinstance(name, str))
        except (ValueError, KeyError, TypeError):
            return ()

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
                step = max(1, min(_STEP_ROWS, BATCH_BYTES // wide))
                for batch in held.iter_batches(step, row_groups=[group], columns=list(names), use_threads=True):
                    yield batch.select(list(names))
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._malformed(error) from error

    def _opened(self, unit: str) -> Any:
        try:
            return pyarrow.parquet.ParquetFile(
                self.file.path,
                buffer_size=_READ_BUFFER,
                pre_buffer=False,
                coerce_int96_timestamp_unit=unit,
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
