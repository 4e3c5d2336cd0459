"""Parquet as people's tools write it: every column type is read, or refused by name and row."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import io
import uuid
import zlib

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data_kit import data, tasks, writers
from data_kit.tasks import frozen
from hypothesis import HealthCheck, Phase, given, settings

from millrace_runtime.discretion import Discretion
from millrace_runtime.snapshot import parquetfile, shuffle
from millrace_runtime.snapshot.source import File

D = decimal.Decimal
DAY = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
NOON = dt.datetime(2026, 1, 2, 12, 30, 0, 250000, tzinfo=dt.UTC)
KEY = uuid.UUID(int=5)


def by_pandas(frame, **how):
    sink = io.BytesIO()
    frame.to_parquet(sink, **how)
    return sink.getvalue()


def look(dataset, **changes):
    return dataset.look(format="Parquet", **changes)


@pytest.mark.parametrize(
    "array,kind,value",
    [
        (pa.array([True]), "Bool", True),
        (pa.array([1], pa.bool8()), "Bool", True),
        *((pa.array([7], one), "Int64", 7) for one in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *((pa.array([7], one), "Int64", 7) for one in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        (pa.array([2**63], pa.uint64()), "String", str(2**63)),
        (pa.array([1.5], pa.float16()), "Float32", 1.5),
        (pa.array([1.5], pa.float32()), "Float32", 1.5),
        (pa.array([1.5]), "Float64", 1.5),
        (pa.array([D(1234567890123456789)], pa.decimal128(38, 0)), "Int64", 1234567890123456789),
        (pa.array([D(12345678901234567890)], pa.decimal128(38, 0)), "String", "12345678901234567890"),
        (pa.array([D("1.50")], pa.decimal128(10, 2)), "Float64", 1.5),
        (pa.array([D("7")], pa.decimal256(50, 0)), "Int64", 7),
        (pa.array([D("7")], pa.decimal32(5, 0)), "Int64", 7),
        (pa.array([DAY.date()], pa.date32()), "Timestamp", DAY),
        (pa.array([DAY.date()], pa.date64()), "Timestamp", DAY),
        (pa.array([DAY], pa.timestamp("s")), "Timestamp", DAY),
        *((pa.array([NOON], pa.timestamp(unit)), "Timestamp", NOON) for unit in ("ms", "us", "ns")),
        *((pa.array([NOON], pa.timestamp("us", zone)), "Timestamp", NOON) for zone in ("UTC", "Asia/Tokyo", "+03:00")),
        (pa.array([dt.time(10)], pa.time32("s")), "String", "10:00:00"),
        (pa.array([dt.time(10, 0, 0, 5)], pa.time64("us")), "String", "10:00:00.000005"),
        (pa.array([dt.time(10, 0, 0, 5)], pa.time64("ns")), "String", "10:00:00.000005"),
        (pa.array([dt.time(10, 0, 0, 500000)], pa.time32("ms")), "String", "10:00:00.500000"),
        (pa.array([1], pa.time64("ns")), "String", "00:00:00.000000001"),
        *((pa.array(["a"], one), "String", "a") for one in (pa.string(), pa.large_string(), pa.string_view())),
        *((pa.array([b"a"], one), "String", "a") for one in (pa.binary(), pa.large_binary(), pa.binary_view())),
        (pa.array([b"a"], pa.binary(1)), "String", "a"),
        (pa.array([KEY.bytes], pa.uuid()), "String", str(KEY)),
        (pa.array(["{}"], pa.json_()), "String", "{}"),
        (pa.array(["a"]).dictionary_encode(), "String", "a"),
        (pa.array(["1"]).dictionary_encode(), "String", "1"),
        (pa.array([7]).dictionary_encode(), "Int64", 7),
        (pa.nulls(1), "String", None),
        (pa.array(["10115"]), "String", "10115"),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else None,
)
def test_every_scalar_type_is_read_as_what_the_file_says(dataset, array, kind, value):
    dataset.put("a.parquet", pa.table({"x": array, "y": [1]}))
    report = look(dataset)
    assert [(column.name, column.type) for column in report.reading.columns] == [("x", kind), ("y", "Int64")]
    assert frozen(report) == [{"x": value, "y": 1}]


@pytest.mark.parametrize(
    "array,said",
    [
        (pa.array([1000, 1001], pa.timestamp("ns")), 'row 2, column "x": "1001 ns" is finer than the microseconds'),
        (
            pa.array([0, 10**15], pa.timestamp("s")),
            'row 2, column "x": "1000000000000000000 ms" is not within the years',
        ),
        (pa.array([0, 9 * 10**17], pa.timestamp("us")), 'row 2, column "x": "900000000000000000 us" is not within'),
        (pa.array([0, 86_400_000_000], pa.time64("us")), 'row 2, column "x": "86400000000 us" is not within a day'),
        (pa.array([0, -1], pa.int32()).cast(pa.time32("ms")), 'row 2, column "x": "-1 ms" is not within a day'),
        (pa.array([b"a", b"\xff"]), 'row 2, column "x": "ff" (hexadecimal) is not text in UTF-8'),
        (pa.array([1.0, float("inf")]), 'row 2, column "x": "inf" is not a finite Float64'),
        (pa.array([1], pa.duration("s")), 'column "x": duration[s] is a type that no field can have'),
        (pa.array([[1]]), 'column "x": list<element: int64> is a type that no field can have'),
        (pa.array([{"a": 1}]), 'column "x": struct<a: int64> is a type that no field can have'),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "is a type that no field can have"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_row(dataset, array, said):
    dataset.put("a.parquet", pa.table({"x": array}))
    report = look(dataset)
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert f"a.parquet, {said}" in report.message or said in report.message


@pytest.mark.parametrize("kind", ["period", "interval"])
def test_a_pandas_type_of_its_own_is_refused_by_its_name(dataset, kind):
    held = pd.period_range("2026-01", periods=2, freq="M") if kind == "period" else pd.interval_range(0, 2)
    dataset.write("a.parquet", by_pandas(pd.DataFrame({"x": held, "y": [1, 2]})))
    assert f"extension type pandas.{kind} is a type that no field can have" in look(dataset).message


INTERVAL = zlib.decompress(
    base64.b85decode(
        b"c-l>n!AiqG5Qe8qEIFiw9%k8vJp>^kmKeICw3Z?$MetU9fsk|~1~&<$Hncvy6LYY0SZ4nDX8vV%&+i%m1*#YsC1V@|crj31!4Ran"
        b"=v}lOZ`8|7ZXQ5P%yIu^^7OF(EUFA0z$tA5F**fvVgky}!8LFum5f7BIF$&J+Q>NLYyK3vZwh-8MoW8u4Z!&inDZoj-3X_599|C5"
        b"MKzm&{2%9rv(V+1G@*u%C1w3xv|VP?+%`>>ew3DKF{zuj%53>lnA=W+h_*y;U;M6U4`oyP-CeRsv>)Zi(i(qdmMg9Ai^s){j1_?D"
        b"??U!Fy52AFoHD="
    )
)
"""`copy (select interval 5 day as x, 1 as y) to 'a.parquet'` of DuckDB; Arrow shows it as 12 bytes."""


def test_a_type_that_arrow_shows_as_bytes_is_refused_by_its_name(dataset):
    dataset.write("a.parquet", INTERVAL)
    assert 'column "x": interval is a type that no field can have' in look(dataset).message
    schema = {"fields": [{"name": "x", "type": "String", "role": "Ignore"}]}
    assert frozen(look(dataset, schema=schema)) == [{"y": 1}]


@pytest.mark.parametrize("array", [pa.array([["a"]]), pa.array([{"a": 1}]), pa.array([1], pa.duration("s"))])
def test_a_column_that_no_field_can_hold_is_left_out_by_role_ignore(dataset, array):
    dataset.put("a.parquet", pa.table({"x": array, "y": [1]}))
    assert frozen(look(dataset, schema={"fields": [{"name": "x", "type": "String", "role": "Ignore"}]})) == [{"y": 1}]


def test_a_column_of_categories_is_text_beside_plain_text(dataset):
    dataset.write("a.parquet", by_pandas(pd.DataFrame({"x": pd.Categorical(["a", None])})))
    dataset.write("b.parquet", by_pandas(pd.DataFrame({"x": ["b"]})))
    assert frozen(look(dataset)) == [{"x": "a"}, {"x": "b"}, {"x": None}]


def test_files_that_differ_in_the_width_of_numbers_are_read_as_the_wider(dataset):
    dataset.put("a.parquet", pa.table({"x": pa.array([1], pa.int32()), "y": pa.nulls(1)}))
    dataset.put("b.parquet", pa.table({"x": [1.5], "y": [7]}))
    assert frozen(look(dataset)) == [{"x": 1.0, "y": None}, {"x": 1.5, "y": 7}]


def test_files_that_disagree_are_refused_by_column(dataset):
    dataset.put("a.parquet", pa.table({"x": [1]}))
    dataset.put("b.parquet", pa.table({"x": ["a"]}))
    assert 'column "x": Int64 and String differ between files' in look(dataset).message


@pytest.mark.parametrize("name", [None, "customer"])
def test_the_index_of_a_pandas_frame_is_left_out_and_said_so(dataset, name):
    dataset.write("a.parquet", by_pandas(pd.DataFrame({"x": [1, 2]}, index=pd.Index([10, 20], name=name))))
    report = look(dataset)
    assert frozen(report) == [{"x": 1}, {"x": 2}]
    assert report.reading.left_out == f"{name or '__index_level_0__'}: the index of a pandas frame"


def test_an_index_that_the_schema_names_is_kept(dataset):
    dataset.write("a.parquet", by_pandas(pd.DataFrame({"x": [1]}, index=pd.Index([10], name="customer"))))
    schema = {"fields": [{"name": "customer", "type": "Int64", "role": "Id"}]}
    assert frozen(look(dataset, schema=schema)) == [{"customer": 10, "x": 1}]


def test_folders_of_partitions_are_columns(dataset):
    for year, month in ((2025, "01"), (2026, "02")):
        dataset.put(f"year={year}/month={month}/part-0.parquet", pa.table({"x": [year]}))
    assert frozen(look(dataset)) == [
        {"x": 2025, "year": 2025, "month": "01"},
        {"x": 2026, "year": 2026, "month": "02"},
    ]


@pytest.mark.parametrize("folder,outcome", [("x=1", "Frozen"), ("x=2", "Rejected")])
def test_a_column_and_its_folder_must_say_the_same(dataset, folder, outcome):
    dataset.put(f"{folder}/a.parquet", pa.table({"x": [1]}))
    report = look(dataset)
    assert report.outcome == outcome
    assert outcome == "Frozen" or '"1" is not what the folder says ("2")' in report.message


def test_old_sparks_timestamps_of_96_bits_are_read_however_far_away(dataset):
    far = [NOON, dt.datetime(1200, 1, 1, tzinfo=dt.UTC), dt.datetime(3000, 1, 1, tzinfo=dt.UTC)]
    table = pa.table({"x": pa.array(far, pa.timestamp("us"))})
    dataset.put("a.parquet", table, use_deprecated_int96_timestamps=True)
    assert [row["x"] for row in frozen(look(dataset))] == sorted(far, key=repr)
    dataset.put("a.parquet", pa.table({"x": pa.array([1], pa.timestamp("ns"))}), use_deprecated_int96_timestamps=True)
    assert 'row 1, column "x": "1 ns" is finer than the microseconds' in look(dataset).message


SPARK = "org.apache.spark."


@pytest.mark.parametrize(
    "told,array,said",
    [
        ({"legacyDateTime": ""}, pa.array([DAY.date(), dt.date(1582, 10, 14)]), '1582-10-14" was written by'),
        ({"version": "2.4.8"}, pa.array([0, -(2**42)], pa.timestamp("ms")), "was written by a Spark that counts days"),
        ({"version": "2.4.8"}, pa.array([0, -(2**51)], pa.timestamp("us", "UTC")), "before 1900-01-01 otherwise"),
        (
            {"legacyINT96": ""},
            pa.array([0, -(2**62) // 1000 * 1000], pa.timestamp("ns")),
            "before 1900-01-01 otherwise",
        ),
        ({"version": "3.5.1"}, pa.array([dt.date(1, 1, 1)]), None),
        ({"version": "2.4.8"}, pa.array([dt.date(1582, 10, 15), None]), None),
    ],
)
def test_days_that_an_old_spark_counted_otherwise_are_refused_by_name_and_row(dataset, told, array, said):
    metadata = {SPARK + key: value for key, value in told.items()}
    dataset.put("a.parquet", pa.table({"x": array}).replace_schema_metadata(metadata))
    report = look(dataset)
    assert report.outcome == ("Rejected" if said else "Frozen")
    assert said is None or ('a.parquet, row 2, column "x": ' in report.message and said in report.message)


@pytest.mark.parametrize("role,said", [("Sensitive", "the value was written by"), ("EventTime", '"1582-10-14" was')])
def test_a_day_that_an_old_spark_counted_otherwise_is_said_where_its_column_may_be_shown(dataset, role, said):
    table = pa.table({"x": pa.array([DAY.date(), dt.date(1582, 10, 14)]), "y": [1, 2]})
    dataset.put("a.parquet", table.replace_schema_metadata({f"{SPARK}legacyDateTime": ""}))
    fields = [{"name": "x", "type": "Timestamp", "role": role}, {"name": "y", "type": "Int64", "role": "Feature"}]
    report = look(dataset, schema={"mode": "Strict", "fields": fields})
    assert (said in report.message, "1582-10-14" in report.message) == (True, role != "Sensitive")


@pytest.mark.parametrize("name", ["_delta_log/00.json", "y=1/.hoodie/hoodie.properties", "metadata/v1.metadata.json"])
def test_a_table_of_a_tool_that_keeps_deleted_rows_is_refused(dataset, name):
    dataset.put("a.parquet", pa.table({"x": [1]}))
    dataset.write(name, "{}")
    assert "its files also hold rows that are no longer in it" in look(dataset).message


def test_a_damaged_page_is_malformed_and_not_read(dataset):
    dataset.put("a.parquet", pa.table({"x": np.arange(5000) * 7919}), write_page_checksum=True, compression="none")
    path = dataset.source / "a.parquet"
    held = bytearray(path.read_bytes())
    held[2000] ^= 1
    path.write_bytes(bytes(held))
    assert look(dataset).reason == "SourceMalformed"


@pytest.mark.parametrize(
    "array,field",
    [
        (pa.array([True, False]), {"type": "Bool", "allowedValues": ["True", "False"]}),
        (pa.array([1.0, 2.5]), {"type": "Float64", "allowedValues": ["1", "2.50"]}),
        (pa.array([1, 2]), {"type": "Int64", "allowedValues": ["1.0", "2"]}),
        (pa.array([DAY.date(), DAY.date()]), {"type": "Timestamp", "allowedValues": ["2026-01-02"]}),
        (pa.array([1745896523416776709, 1]), {"type": "Int64", "minimum": 0}),
        (pa.array([1745896523416776709, 1]), {"type": "Int64", "maximum": 1e300}),
        (pa.array([0.1, 0.1], pa.float32()), {"type": "Float32", "minimum": 0.1, "maximum": 0.1}),
    ],
)
def test_a_limit_is_compared_as_a_value_of_the_columns_type(dataset, array, field):
    dataset.put("a.parquet", pa.table({"x": array}))
    assert look(dataset, schema={"fields": [{"name": "x", **field}]}).message == "2 rows are frozen."


@pytest.mark.parametrize(
    "array,field,said",
    [
        (pa.array([2**53 + 1]), {"type": "Int64", "maximum": 2**53}, '"9007199254740993" is above the maximum'),
        (pa.array([0]), {"type": "Int64", "minimum": 0.5}, '"0" is below the minimum 0.5'),
        (pa.array([5]), {"type": "Int64", "minimum": 1e300}, '"5" is below the minimum 1.0000000000000001e+300'),
        (pa.array([2]), {"type": "Int64", "allowedValues": ["1.0"]}, '"2" is not one of the allowed values (1.0)'),
        (
            pa.array([1]),
            {"type": "Int64", "allowedValues": ["one"]},
            'one of its allowedValues is not an Int64 ("one")',
        ),
        (pa.array([2**24 + 1]), {"type": "Float32"}, "cannot be read as Float32 without loss. Use Float64"),
    ],
)
def test_a_value_beyond_a_limit_is_named_whatever_its_size(dataset, array, field, said):
    dataset.put("a.parquet", pa.table({"x": array}))
    report = look(dataset, schema={"fields": [{"name": "x", **field}]})
    assert report.reason == "SchemaMismatch"
    assert said in report.message


CELLS = {
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Float64": st.floats(-1e30, 1e30),
    "String": st.text("abé ,;\"'\n0NA", max_size=5),
    "Bool": st.booleans(),
    "Timestamp": st.datetimes(DAY.replace(year=1, tzinfo=None), DAY.replace(year=9999, tzinfo=None)),
}
ARROW = {"Int64": pa.int64(), "Float64": pa.float64(), "String": pa.string(), "Bool": pa.bool_()}


@settings(
    deadline=None, max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(*(st.one_of(st.none(), cell) for cell in CELLS.values())), min_size=1, max_size=8))
def test_csv_and_parquet_of_the_same_table_are_the_same_version(tmp_path_factory, rows):
    fields = [{"name": name.lower(), "type": name} for name in CELLS]
    names = [field["name"] for field in fields]
    columns = zip(names, zip(*rows, strict=True), CELLS, strict=True)
    table = pa.table({name: pa.array(held, ARROW.get(kind, pa.timestamp("us"))) for name, held, kind in columns})
    digests = set()
    for name in ("csv", "pandas", "need crlf"):
        one = tasks.Dataset(tmp_path_factory.mktemp("csv"))
        one.write(
            "a.csv", writers.WRITERS[name](names, [tuple("" if v is None else str(v) for v in row) for row in rows])
        )
        digests.add(one.look(schema={"fields": fields}, csv={"quote": '"'}).digest)
    other = tasks.Dataset(tmp_path_factory.mktemp("parquet"))
    other.put("a.parquet", table)
    digests.add(look(other, schema={"fields": fields}).digest)
    assert len(digests) == 1
    assert "" not in digests


@pytest.mark.parametrize("is_category", [True, False])
def test_a_long_text_that_the_file_holds_once_is_given_to_a_few_rows_at_a_time(dataset, monkeypatch, is_category):
    monkeypatch.setattr(parquetfile, "BATCH_BYTES", 5_000)
    monkeypatch.setattr(parquetfile, "_SMALL_DICTIONARY", 100)
    texts = pa.array(["a" * 1_000] * 200 + ["b"] * 200)
    dataset.put("a.parquet", pa.table({"x": texts.dictionary_encode() if is_category else texts, "y": range(400)}))
    held = parquetfile.ParquetFile(File("a.parquet", dataset.source / "a.parquet", ""), Discretion())
    plain = pa.schema([("x", pa.string()), ("y", pa.int64())])
    tables = [table.cast(plain) for table in held.tables(["x", "y"])]
    assert sum(table.num_rows for table in tables) == 400
    assert max(table.nbytes for table in tables) < 10_000


@pytest.mark.parametrize("size", [1, 100, 2**20, 2**31 - 1])
def test_how_large_a_page_is_stands_at_its_beginning(size):
    def number(value):
        return bytes([value & 0x7F | 0x80]) + number(value >> 7) if value > 0x7F else bytes([value])

    header = b"\x15" + number(2 << 1) + b"\x15" + number(size << 1) + b"\x15" + number(size) + bytes(8)
    assert parquetfile._page_size(header) == size
    assert parquetfile._page_size(header[1:]) is None
    assert parquetfile._page_size(header[:3]) is None


def test_the_same_rows_are_the_same_version_however_little_memory_there_is(dataset, tmp_path, monkeypatch):
    low = data.slices()[0].head(2500)
    low.to_parquet(dataset.source / "a.parquet", index=False)
    one = look(dataset)
    monkeypatch.setattr(shuffle, "MEMORY_BYTES", 20_000)
    monkeypatch.setattr(shuffle, "SPAN_BYTES", 10_000)
    monkeypatch.setattr(parquetfile, "BATCH_BYTES", 5_000)
    other = tasks.Dataset(tmp_path / "other")
    low.sample(frac=1, random_state=1).to_parquet(other.source / "b.parquet", index=False, row_group_size=249)
    again = look(other)
    assert (again.digest, again.rows, again.splits) == (one.digest, one.rows, one.splits)
    (other.source / "c.parquet").write_bytes((other.source / "b.parquet").read_bytes())
    twice = look(other)
    assert twice.rows == 2 * one.rows
    (other.source / "c.parquet").unlink()
    other.write("note.txt", "")
    assert look(other).outcome == "Frozen"
