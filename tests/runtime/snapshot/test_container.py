"""The container: its task, its exit code, its termination message, and a real object store."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_kit import data, gateway, tasks

from millrace.contract import task
from millrace_runtime.snapshot import records, shuffle
from millrace_runtime.snapshot.__main__ import main

MODULE = "millrace_runtime.snapshot"
CSV = "age,paid\n" + "".join(f"{20 + i},{'true' if i % 3 else 'false'}\n" for i in range(60))


def task_on(uri, **changes):
    return {
        "namespace": "ml",
        "name": "churn",
        "storeUri": "s3://lake/millrace",
        "source": {"storageUri": uri},
        "format": "CSV",
    } | changes


@pytest.mark.programs
def test_a_source_in_a_real_store_is_frozen_into_it(store, tmp_path):
    store.files.pipe_file("lake/good/a.csv", CSV.encode())
    code, report, _ = tasks.in_a_process(MODULE, task_on("s3://lake/good/"), tmp_path, **store.environment())
    assert (code, report["outcome"], report["rows"]) == (0, "Frozen", 60)
    names = sorted(path.rsplit("/", 1)[1] for path in store.files.find(report["uri"]))
    assert names == [
        "assignment.parquet",
        "manifest.json",
        "profile.json",
        "quality.json",
        "report.json",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    assert report["uri"].endswith(f"/datasets/ml/churn/{report['digest'].replace(':', '-')[:23]}/")
    previous = {"uri": report["uri"], "digest": report["digest"], "sourceDigest": report["sourceDigest"]}
    again = tasks.contained(main, task_on("s3://lake/good/", previous=previous), tmp_path, **store.environment())
    assert (again[0], again[1]["outcome"]) == (0, "Unchanged")


@pytest.mark.programs
def test_the_source_may_have_credentials_of_its_own(store, tmp_path):
    store.files.pipe_file("lake/own/a.csv", CSV.encode())
    source = {f"SOURCE_{name}": value for name, value in store.environment(secret="wrong").items()}
    wanted = task_on("s3://lake/own/", source={"storageUri": "s3://lake/own/", "secretRef": {"name": "lake-reader"}})
    code, report, _ = tasks.contained(main, wanted, tmp_path, **store.environment(), **source)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "StoreDenied")
    assert "Secret lake-reader" in report["message"]
    code, report, _ = tasks.contained(
        main, wanted, tmp_path, **store.environment(), **source | {"SOURCE_AWS_SECRET_ACCESS_KEY": gateway.SECRET}
    )
    assert (code, report["outcome"]) == (0, "Frozen")


@pytest.mark.parametrize("uri", ["s3://lake/nothing/", "s3://lake/nothing.csv", "s3://no-such-bucket/a/"])
@pytest.mark.programs
def test_a_source_that_is_not_there_is_a_verdict(store, tmp_path, uri):
    code, report, _ = tasks.contained(main, task_on(uri), tmp_path, **store.environment())
    assert (code, report["outcome"], report["reason"]) == (0, "Rejected", "SourceNotFound")


def test_a_store_that_does_not_answer_is_tried_again(tmp_path):
    with gateway.down(tmp_path) as dead:
        code, report, _ = tasks.contained(main, task_on("s3://lake/a/"), tmp_path, **dead.environment())
    assert (code, report["outcome"], report["reason"]) == (1, "Failed", "StoreUnavailable")


@pytest.mark.programs
def test_wrong_keys_are_named_without_being_shown(store, tmp_path):
    environ = store.environment(secret="not-the-secret")
    code, report, log = tasks.contained(main, task_on("s3://lake/good/"), tmp_path, **environ)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "StoreDenied")
    assert "not-the-secret" not in log


@pytest.mark.parametrize(
    "wanted,said",
    [
        ("{", "not JSON"),
        ({"namespace": "ml"}, "name: required"),
        (task_on("file:///x", format="XML"), "spec.format: 'XML' is not one of CSV, Parquet"),
        (task_on("file:///x", split={"fractions": {"train": 0.5, "validation": 0.1, "test": 0.1}}), "add up to 1"),
        (task_on("file:///x", split={"method": "Stratified"}), "split.field"),
        (task_on("file:///x", split={"method": "Time", "field": "t", "groupBy": ["a"]}), "split.groupBy"),
        (task_on("file:///x", schema={"mode": "Strict"}), "schema.fields"),
        (task_on("file:///x", validation={"rules": [{"name": "r"}]}), "exactly one of"),
    ],
)
def test_a_task_of_another_version_is_named_and_not_tried_again(tmp_path, wanted, said):
    code, report, _ = tasks.contained(main, wanted, tmp_path)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "MalformedReport")
    assert said in report["message"]


def test_hundreds_of_findings_still_fit_into_the_message(tmp_path):
    (tmp_path / "wide.csv").write_text(",".join(f"column_{i:03}" for i in range(300)) + "\n" + "," * 299 + "\n")
    fields = [{"name": f"missing_{i:03}_{'x' * 40}", "type": "Int64"} for i in range(200)]
    wanted = task_on(f"file://{tmp_path}/wide.csv", schema={"mode": "Strict", "fields": fields})
    code, report, _ = tasks.contained(main, wanted, tmp_path)
    assert (code, report["reason"]) == (0, "SchemaMismatch")
    assert "and 495 more" in report["message"]


def test_the_demo_data_is_frozen_as_it_is(tmp_path):
    low, _ = data.slices()
    low.to_csv(tmp_path / "a.csv", index=False)
    wanted = task_on(f"file://{tmp_path}/a.csv", storeUri=f"file://{tmp_path}/store")
    code, report, _ = tasks.contained(main, wanted, tmp_path)
    assert (code, report["outcome"], report["rows"]) == (0, "Frozen", 11867)


@pytest.mark.parametrize("name", ["é", "x" * 200_000])
def test_the_task_is_read_from_its_file_however_long(tmp_path, name):
    (tmp_path / "a.csv").write_text(CSV)
    field = {"name": "age", "type": "Int64", "allowedValues": [str(age) for age in range(100)] + [name]}
    wanted = task_on(f"file://{tmp_path}/a.csv", storeUri=f"file://{tmp_path}/store", schema={"fields": [field]})
    (tmp_path / "task.json").write_text(task.pack(json.dumps(wanted)), encoding="utf-8")
    (tmp_path / "empty").mkdir()
    code, report, _ = tasks.contained(main, None, tmp_path / "empty", MILLRACE_TASK_FILE=f"{tmp_path}/task.json")
    assert (code, report["outcome"]) == (0, "Rejected")
    assert "of its allowedValues is not an Int64" in report["message"]


def test_without_a_task_the_container_says_so(tmp_path):
    code, report, _ = tasks.contained(main, None, tmp_path, MILLRACE_TASK_FILE=f"{tmp_path}/task.json")
    assert (code, report["reason"]) == (0, "MalformedReport")
    assert "not set, and there is no" in report["message"]


@pytest.mark.parametrize("level,lines", [("DEBUG", 7), ("INFO", 5), ("WARNING", 1), ("LOUD", 5)])
def test_the_log_says_as_much_as_its_level_lets_through_and_always_the_report(tmp_path, level, lines):
    (tmp_path / "a.csv").write_text(CSV)
    wanted = task_on(f"file://{tmp_path}/a.csv", storeUri=f"file://{tmp_path}/store")
    _, report, log = tasks.contained(main, wanted, tmp_path, MILLRACE_LOG_LEVEL=level)
    assert json.loads(log.splitlines()[-1]) == report
    assert (len(log.splitlines()) == 1) == (lines == 1)
    assert ("comma-separated" in "".join(log.splitlines()[:-1])) == (level == "DEBUG")


def test_a_full_disk_is_named_and_is_not_the_stores_fault(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text(CSV)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shuffle.pa.ipc, "new_file", full)
    monkeypatch.setattr(shuffle, "MEMORY_BYTES", 1)
    code, report, _ = tasks.contained(main, task_on(f"file://{tmp_path}/a.csv"), tmp_path)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "SnapshotOutOfDisk")


def test_a_disk_that_is_full_of_numbers_is_named_too(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text(CSV)
    monkeypatch.setattr(records.Records, "_path", lambda *_: Path("/dev/full"))
    monkeypatch.setattr(records, "MEMORY_BYTES", 1)
    code, report, _ = tasks.contained(main, task_on(f"file://{tmp_path}/a.csv"), tmp_path)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "SnapshotOutOfDisk")


def test_everything_that_was_found_stands_beside_the_version(tmp_path):
    (tmp_path / "a.csv").write_text("zip;x\n01234;1,5\n;NA\n")
    wanted = task_on(f"file://{tmp_path}/a.csv", storeUri=f"file://{tmp_path}/store")
    _, report, _ = tasks.contained(main, wanted, tmp_path)
    found = json.loads(Path(report["uri"].removeprefix("file://"), "report.json").read_text())["reading"]
    assert found["rows"] == 2
    assert found["files"] == [{"name": "a.csv", "dialect": 'semicolon-separated, quote ", decimal comma, UTF-8'}]
    code, number = found["columns"]
    assert (code["type"], code["missing"], code["examples"]) == ("String", 1, ["01234"])
    assert (number["type"], number["missing"], number["examples"]) == ("Float64", 1, ["1.5"])
    assert "words such as NA (1) are missing" in number["why"]
    # A status is read by more people than the data: it holds no value of it.
    assert "01234" not in json.dumps(report["reading"])


AFTER_A_LOOK = """
import sys
from millrace_runtime.snapshot.__main__ import main
main()
print("pandas" in sys.modules, file=sys.stderr)
"""


def look_in_a_process(wanted, folder):
    """The report, and whether pandas was imported for it."""
    environ = {"MILLRACE_SPEC": json.dumps(wanted), "MILLRACE_TERMINATION_LOG": str(folder / "log")}
    command = [sys.executable, "-c", AFTER_A_LOOK]
    done = subprocess.run(command, check=True, env=os.environ | environ, capture_output=True, text=True)
    return json.loads((folder / "log").read_text()), done.stderr.splitlines()[-1] == "True"


@pytest.mark.parametrize("written", ["1.5", "word", "day 7", "2024-01-31"])
@pytest.mark.programs
def test_a_snapshot_starts_without_pandas(tmp_path, written):
    (tmp_path / "a.csv").write_text(f"x,y\n{written},1\n{written},2\n")
    report, is_there = look_in_a_process(
        task_on(f"file://{tmp_path}/a.csv", storeUri=f"file://{tmp_path}/store"), tmp_path
    )
    assert (report["outcome"], is_there) == ("Frozen", False)


@pytest.mark.programs
def test_instants_that_are_text_have_pandas_though_pyarrow_knows_of_none(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n2024-01-31,1\n2024-01-31T00:00:00Z,2\n")
    fields = [{"name": "x", "type": "String", "role": "Id"}]
    where = {"storeUri": f"file://{tmp_path}/store", "schema": {"mode": "Infer", "fields": fields}}
    report, is_there = look_in_a_process(task_on(f"file://{tmp_path}/a.csv", **where), tmp_path)
    assert (report["outcome"], report["quality"]["sharedRows"], is_there) == ("Frozen", 2, True)
