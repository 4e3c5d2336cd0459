"""Tables of text as CSV, written the way people's tools write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

Rows = list[tuple[Any, ...]]


def by_python(names: list[str], rows: Rows, **how: Any) -> bytes:
    """The csv module: what Python programs write."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, **how)
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()


def by_pandas(names: list[str], rows: Rows, **how: Any) -> bytes:
    text = pd.DataFrame(rows, columns=names, dtype=object).to_csv(index=False, **how)
    return str(text).encode()


def by_arrow(names: list[str], rows: Rows, **how: Any) -> bytes:
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    table = pa.table([pa.array(column, pa.string()) for column in columns], names=names)
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(**how))
    return sink.getvalue()


def by_need(names: list[str], rows: Rows, *, delimiter: str = ",", end: str = "\n") -> bytes:
    """Quotes only what holds a delimiter, a quote or a line end: Polars, DuckDB, spreadsheets."""

    def field(value: str | None) -> str:
        text = value or ""
        needs = any(mark in text for mark in (delimiter, '"', "\n", "\r"))
        return '"' + text.replace('"', '""') + '"' if needs else text

    return "".join(delimiter.join(map(field, row)) + end for row in [tuple(names), *rows]).encode()


WRITERS: dict[str, Callable[[list[str], Rows], bytes]] = {
    "csv": by_python,
    "csv unix": lambda names, rows: by_python(names, rows, dialect="unix"),
    "csv tab": lambda names, rows: by_python(names, rows, dialect="excel-tab"),
    "csv all quoted": lambda names, rows: by_python(names, rows, quoting=csv.QUOTE_ALL),
    "csv semicolon": lambda names, rows: by_python(names, rows, delimiter=";", quoting=csv.QUOTE_NONNUMERIC),
    "csv escape": lambda names, rows: by_python(names, rows, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL),
    "pandas": by_pandas,
    "pandas bar": lambda names, rows: by_pandas(names, rows, sep="|"),
    "arrow": by_arrow,
    "arrow all": lambda names, rows: by_arrow(names, rows, quoting_style="all_valid", delimiter=";"),
    "need": by_need,
    "need crlf": lambda names, rows: by_need(names, rows, end="\r\n"),
    "need cr": lambda names, rows: by_need(names, rows, end="\r"),
}
