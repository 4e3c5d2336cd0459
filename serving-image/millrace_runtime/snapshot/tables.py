"""Files to Arrow tables. A CSV file becomes columns of text; what the text means is decided in `columns`."""

from __future__ import annotations

import csv
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from millrace.contract.dataset import Format
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.source import File

Table = Any
BLOCK_BYTES = 4 * 1024 * 1024


def read(file: File, kind: Format) -> Table:
    """Return a pyarrow.Table. Raises StageError(SourceMalformed) with the parser's own words."""
    try:
        table = _read_csv(file.path) if kind is Format.CSV else pyarrow.parquet.read_table(file.path)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error, StopIteration) as error:
        why = (str(error).strip().splitlines() or ["it has no header"])[0][:300]
        raise StageError(Reason.SOURCE_MALFORMED, f"{file.name} is not {kind}: {why}") from error
    return _with_distinct_names(table, file.name)


def _read_csv(path: pathlib.Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader(text))
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in header},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _with_distinct_names(table: Table, file: str) -> Table:
    names = list(table.column_names)
    if any(not name.strip() for name in names):
        raise StageError(Reason.SOURCE_MALFORMED, f"{file}: a column has no name. Give every column a name.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StageError(Reason.SOURCE_MALFORMED, f'{file}: column "{twice[0]}" appears twice. Rename one of them.')
    return table
