"""From a source to a version: what is frozen, and what makes it a new version."""

from __future__ import annotations

import io
import json

import pyarrow.parquet
import pytest
from data_kit import data

from millrace.contract.profile import Profile
from millrace_runtime import store
from millrace_runtime.snapshot import manifest

CSV = "id,age,plan,paid\n" + "".join(
    f"{i},{20 + i % 50},{'abc'[i % 3]},{'true' if i % 4 else 'false'}\n" for i in range(200)
)
FIELDS = [
    {"name": "id", "type": "Int64", "role": "Id"},
    {"name": "age", "type": "Int64", "minimum": 0},
    {"name": "plan", "type": "Category", "allowedValues": ["a", "b", "c"]},
    {"name": "paid", "type": "Bool", "role": "Label", "nullable": False},
]


def rows_of(report, name):
    return pyarrow.parquet.read_table(io.BytesIO(store.read_bytes(f"{report.uri}{name}.parquet")))


def test_a_version_holds_every_row_once_in_one_of_three_files(dataset):
    dataset.write("a.csv", CSV)
    report = dataset.look(schema={"mode": "Strict", "fields": FIELDS})
    parts = [rows_of(report, name) for name in ("train", "validation", "test")]
    assert report.outcome == "Frozen"
    assert sorted(value for part in parts for value in part["id"].to_pylist()) == list(range(200))
    assert [part.num_rows for part in parts] == [report.splits.train, report.splits.validation, report.splits.test]


def test_the_columns_have_the_types_of_the_schema(dataset):
    dataset.write("a.csv", CSV)
    types = {field.name: str(field.type) for field in rows_of(dataset.look(schema={"fields": FIELDS}), "train").schema}
    assert types == {"id": "int64", "age": "int64", "plan": "string", "paid": "bool"}


def test_the_digest_is_the_sha256_of_what_the_manifest_lists(dataset):
    dataset.write("a.csv", CSV)
    report = dataset.look()
    held = manifest.load(report.uri, report.digest)
    assert held.digest == report.digest
    for name, part in held.files.items():
        assert manifest.of_bytes(store.read_bytes(f"{report.uri}{name}.parquet")) == part.digest


def test_the_same_rows_give_the_same_digest_in_any_order_of_rows_columns_and_files(dataset, tmp_path):
    header, *lines = CSV.splitlines()
    dataset.write("a.csv", CSV)
    one = dataset.look()
    other = type(dataset)(tmp_path / "other")
    flipped = [",".join(reversed(line.split(","))) for line in [header, *lines]]
    other.write("x.csv", "\n".join([flipped[0], *flipped[:0:-1][:90]]) + "\n")
    other.write("y.csv", "\n".join([flipped[0], *flipped[:0:-1][90:]]) + "\n")
    again = other.look(schema={"mode": "Infer"})
    names = [(field.name, field.type) for field in manifest.load(one.uri, one.digest).fields]
    assert sorted(names) == sorted((field.name, field.type) for field in manifest.load(again.uri, again.digest).fields)
    for part in ("train", "validation", "test"):
        assert (
            rows_of(one, part).to_pylist() == rows_of(again, part).select(rows_of(one, part).column_names).to_pylist()
        )


def test_the_same_bytes_give_the_same_files_to_the_byte(dataset, tmp_path):
    other = type(dataset)(tmp_path / "other")
    for each in (dataset, other):
        each.write("a.csv", CSV)
    one, two = dataset.look(), other.look()
    assert one.digest == two.digest
    assert one.uri.rsplit("/", 2)[1] == two.uri.rsplit("/", 2)[1]


def test_unchanged_bytes_are_not_parsed_again(dataset):
    dataset.write("a.csv", CSV)
    frozen = dataset.look()
    again = dataset.look()
    assert (again.outcome, again.digest, again.uri) == ("Unchanged", frozen.digest, frozen.uri)


