"""CSV as people have it: what is found out is said, what is unsure is refused with its line, nothing is altered."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pyarrow as pa
import pytest
from data_kit.tasks import frozen

from millrace.contract.dataset import Field, FieldType, Role
from millrace_runtime.discretion import Discretion
from millrace_runtime.snapshot import csvfile, streams

PLAIN = "x,y\n1,a\n2,b\n"


def declared(**types):
    return {"fields": [{"name": name, "type": kind} for name, kind in types.items()]}


def inferred(report):
    return {column.name: column.type for column in report.reading.columns}


def why(report, name):
    return next(column.why for column in report.reading.columns if column.name == name)


@pytest.fixture(params=[1 << 22, 7, 1])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("blank", ["", "\n", "\n\n", "\r\n", "  \n\t\n"])
def test_blank_lines_before_the_header_change_nothing(dataset, blank, block_bytes):
    dataset.write("a.csv", f"{blank}zip,x\n01234,1\n1234,2\n")
    report = dataset.look(schema=declared(zip="String"))
    assert frozen(report) == [{"zip": "01234", "x": 1}, {"zip": "1234", "x": 2}]


@pytest.mark.parametrize("text", ["01234", "1.50", "True", "10:00", "1e5", "NA", "2026-01-02", " x ", "-0", "0x1F"])
@pytest.mark.parametrize("kind", ["String", "Category"])
def test_declared_text_is_kept_to_the_letter(dataset, text, kind):
    dataset.write("a.csv", f"x,y\n{text},1\n")
    assert frozen(dataset.look(schema=declared(x=kind))) == [{"x": text, "y": 1}]


@pytest.mark.parametrize(
    "text,line,said",
    [
        ('x,note\n1,ok\n2,"5 inch\n3,ok\n4,ok\n', 3, "opens a quote that is never closed"),
        ('x,note\n1,"a\n2,""b\n', 2, "opens a quote that is never closed"),
        ('x,note\n1,ok\n2,"5 inch\n3,"ok"\n', 3, "more text after the one that closes it, 1 line below,"),
        ('x,note\n1,ok\n2,"5"inch\n', 3, "more text after the one that closes it before the field ends"),
        ('x,note\n1,"a\nb"\n2,a\rb\n', 4, "has a line end within it that is not the file's own"),
        ("x,note\n1,ok\n2\n", 3, "has 1 field, the header 2"),
        ('x,note\n1,"a\n\nb"\n2,ok,3\n', 5, "has 3 fields, the header 2"),
        ("x\n1\n\n3\n", 3, "is blank, which in a file of one column may be a missing value or nothing"),
        ("x,note\n1,ok\n2,'it''s'\n", 3, "is in single quotes, which may or may not be part of the value"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(dataset, text, line, said, block_bytes):
    dataset.write("a.csv", text)
    report = dataset.look()
    assert (report.outcome, report.reason) == ("Rejected", "SourceMalformed")
    assert f"a.csv is not CSV: line {line}" in report.message
    assert said in report.message


@pytest.mark.parametrize(
    "rest,said", [("a" * 200, "the record on line 3 is longer than"), ('"' + "a" * 200, "line 3 opens a quote that is")]
)
def test_a_record_without_end_is_refused_with_its_line(dataset, monkeypatch, rest, said):
    monkeypatch.setattr(streams, "CHUNK_BYTES", 16)
    monkeypatch.setattr(csvfile, "RECORD_BYTES", 100)
    dataset.write("a.csv", f"x,y\n1,2\n3,{rest}\n")
    assert said in dataset.look(schema=declared(x="Int64", y="String")).message


def test_a_byte_that_is_not_of_the_encoding_is_refused_with_its_line(dataset, block_bytes):
    dataset.write("a.csv", "x,y\n1,ok\n2,é\n".encode("latin-1"))
    report = dataset.look()
    assert (report.reason, "line 3 is not UTF-8. Set spec.csv.encoding" in report.message) == ("SourceMalformed", True)
    assert frozen(dataset.look(csv={"encoding": "ISO-8859-1"}))[1] == {"x": 2, "y": "é"}


@pytest.mark.parametrize(
    "text,dialect",
    [
        ("id;x;y\n1;2;0\n", 'semicolon-separated, quote ", UTF-8'),
        ("id\tx\ty\n1\t2\t0\n", 'tab-separated, quote ", UTF-8'),
        ("id|x|y\n1|2|0\n", 'bar-separated, quote ", UTF-8'),
        ("sep=;\nid;x;y\n1;2;0\n", 'semicolon-separated, quote ", UTF-8'),
        ("'id','x','y'\n'1','2','0'\n", "comma-separated, quote ', UTF-8"),
        ("id,x,y\r1,2,0\r", 'comma-separated, quote ", UTF-8'),
        ("\ufeffid,x,y\r\n1,2,0", 'comma-separated, quote ", UTF-8'),
        ("id,x,y\n1,2,0\n".encode("utf-16"), 'comma-separated, quote ", UTF-16'),
        (
            gzip.compress(b"id,x,y\n", mtime=0) + gzip.compress(b"1,2,0\n", mtime=0),
            'comma-separated, quote ", UTF-8, Gzip',
        ),
        ("id,x,y\n1,2,0\n".encode("utf-32"), 'comma-separated, quote ", UTF-32'),
        (bz2.compress(b"id,x,y\n1,") + bz2.compress(b"2,0\n"), 'comma-separated, quote ", UTF-8, Bzip2'),
        (lzma.compress(b"id,x,y\n1,") + bytes(8) + lzma.compress(b"2,0\n"), 'comma-separated, quote ", UTF-8, Xz'),
        (pa.compress(b"id,x,y\n1,2,0\n", "zstd", asbytes=True), 'comma-separated, quote ", UTF-8, Zstd'),
    ],
)
def test_the_dialect_is_found_out_and_said(dataset, text, dialect, block_bytes):
    dataset.write("a.csv", text)
    report = dataset.look()
    assert frozen(report) == [{"id": 1, "x": 2, "y": 0}]
    assert report.reading.dialect == dialect


@pytest.mark.parametrize(
    "text,said",
    [
        ("a,b;c\n1,2;3\n", "its delimiter may be comma (2 columns) or semicolon (2 columns). Set spec.csv.delimiter"),
        ("x\n1;5\n2;6\n", "its first line is one name, but every line below has several fields"),
        ("1,2,3\n4,5,6\n", "line 1 should name the columns, but holds numbers"),
        ("id;x;y\n1;2,5;1.000\n", 'its decimal mark may be a point or a comma ("1.000" and "2,5")'),
        ("id;x\n1;1.000\n", "its decimal mark may be a point or a comma"),
        (b"x,y\n1,\0a\n", "it has bytes of zero, as UTF-16 has. Set spec.csv.encoding"),
        (b"PK\x03\x04rest", "it is a zip archive. Unpack it"),
        (gzip.compress(PLAIN.encode() * 9, mtime=0)[:-9], "it cannot be unpacked as Gzip"),
        ("\n \n", "it has no header"),
        ("id:x\n1:5\n", 'every line may be one field, or 2 of them, separated by ":". Set spec.csv.delimiter'),
        ("id^x\n1^5\n", 'separated by "^"'),
        ("id x\n1 5\n", "separated by blanks"),
        (" id   x\n  1 500\n100   5\n", "or 2 of them, separated by blanks"),
        (bz2.compress(b"x,y\n1,2\n") + b"rest", "it cannot be unpacked as Bzip2"),
        (bz2.compress(b"x,y\n1,2\n") + bz2.compress(b"3,4\n")[:-4], "it cannot be unpacked as Bzip2"),
        (lzma.compress(b"x,y\n1,2\n") + b"rest", "it cannot be unpacked as Xz"),
        (lzma.compress(b"x,y\n1,2\n") + lzma.compress(b"3,4\n")[:-4], "it cannot be unpacked as Xz"),
        ("x;y\n" + "1;2\n" * 1200 + "1,5;2.5\n", 'its decimal mark may be a point or a comma ("2.5" and "1,5")'),
        ("x," * 600_000 + "y\n", "line 1, its header, is longer than 1 MiB"),
    ],
    ids=lambda one: str(one[-40:]),
)
def test_an_unsure_dialect_is_refused_with_what_to_set(dataset, text, said):
    dataset.write("a.csv", text)
    report = dataset.look()
    assert (report.outcome, report.reason) == ("Rejected", "SourceMalformed")
    assert said in report.message


def test_the_names_of_the_schema_settle_the_delimiter(dataset):
    dataset.write("a.csv", "a,b;c\n1,2;3\n")
    report = dataset.look(schema=declared(c="Int64", **{"a,b": "String"}))
    assert frozen(report) == [{"a,b": "1,2", "c": 3}]
    dataset.previous = None
    dataset.write("a.csv", "from:to\n1:2\n")
    assert frozen(dataset.look(schema=declared(**{"from:to": "String"}))) == [{"from:to": "1:2"}]


def test_a_zero_byte_far_down_is_a_letter_however_much_is_read_at_a_time(dataset, block_bytes, monkeypatch):
    monkeypatch.setattr(streams, "_LOOKED_AT", 4)
    dataset.write("a.csv", b"x,y\n1,a\0b\n")
    assert frozen(dataset.look()) == [{"x": 1, "y": "a\0b"}]


def test_a_decimal_comma_is_found_in_a_later_row(dataset):
    dataset.write("a.csv", "x;y\n" + "1;2\n" * 1200 + "1,5;2\n")
    assert inferred(dataset.look()) == {"x": "Float64", "y": "Int64"}


@pytest.mark.parametrize(
    "text,asked,rows",
    [
        ("a;b\n1,5;2\n", {"delimiter": ";"}, [{"a": 1.5, "b": 2}]),
        ("a;b\n1,500;2\n", {"delimiter": ";", "decimal": ","}, [{"a": 1.5, "b": 2}]),
        ("a\n1,5\n2\n", {"decimal": ","}, [{"a": 1.5}, {"a": 2.0}]),
        ("a:b\n1:2\n", {"delimiter": ":"}, [{"a": 1, "b": 2}]),
        ("a,b\n'x,y',2\n", {"quote": "'"}, [{"a": "x,y", "b": 2}]),
        ('a\tb\n"x\t2\n', {"quote": "None", "delimiter": "\t"}, [{"a": '"x', "b": 2}]),
        ("a,b\n'x',2\n", {"quote": '"'}, [{"a": "'x'", "b": 2}]),
        ("a,b\n-,x\n1,-\n", {"nullValues": ["-"]}, [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), {"compression": "Gzip"}, [{"a": 1, "b": 2}]),
        ("a,b\n1,é\n".encode("utf-16-le"), {"encoding": "UTF-16LE"}, [{"a": 1, "b": "é"}]),
    ],
)
def test_what_the_spec_says_is_used(dataset, text, asked, rows, block_bytes):
    dataset.write("a.csv", text)
    assert frozen(dataset.look(csv=asked)) == rows


def test_a_point_in_a_number_with_decimal_commas_is_refused(dataset):
    dataset.write("a.csv", "x;y\n1,5;1\n1.234,5;2\n")
    report = dataset.look(csv={"decimal": ","}, schema=declared(x="Float64"))
    assert 'row 2, column "x": "1.234,5" has a point where spec.csv.decimal is , (line 3)' in report.message


@pytest.mark.parametrize(
    "values,kind,rows,told",
    [
        (["01234", "1234"], "String", ["01234", "1234"], "leading zeros or plus signs would be lost"),
        (["+491", "2"], "String", ["+491", "2"], "leading zeros or plus signs would be lost"),
        (["10000000000000000001", "2"], "String", ["10000000000000000001", "2"], "would be rounded"),
        (["9007199254740993", "1.5"], "String", ["9007199254740993", "1.5"], "would be rounded"),
        (["1745896523416776709", "1"], "Int64", [1, 1745896523416776709], "every value is an Int64"),
        (["9007199254740993.25", "1.5"], "String", ["9007199254740993.25", "1.5"], "would be rounded"),
        (["1e-400", "1.5"], "String", ["1e-400", "1.5"], "so small that they would become 0"),
        (['"1,5"', '"2,25"'], "String", ["1,5", "2,25"], "numbers have commas, or marks between thousands"),
        (['"1,234"', '"-2,345,678.90"'], "String", ["1,234", "-2,345,678.90"], "marks between thousands"),
        (
            ["?", "1", "2.5", "3"],
            "String",
            ["?", "1", "2.5", "3"],
            "1 of 4 values are no numbers. Set spec.csv.nullVal",
        ),
        (["\\N", "1", "NONE", "1.#IND"], "Int64", [1, None, None, None], "words such as NA (3) are missing"),
        (["NA", "1", "", "null"], "Int64", [1, None, None, None], "words such as NA (2) are missing"),
        (["NA", "de"], "String", ["NA", "de"], "words such as NA (1) are text too"),
        (["1", "NaN", "2.5"], "Float64", [1.0, 2.5, None], "some have decimals"),
        (["true", "False", "TRUE"], "Bool", [False, True, True], "every value is a Bool"),
        (["2024-W05", "2024-W06"], "String", ["2024-W05", "2024-W06"], "text"),
        (["2026-01-02 00:00:00.0000001", "2026-01-02"], "String", None, "finer than microseconds"),
        (["0.12345678901234567890", "1"], "Float64", None, "digits beyond the seventeenth are rounded"),
        (["", ""], "String", [None, None], "no value to tell by"),
    ],
)
def test_what_is_inferred_is_told_with_its_reason(dataset, values, kind, rows, told):
    dataset.write("a.csv", "x,y\n" + "".join(f"{value},1\n" for value in values))
    report = dataset.look()
    assert inferred(report) == {"x": kind, "y": "Int64"}
    assert told in why(report, "x")
    if rows is not None:
        assert sorted((row["x"] for row in frozen(report)), key=repr) == sorted(rows, key=repr)


def test_a_later_row_that_does_not_fit_makes_the_whole_column_text(dataset, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK_BYTES", 16)
    dataset.write("a.csv", "x,y\n" + "1,2\n" * 50 + "007,2.5\n")
    report = dataset.look()
    assert inferred(report) == {"x": "String", "y": "Float64"}
    assert report.rows == 51


def test_a_code_in_a_column_that_was_numbers_before_is_refused_where_nobody_declared_it(dataset):
    dataset.write("a.csv", "x,y\n1234,1\n")
    assert dataset.look().outcome == "Frozen"
    dataset.write("a.csv", "x,y\n01234,1\n")
    report = dataset.look()
    assert 'row 1, column "x": "01234" has a leading zero or a plus sign' in report.message
    assert frozen(dataset.look(schema=declared(x="Int64"))) == [{"x": 1234, "y": 1}]


@pytest.mark.parametrize(
    "kind,text,said",
    [
        ("Float64", "9007199254740993.5", "is a number that Float64 would round"),
        ("Float32", "16777217.5", "is a number that Float32 would round"),
        ("Float64", "1e-400", "is a number that Float64 would make 0"),
        ("Float32", "-1.5e-50", "is a number that Float32 would make 0"),
        ("Float32", f"0.{'0' * 50}1", "is a number that Float32 would make 0"),
    ],
)
def test_a_number_that_the_declared_type_would_change_for_good_is_refused(dataset, kind, text, said):
    dataset.write("a.csv", f"x,y\n0.0,1\n{text},2\n")
    assert f'a.csv, row 2, column "x": "{text}" {said}' in dataset.look(schema=declared(x=kind)).message


@pytest.mark.parametrize("kind", ["Float64", "Float32", "Int64"])
def test_a_whole_number_that_the_declared_type_would_round_is_refused_with_its_value(dataset, kind):
    dataset.write("a.csv", "x,y\n1,1\n10000000000000000001,2\n")
    report = dataset.look(schema=declared(x=kind))
    assert 'a.csv, row 2, column "x": "10000000000000000001"' in report.message
    assert "(line 3)" in report.message


@pytest.mark.parametrize("mark", ["\r", "\x0b", "\x85", "\u2028", "\u2029", "\x00", "\x1c"])
def test_a_name_that_would_end_a_line_somewhere_is_refused_with_the_column(dataset, mark):
    dataset.put("a.parquet", pa.table({f"a{mark}b": [1]}))
    report = dataset.look(format="Parquet")
    assert (report.reason, f"U+{ord(mark):04X}" in report.message) == ("SourceMalformed", True)


def test_folders_of_partitions_are_columns(dataset):
    dataset.write("y=2025/m=01/a.csv", "x\n1\n")
    dataset.write("y=2026/m=__HIVE_DEFAULT_PARTITION__/a%20b.csv", "x\n2\n")
    report = dataset.look()
    assert frozen(report) == [{"x": 1, "y": 2025, "m": "01"}, {"x": 2, "y": 2026, "m": None}]


def test_a_folder_of_no_value_is_a_missing_one(dataset):
    dataset.write("y=/a.csv", "x\n1\n")
    assert frozen(dataset.look()) == [{"x": 1, "y": None}]


@pytest.mark.parametrize(
    "folders,said",
    [
        ("y=1/y=2", 'y=1/y=2/a.csv names column "y" in two of its folders'),
        ("y=%FF", 'has a folder "y=%FF" that is not'),
    ],
)
def test_folders_that_tell_no_one_thing_are_refused(dataset, folders, said):
    dataset.write(f"{folders}/a.csv", "x\n1\n")
    report = dataset.look()
    assert (report.reason, said in report.message) == ("SourceMalformed", True)


def test_what_a_folder_of_a_sensitive_column_tells_is_nowhere_in_what_is_said(dataset):
    fields = [{"name": "x", "type": "Int64", "role": "Feature"}, {"name": "y", "type": "String", "role": "Sensitive"}]
    dataset.write("y=rare%FF/a.csv", "x\n1\n")
    refused = dataset.look(schema={"mode": "Strict", "fields": fields})
    assert 'y=…/a.csv has a folder "y=…" that is not UTF-8' in refused.message
    (dataset.source / "y=rare%FF" / "a.csv").unlink()
    dataset.write("y=rare/a.csv", "x\n1\n")
    dataset.write("y=rare/notes.txt", "?")
    read = dataset.look(schema={"mode": "Strict", "fields": fields})
    assert (read.outcome, "y=…/notes.txt" in read.reading.left_out) == ("Frozen", True)
    assert "rare" not in read.to_json() + refused.to_json()


@pytest.mark.parametrize(
    "name,folder", [("sex", "%73ex"), ("Größe", "Gr%c3%b6%C3%9fe"), ("a b", "a%20b"), ("a=b", "a%3db")]
)
def test_a_sensitive_column_is_known_however_its_name_is_escaped(name, folder):
    hidden = Discretion([Field(name=name, type=FieldType.STRING, role=Role.SENSITIVE)])
    assert hidden.place(f"2026/{folder}=rare/a.csv") == f"2026/{folder}=…/a.csv"


def test_files_written_in_different_ways_are_read_each_in_its_own(dataset):
    dataset.write("a.csv", "x;y\n1;2,5\n")
    dataset.write("b.csv.gz", gzip.compress(b"x,y\n2,3.5\n", mtime=0))
    report = dataset.look()
    assert frozen(report) == [{"x": 1, "y": 2.5}, {"x": 2, "y": 3.5}]
    assert "decimal comma" in report.reading.dialect
    assert "Gzip" in report.reading.dialect
