"""Laws of reading: a table comes back as it was written, or its file is refused by name, whatever the block size."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from data_kit import writers
from hypothesis import assume, given, settings

from millrace.contract.dataset import Csv, FieldType, Quote
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import csvfile, inference, streams, texts
from millrace_runtime.snapshot.source import File

ODD = st.text("ab,;\t|\"' \n\r\\#é\x00\u2028", max_size=6)
PLAIN = st.text("ab ,;\"'\n01.", max_size=5)
ANY = Csv()
SIZES = st.sampled_from([1, 2, 3, 5, 8, 13, 64, 1 << 22])


def read(data: bytes, asked: Csv = ANY, known: tuple[str, ...] = (), size: int = 1 << 22):
    """Names and rows of a file, missing values as None, or the sentence that refuses it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK_BYTES", size)
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        try:
            held = csvfile.opened(File("a.csv", path, ""), asked, frozenset(known), Discretion())
            rows = [tuple(row) for table in held.tables() for row in zip(*table.to_pydict().values(), strict=True)]
            return list(held.names), rows
        except StageError as error:
            return error.message if error.message.startswith("a.csv") else pytest.fail(error.message)


@settings(deadline=None, max_examples=150)
@given(st.text('ab,"\n\r', max_size=30), SIZES)
def test_what_is_accepted_is_what_a_strict_reader_reads_and_the_block_size_does_not_matter(body, size):
    data = f"x,y\n{body}".encode()
    asked = Csv(delimiter=",", quote=Quote.DOUBLE)
    found = read(data, asked)
    again = read(data, asked, size=size)
    if isinstance(found, str):
        assert isinstance(again, str)  # of two things that are wrong, either may be met first
        return
    assert again == found
    strict = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    _, *rows = [row for row in strict if row]
    assert found[1] == [tuple(field or None for field in row) for row in rows]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(writers.WRITERS)), st.data(), SIZES)
def test_a_table_comes_back_as_it_was_written_or_is_refused(name, data, size):
    width = data.draw(st.integers(1, 3))
    names = ["key", "note", "plan"][:width]
    rows = data.draw(st.lists(st.tuples(*[st.one_of(st.none(), ODD) for _ in range(width)]), max_size=6))
    # Written with an escape, one backslash is two: no reader can tell, and spec.csv has no escape.
    assume("escape" not in name or not any("\\" in (cell or "") for row in rows for cell in row))
    written = writers.WRITERS[name](names, rows)
    found = read(written, known=tuple(names), size=size)
    if isinstance(found, str):
        return
    assert found == (names, [tuple(field or None for field in row) for row in rows])


@settings(deadline=None, max_examples=80)
@given(st.sampled_from([one for one in writers.WRITERS if "escape" not in one]), st.data())
def test_an_ordinary_table_is_never_refused(name, data):
    words = st.text('abé \n,"', min_size=1, max_size=8).filter(lambda text: text.strip())
    rows = data.draw(st.lists(st.tuples(st.integers().map(str), words, words), min_size=1, max_size=6))
    assert read(writers.WRITERS[name](["key", "note", "plan"], rows), known=("key", "note", "plan")) == (
        ["key", "note", "plan"],
        rows,
    )


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1", "Windows-1252"]), PLAIN, SIZES)
def test_every_encoding_that_is_named_says_the_same(encoding, text, size):
    wanted = read(writers.by_need(["x", "y"], [("é", text)]), Csv(delimiter=","))
    written = writers.by_need(["x", "y"], [("é", text)]).decode().encode(encoding)
    found = read(written, Csv(delimiter=",", encoding=encoding), size=size)
    assert found == wanted or (isinstance(found, str) and isinstance(wanted, str))


NUMERALS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-(10**20), 10**20, allow_nan=False, places=3).map(str),
    st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,5})?", fullmatch=True),
    st.sampled_from(["NA", "", "true", "False", "2026-01-02", "2026-01-02 03:04:05.6", "inf", "1e400", "1_000", "٣"]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(NUMERALS, min_size=1, max_size=5), st.integers(1, 5))
def test_what_is_inferred_holds_every_value_and_does_not_depend_on_the_blocks(values, size):
    whole, blocks = inference.Guess(), inference.Guess()
    whole.see(pa.array(values), texts.PLAIN)
    for start in range(0, len(values), size):
        blocks.see(pa.array(values[start : start + size]), texts.PLAIN)
    assert (whole.type, whole.values, whole.worded) == (blocks.type, blocks.values, blocks.worded)
    read_back = texts.parse(pa.array(values), whole.type).to_pylist()
    meant = [value for value in values if value not in texts.MISSING and value]
    if whole.type is FieldType.INT64:
        assert [str(value) for value in read_back if value is not None] == [
            "0" if value == "-0" else value for value in meant
        ]
    elif whole.type is FieldType.FLOAT64:
        assert [value for value in read_back if value is not None] == [float(value) for value in meant]
    elif whole.type is FieldType.STRING:
        assert [value for value in read_back if value is not None] == [value for value in values if value]


@settings(deadline=None, max_examples=150)
@given(NUMERALS, st.sampled_from([FieldType.INT64, FieldType.FLOAT64, FieldType.FLOAT32, FieldType.BOOL]))
def test_a_declared_type_reads_a_value_alone_as_it_does_among_others(value, kind):
    def outcome(values):
        try:
            return texts.parse(pa.array(values), kind).to_pylist()
        except texts.MisfitError as fault:
            return fault.row, fault.problem

    alone, after = outcome([value]), outcome(["1", value, "0"])
    if isinstance(alone, tuple):
        assert after == (1, alone[1])
    else:
        assert after == [outcome(["1"])[0], alone[0], outcome(["0"])[0]]
        if kind is FieldType.INT64 and alone[0] is not None:
            assert alone[0] == int(value.split(".")[0])