def test_the_same_rows_in_other_files_are_the_same_version(dataset):
    dataset.write("a.csv", CSV)
    frozen = dataset.look()
    (dataset.source / "a.csv").unlink()
    header, *lines = CSV.splitlines()
    dataset.write("b.csv", "\n".join([header, *lines[50:]]))
    dataset.write("c.csv", "\n".join([header, *lines[:50]]))
    again = dataset.look()
    assert (again.outcome, again.digest) == ("Unchanged", frozen.digest)
    assert again.source_digest != frozen.source_digest


def test_unchanged_bytes_under_another_schema_are_a_new_version(dataset):
    dataset.write("a.csv", CSV)
    frozen = dataset.look(schema={"fields": FIELDS})
    fields = [*FIELDS[:2], {**FIELDS[2], "role": "Ignore"}, FIELDS[3]]
    again = dataset.look(schema={"fields": fields})
    assert again.outcome == "Frozen"
    assert again.digest != frozen.digest
    assert "plan" not in rows_of(again, "train").column_names


def test_a_single_file_is_read_whatever_it_is_called(dataset):
    dataset.write("export.txt", CSV)
    report = dataset.look(source={"storageUri": f"file://{dataset.source}/export.txt"})
    assert (report.outcome, report.rows) == ("Frozen", 200)


def test_every_matching_file_is_read_in_name_order_and_markers_are_not(dataset):
    header, *lines = CSV.splitlines()
    for name, chunk in (("2.csv", lines[100:]), ("1.CSV", lines[:100])):
        dataset.write(name, "\n".join([header, *chunk]))
    dataset.write("_SUCCESS", "")
    dataset.write("_part.csv", "nonsense")
    dataset.write("_temporary/0/1.csv", "nonsense")
    dataset.write("notes.txt", "not data")
    report = dataset.look()
    assert (report.rows, report.reading.left_out) == (200, "notes.txt: no .csv file")


def test_parquet_and_csv_of_the_same_table_hold_the_same_rows(dataset, tmp_path):
    low, _ = data.slices()
    dataset.source.joinpath("a.csv").write_text(low.to_csv(index=False))
    csv = dataset.look()
    other = type(dataset)(tmp_path / "other")
    low.to_parquet(other.source / "a.parquet", index=False)
    parquet = other.look(format="Parquet")
    assert csv.rows == parquet.rows == len(low)
    assert rows_of(csv, "test").to_pylist() == rows_of(parquet, "test").to_pylist()


def test_the_profile_counts_every_row_in_every_feature(dataset):
    dataset.write("a.csv", CSV)
    report = dataset.look(schema={"fields": FIELDS})
    held = Profile.from_json(store.read_bytes(report.profile_uri))
    assert [(feature.name, feature.input, feature.index) for feature in held.features] == [
        ("age", "numeric", 0),
        ("plan", "categorical", 0),
    ]
    assert [sum(histogram.counts) for histogram in (*held.features, *held.outputs)] == [200, 200, 200]


def test_a_manifest_is_written_last_and_reads_back(dataset):
    dataset.write("a.csv", CSV)
    report = dataset.look()
    listed = json.loads(store.read_bytes(f"{report.uri}manifest.json"))
    assert set(listed["files"]) == {"train", "validation", "test"}
    assert report.bytes == sum(part["bytes"] for part in listed["files"].values())


@pytest.mark.parametrize("damage", ["digest", "json"])
def test_a_damaged_version_before_stops_the_next_one_instead_of_dividing_all_rows_anew(dataset, damage):
    dataset.write("a.csv", CSV)
    frozen = dataset.look()
    path = dataset.folder / "store" / frozen.uri.split("/store/")[1] / "manifest.json"
    path.write_text(path.read_text().replace('"train"', '"tram"', 1) if damage == "digest" else "{")
    dataset.write("b.csv", CSV.replace("true", "false"))
    report = dataset.look()
    assert (report.outcome, report.reason) == ("Failed", "DigestMismatch")
    assert "cannot keep their split" in report.message
