"""Bad sources end as a named reason that says where; the version before stays."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet
import pytest

GOOD = "age,plan,paid\n31,a,true\n,b,false\n45,,true\n"
FIELDS = [
    {"name": "age", "type": "Int64", "minimum": 18, "maximum": 99},
    {"name": "plan", "type": "Category", "allowedValues": ["a", "b"]},
    {"name": "paid", "type": "Bool", "role": "Label", "nullable": False},
]
STRICT = {"mode": "Strict", "fields": FIELDS}


def changed(name, **change):
    return {"mode": "Strict", "fields": [field | change if field["name"] == name else field for field in FIELDS]}


def test_the_good_source_is_accepted(dataset):
    dataset.write("a.csv", GOOD)
    assert dataset.look(schema=STRICT).outcome == "Frozen"


@pytest.mark.parametrize(
    "text,schema,said",
    [
        ("age,plan,paid\n31,a,true\nold,b,false\n", STRICT, 'a.csv, row 2, column "age": "old" is not an Int64'),
        ("age,plan,paid\n31.5,a,true\n", STRICT, 'row 1, column "age": "31.5" is not an Int64'),
        ("age,plan,paid\n0x1F,a,true\n", STRICT, '"0x1F" is not an Int64'),
        ("age,plan,paid\n9223372036854775808,a,true\n", STRICT, '"9223372036854775808" is not an Int64'),
        ("age,plan,paid\n31,a,yes\n", STRICT, 'row 1, column "paid": "yes" is not a Bool'),
        ("age,plan,paid\n31,a,\n", STRICT, 'row 1, column "paid": is missing, and the field is not nullable'),
        ("age,plan,paid\n31,a,true\n17,a,true\n", STRICT, 'row 2, column "age": "17" is below the minimum 18'),
        ("age,plan,paid\n100,a,true\n", STRICT, '"100" is above the maximum 99'),
        ("age,plan,paid\n31,c,true\n", STRICT, '"c" is not one of the allowed values (a, b)'),
        ("age,plan\n31,a\n", STRICT, 'a.csv has no column "paid"'),
        ("age,plan,paid,x\n31,a,true,1\n", STRICT, 'a.csv has a column "x" that the schema does not name'),
        ("age,plan,paid\ninf,a,true\n", changed("age", type="Float64"), '"inf" is not a Float64'),
        ("age,plan,paid\n1e39,a,true\n", changed("age", type="Float32"), '"1e39" is not a Float32'),
        ("age,plan,paid\n12,a,true\n", changed("age", type="Timestamp"), '"12" is not a Timestamp'),
    ],
)
def test_a_value_or_column_that_does_not_fit_is_named(dataset, text, schema, said):
    dataset.write("a.csv", text)
    report = dataset.look(schema=schema)
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert said in report.message


@pytest.mark.parametrize(
    "array,kind,said",
    [
        (pa.array([1.0, 2.5]), "Int64", 'row 2, column "x": "2.5" is not an Int64'),
        (pa.array([1, 2], pa.uint64()), "Bool", 'row 2, column "x": "2" is not a Bool'),
        (pa.array([2**63], pa.uint64()), "Int64", 'row 1, column "x": "9223372036854775808" is not an Int64'),
        (pa.array([1.0, float("inf")]), "Float64", '"inf" is not a finite Float64'),
        (pa.array([1e300]), "Float32", '"1e+300" is not a finite Float32'),
        (pa.array([20240101.0]), "Float32", '"20240101.0" is a number that Float32 would round. Use Float64'),
        (pa.array([0.1, -1e-50]), "Float32", 'row 2, column "x": "-1e-50" is a number that Float32 would make 0'),
        (pa.array([2**53 + 1]), "Float64", "cannot be read as Float64 without loss"),
        (pa.array([1.5]), "String", "double cannot be read as String"),
        (pa.array([True]), "Int64", "bool cannot be read as Int64"),
        (pa.array([[1]]), "Int64", "cannot be read as Int64"),
        (pa.array(["1", "one"]), "Int64", 'row 2, column "x": "one" is not an Int64'),
    ],
)
def test_a_parquet_column_is_converted_only_without_loss(dataset, array, kind, said):
    pyarrow.parquet.write_table(pa.table({"x": array}), dataset.source / "a.parquet")
    report = dataset.look(format="Parquet", schema={"mode": "Strict", "fields": [{"name": "x", "type": kind}]})
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert said in report.message


@pytest.mark.parametrize(
    "array,kind",
    [
        (pa.array([1.0, None, float("nan")]), "Int64"),
        (pa.array([1, 0, None], pa.int8()), "Bool"),
        (pa.array([1, 2, None], pa.int16()), "Category"),
        (pa.array(["a", None, "b"]).dictionary_encode(), "Category"),
        (pa.array(["a", None], pa.large_string()), "String"),
        (pa.array([1, None], pa.date32()), "Timestamp"),
        (pa.array([1, None], pa.timestamp("ns")), "Timestamp"),
        (pa.array([None, None]), "Float64"),
        (pa.array(["1.5", "", " 2 "]), "Float64"),
    ],
)
def test_a_parquet_column_that_says_the_same_is_accepted(dataset, array, kind):
    if str(array.type) == "timestamp[ns]":
        array = pa.array([1000, None], array.type)
    pyarrow.parquet.write_table(pa.table({"x": array}), dataset.source / "a.parquet")
    report = dataset.look(format="Parquet", schema={"mode": "Strict", "fields": [{"name": "x", "type": kind}]})
    assert (report.outcome, report.rows) == ("Frozen", len(array))


@pytest.mark.parametrize(
    "files,reason,said",
    [
        ({}, "SourceNotFound", "does not exist"),
        ({"a.txt": "x"}, "SourceNotFound", "No .csv file under"),
        ({"a.csv": ""}, "SourceEmpty", "a.csv in"),
        ({"a.csv": GOOD, "b.csv": ""}, "SourceEmpty", "b.csv in"),
        ({"a.csv": "age,plan,paid\n"}, "SourceEmpty", "columns but no rows"),
        ({"a.csv": "age,plan,paid\n1,2\n"}, "SourceMalformed", "a.csv is not CSV"),
        ({"a.csv": "age,plan,age\n1,2,3\n"}, "SourceMalformed", 'column "age" appears twice'),
        ({"a.csv": "age,,paid\n1,2,3\n"}, "SourceMalformed", "a column has no name"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(dataset, files, reason, said):
    for name, text in files.items():
        dataset.write(name, text)
    report = dataset.look(schema=STRICT)
    assert (report.outcome, report.reason) == ("Rejected", reason)
    assert said in report.message


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_bytes_that_are_no_table_are_malformed(dataset, kind):
    (dataset.source / f"a.{kind.lower()}").write_bytes(bytes(range(256)) * 4)
    report = dataset.look(format=kind)
    assert (report.outcome, report.reason) == ("Rejected", "SourceMalformed")
    assert f"is not {kind}" in report.message


@pytest.mark.parametrize(
    "rule,observed",
    [
        ({"rowCount": {"min": 4}}, "3"),
        ({"rowCount": {"max": 2}}, "3"),
        ({"nullFraction": {"field": "age", "max": 0.3}}, "0.333333"),
        ({"unique": {"fields": ["paid"]}}, "1"),
    ],
)
def test_a_rule_that_does_not_hold_is_reported_with_what_was_seen(dataset, rule, observed):
    dataset.write("a.csv", GOOD)
    rules = [{"name": "broken", **rule}, {"name": "kept", "rowCount": {"min": 1, "max": 3}}]
    report = dataset.look(schema=STRICT, validation={"rules": rules})
    assert (report.outcome, report.reason, report.rules_passed, report.rules_failed) == (
        "Rejected",
        "RuleViolated",
        1,
        1,
    )
    assert [(each.name, each.observed) for each in report.failed_rules] == [("broken", observed)]


@pytest.mark.parametrize(
    "rule",
    [
        {"rowCount": {"min": 3, "max": 3}},
        {"nullFraction": {"field": "age", "max": 0.34}},
        {"unique": {"fields": ["paid", "age"]}},
    ],
)
def test_a_rule_at_its_limit_holds(dataset, rule):
    dataset.write("a.csv", GOOD)
    report = dataset.look(schema=STRICT, validation={"rules": [{"name": "kept", **rule}]})
    assert (report.outcome, report.rules_passed) == ("Frozen", 1)


@pytest.mark.parametrize(
    "change,said",
    [
        ({"validation": {"rules": [{"name": "key", "unique": {"fields": ["age", "ghost"]}}]}}, 'about column "ghost"'),
        ({"split": {"method": "Stratified", "field": "ghost"}}, 'divided by column "ghost"'),
    ],
)
def test_a_rule_or_split_about_a_column_that_is_not_there_is_refused(dataset, change, said):
    dataset.write("a.csv", GOOD)
    report = dataset.look(schema=STRICT, **change)
    assert (report.outcome, report.reason) == ("Rejected", "SchemaMismatch")
    assert said in report.message


def test_a_new_column_is_left_out_when_new_fields_are_allowed(dataset):
    dataset.write("a.csv", GOOD)
    frozen = dataset.look(schema={**STRICT, "mode": "AllowNewFields"})
    dataset.write("a.csv", "x,age,plan,paid\n1,31,a,true\n2,,b,false\n3,45,,true\n")
    again = dataset.look(schema={**STRICT, "mode": "AllowNewFields"})
    assert (again.outcome, again.digest) == ("Unchanged", frozen.digest)


def test_inferred_types_hold_for_later_versions(dataset):
    dataset.write("a.csv", "n,f,t,when,b\n1,1.5,x,2026-01-02,true\n")
    assert dataset.look().outcome == "Frozen"
    dataset.write("a.csv", "n,f,t,when,b\n1.5,1.5,x,2026-01-02,true\n")
    changed = dataset.look()
    dataset.write("a.csv", "n,f,t,when,b,new\n1,1.5,x,2026-01-02,true,1\n")
    added = dataset.look()
    assert (changed.reason, added.reason) == ("SchemaMismatch", "SchemaMismatch")
    assert '"1.5" is not an Int64' in changed.message
    assert 'column "new" that neither the schema nor the version before names' in added.message


def test_whole_decimals_are_not_inferred_as_integers(dataset):
    dataset.write("a.csv", "x\n1.0\n2.0\n")
    dataset.look()
    dataset.write("b.csv", "x\n2.5\n")
    assert dataset.look().outcome == "Frozen"


def test_a_rejected_source_leaves_the_version_before_in_the_store(dataset):
    dataset.write("a.csv", GOOD)
    frozen = dataset.look(schema=STRICT)
    held = sorted(path.name for path in dataset.folder.joinpath("store").rglob("*.*"))
    dataset.write("a.csv", "age,plan,paid\nbad,a,true\n")
    assert dataset.look(schema=STRICT).outcome == "Rejected"
    assert sorted(path.name for path in dataset.folder.joinpath("store").rglob("*.*")) == held
    dataset.write("a.csv", GOOD)
    assert dataset.look(schema=STRICT).digest == frozen.digest
