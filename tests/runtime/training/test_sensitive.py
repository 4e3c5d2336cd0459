"""No value of a Sensitive column, of an Id or of what is ignored comes out anywhere, whatever fails.

A table has a marker in every such value. Everything is run at DEBUG, in all the ways it can go wrong, and every output
is searched for the marker: logs, termination messages, and files but for the frozen rows themselves.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_kit import tasks
from run_kit import runs

from millrace_runtime import store
from millrace_runtime.snapshot import __main__ as snapshot
from millrace_runtime.snapshot import division, intake, source, version
from millrace_runtime.training import __main__ as training
from millrace_runtime.training import evaluate, fetch

TEXT, NUMBER, DAY = "zq7marked", "7319462", "1987-06-05"
HEX = TEXT.encode().hex()
MARKERS = (TEXT, NUMBER, DAY, HEX, TEXT.upper())
ROWS = ("train.parquet", "validation.parquet", "test.parquet")
FIELDS: list[dict[str, Any]] = [
    {"name": "email", "type": "String", "role": "Id"},
    {"name": "diagnosis", "type": "String", "role": "Sensitive"},
    {"name": "salary", "type": "Int64", "role": "Sensitive"},
    {"name": "born", "type": "Timestamp", "role": "Sensitive"},
    {"name": "note", "type": "String", "role": "Ignore"},
    {"name": "age", "type": "Float64"},
    {"name": "plan", "type": "Category"},
    {"name": "label", "type": "Int64", "role": "Label"},
]


def table(rows: int = 300) -> pd.DataFrame:
    chance = np.random.default_rng(5)
    at = np.arange(rows)
    label = chance.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "email": [f"{TEXT}-{one}@example.com" for one in at],
            "diagnosis": [f"{TEXT}-{one % 5}" for one in at],
            "salary": [int(f"{NUMBER}{one:04}") for one in at],
            "born": [f"{DAY}T04:03:{one % 60:02}" for one in at],
            "note": TEXT,
            "age": (20 + chance.normal(size=rows) + label).round(3),
            "plan": chance.choice(["basic", "plus"], rows),
            "label": label,
        }
    )


def fields(name: str = "", **changes: Any) -> dict[str, Any]:
    return {"mode": "Strict", "fields": [one | changes if one["name"] == name else one for one in FIELDS]}


def searched(folder: Path, *said: str) -> None:
    """Every file below, but for frozen rows, and all that was said."""
    files = [path for path in folder.rglob("*") if path.is_file() and "source" not in path.relative_to(folder).parts]
    outputs = {path.name: path.read_bytes().decode("utf-8", "replace") for path in files if path.name not in ROWS}
    outputs |= {f"said {number}": text for number, text in enumerate(said)}
    found = [(name, marker) for name, text in outputs.items() for marker in MARKERS if marker in text]
    assert found == []
    assert outputs


def looked(dataset: tasks.Dataset, **changes: Any) -> dict[str, Any]:
    """One look at the source, as the container does it."""
    folder = dataset.folder / "container"
    task = dataset.task(**({"schema": fields()} | changes))
    code, message, log = tasks.contained(snapshot.main, task, folder, MILLRACE_LOG_LEVEL="DEBUG")
    assert code in (0, 1)
    searched(dataset.folder, json.dumps(message, ensure_ascii=False), log)
    return message


@pytest.fixture
def dataset(tmp_path: Path) -> tasks.Dataset:
    return tasks.Dataset(tmp_path)


def csv(rows: pd.DataFrame, **how: Any) -> str:
    text: str = rows.to_csv(index=False, **how)
    return text


def test_a_version_shows_nothing_of_them_but_their_names(dataset: tasks.Dataset) -> None:
    dataset.write("a.csv", csv(table()))
    rules = {"rules": [{"name": "once", "unique": {"fields": ["email", "diagnosis"]}}]}
    split = {"method": "Stratified", "field": "diagnosis"}
    message = looked(dataset, validation=rules, split=split)
    assert (message["outcome"], message["rows"]) == ("Frozen", 300)
    columns = json.loads(store.read_bytes(f"{message['uri']}report.json"))["reading"]["columns"]
    assert {one["name"]: bool(one["examples"]) for one in columns} == {
        "email": False, "diagnosis": False, "salary": False, "born": False, "age": True, "plan": True, "label": True,
    }  # fmt: skip


Change = Callable[[pd.DataFrame], pd.DataFrame]
WRONG: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a number that is text": ("SchemaMismatch", "diagnosis", {"type": "Int64"}),
    "an Id that is text": ("SchemaMismatch", "email", {"type": "Int64"}),
    "what is ignored is text": ("SchemaMismatch", "note", {"type": "Int64"}),
    "a time that is none": ("SchemaMismatch", "diagnosis", {"type": "Timestamp"}),
    "a truth that is none": ("SchemaMismatch", "salary", {"type": "Bool"}),
    "a float that rounds": ("SchemaMismatch", "salary", {"type": "Float32"}),
    "above the maximum": ("SchemaMismatch", "salary", {"maximum": 10}),
    "below the minimum": ("SchemaMismatch", "salary", {"minimum": 1e15}),
    "not one of the allowed values": ("SchemaMismatch", "diagnosis", {"allowedValues": ["a"]}),
    "allowed values that are of another type": ("SchemaMismatch", "salary", {"allowedValues": [TEXT]}),
    "all but one allowed": ("SchemaMismatch", "diagnosis", {"allowedValues": [f"{TEXT}-{one}" for one in range(4)]}),
}


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
@pytest.mark.parametrize("how", WRONG)
def test_a_value_that_does_not_fit_is_told_by_its_place(dataset: tasks.Dataset, how: str, kind: str) -> None:
    reason, name, change = WRONG[how]
    if kind == "CSV":
        dataset.write("a.csv", csv(table()))
    else:
        dataset.put("a.parquet", pa.Table.from_pandas(table(), preserve_index=False))
    message = looked(dataset, schema=fields(name, **change), format=kind)
    assert message["reason"] == reason
    assert f'column "{name}"' in message["message"]
    assert ", row " in message["message"] or "allowedValues" in message["message"]


@pytest.mark.parametrize("name", ["email", "diagnosis", "salary", "note"])
def test_the_same_value_of_a_feature_is_quoted(tmp_path: Path, name: str) -> None:
    dataset = tasks.Dataset(tmp_path)
    dataset.write("a.csv", csv(table()))
    task = dataset.task(schema=fields(name, role="Feature", type="Bool"))
    _, message, _ = tasks.contained(snapshot.main, task, tmp_path / "container")
    assert any(marker in message["message"] for marker in MARKERS)


@pytest.mark.parametrize("names", [["email"], ["diagnosis"], ["salary", "born"], ["email", "plan"]])
def test_rows_that_repeat_a_key_are_counted(dataset: tasks.Dataset, names: list[str]) -> None:
    dataset.write("a.csv", csv(pd.concat([table(), table().iloc[:9]])))
    message = looked(dataset, validation={"rules": [{"name": "once", "unique": {"fields": names}}]})
    assert message["reason"] == "RuleViolated"
    assert ("such as plan=" in message["message"]) is ("plan" in names)


def _headerless(rows: pd.DataFrame) -> str:
    return csv(rows, header=False)


def _twice(rows: pd.DataFrame) -> str:
    return csv(rows.assign(born=rows.email, salary=rows.email), header=False)


def _ragged(rows: pd.DataFrame) -> str:
    return csv(rows) + f"{TEXT},{TEXT},{NUMBER},{DAY}\n"


def _unclosed(rows: pd.DataFrame) -> str:
    return csv(rows) + f'"{TEXT},{NUMBER}\n'


def _in_other_quotes(rows: pd.DataFrame) -> str:
    return csv(rows.assign(diagnosis=f"'{TEXT}'"))


def _either_decimal(rows: pd.DataFrame) -> str:
    return csv(rows.assign(salary=[f"{NUMBER}.25", f"{NUMBER},5"] * 150), sep=";")


def _extra(rows: pd.DataFrame) -> str:
    return csv(rows.drop(columns="email").rename(columns={"note": f"{TEXT}-1"}))


def _control(rows: pd.DataFrame) -> str:
    return csv(rows.drop(columns="email").rename(columns={"note": f"{TEXT}\x01"}))


@pytest.mark.parametrize(
    "written", [_headerless, _twice, _ragged, _unclosed, _in_other_quotes, _either_decimal, _extra, _control]
)
def test_a_file_that_cannot_be_read_is_told_by_its_lines(
    dataset: tasks.Dataset, written: Callable[[pd.DataFrame], str]
) -> None:
    dataset.write("a.csv", written(table()))
    assert looked(dataset)["reason"] in ("SchemaMismatch", "SourceMalformed")


def test_a_column_that_nobody_declared_is_named_where_the_header_is_one(dataset: tasks.Dataset) -> None:
    dataset.write("a.csv", csv(table().assign(surplus=1)))
    assert 'has a column "surplus" that the schema does not name' in looked(dataset)["message"]


def test_bytes_that_are_no_text_are_not_shown_in_hexadecimal(dataset: tasks.Dataset) -> None:
    rows = pa.Table.from_pandas(table(), preserve_index=False)
    broken = pa.array([TEXT.encode() + b"\xff"] * len(rows), pa.binary())
    dataset.put("a.parquet", rows.set_column(1, "diagnosis", broken))
    assert looked(dataset, format="Parquet")["reason"] == "SchemaMismatch"


@pytest.mark.parametrize("old", [False, True])
def test_an_instant_that_is_too_fine_is_told_by_its_row(dataset: tasks.Dataset, old: bool) -> None:
    rows = pa.Table.from_pandas(table(), preserve_index=False)
    fine = pa.array([int(f"{NUMBER}000000001")] * len(rows), pa.timestamp("ns"))
    dataset.put("a.parquet", rows.set_column(3, "born", fine), use_deprecated_int96_timestamps=old)
    assert looked(dataset, format="Parquet")["reason"] == "SchemaMismatch"


def parted(dataset: tasks.Dataset, rows: pd.DataFrame, *, kind: str = "csv", kept: bool = False) -> None:
    """By folders that tell the diagnosis, as Hive writes them."""
    for value, part in rows.groupby("diagnosis"):
        held = part if kept else part.drop(columns="diagnosis")
        place = f"diagnosis={value}/plan=basic/part-0.{kind}"
        dataset.write(place, csv(held.drop(columns="plan")))


def test_folders_that_tell_a_value_are_covered_in_every_name(dataset: tasks.Dataset) -> None:
    parted(dataset, table())
    message = looked(dataset)
    assert message["outcome"] == "Frozen"
    files = json.loads(store.read_bytes(f"{message['uri']}report.json"))["reading"]["files"]
    assert files[0]["name"] == "diagnosis=…/plan=basic/part-0.csv"
    # What the name says is still read.
    assert {row["diagnosis"] for row in frozen(message)} == {f"{TEXT}-{at}" for at in range(5)}


def frozen(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ROWS:
        yield from pyarrow.parquet.read_table(message["uri"].removeprefix("file://") + name).to_pylist()


def _contradicts(dataset: tasks.Dataset) -> None:
    parted(dataset, table().assign(diagnosis=f"{TEXT}-9"), kept=True)
    dataset.write(f"diagnosis={TEXT}-8/plan=basic/a.csv", csv(table()))


def _is_empty(dataset: tasks.Dataset) -> None:
    parted(dataset, table())
    dataset.write(f"diagnosis={TEXT}-8/plan=basic/a.csv", "")


def _is_none(dataset: tasks.Dataset) -> None:
    parted(dataset, table())
    dataset.write(f"diagnosis={TEXT}-8/plan=basic/a.csv.gz", b"not gzip")


def _are_others(dataset: tasks.Dataset) -> None:
    parted(dataset, table(), kind="txt")


@pytest.mark.parametrize("world", [_contradicts, _is_empty, _is_none, _are_others])
def test_a_folder_that_tells_a_value_is_covered_in_every_refusal(
    dataset: tasks.Dataset, world: Callable[[tasks.Dataset], None]
) -> None:
    world(dataset)
    assert looked(dataset)["outcome"] == "Rejected"


def test_a_store_that_does_not_serve_such_a_file_names_the_file_without_the_value(
    dataset: tasks.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted(dataset, table())

    @contextlib.contextmanager
    def refused(uri: str, *_: Any, **__: Any) -> Iterator[Any]:
        raise store.StoreUnavailable(f"the store did not serve {uri}: [Errno 5] '{uri}'")
        yield

    monkeypatch.setattr(store, "open", refused)
    message = looked(dataset)
    assert message["reason"] == "StoreUnavailable"
    assert "diagnosis=…/plan=basic/part-0.csv" in message["message"]


def raises(error: Exception) -> Callable[..., Any]:
    def defective(*_: Any, **__: Any) -> Any:
        raise error from ValueError(f"{TEXT} is behind it")

    return defective


DEFECTS = (pa.ArrowInvalid(f"cannot read {TEXT}"), KeyError(TEXT), OSError(5, TEXT, TEXT), MemoryError(TEXT))


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [(source, "digest"), (intake, "read"), (division, "divide"), (version, "write")])
def test_a_defect_is_told_by_its_type_and_place(
    dataset: tasks.Dataset, monkeypatch: pytest.MonkeyPatch, at: tuple[Any, str], error: Exception
) -> None:
    dataset.write("a.csv", csv(table()))
    monkeypatch.setattr(*at, raises(error))
    message = looked(dataset)
    assert message["reason"] in ("SnapshotCrashed", "SnapshotOutOfMemory")
    if message["reason"] == "SnapshotCrashed":
        assert type(error).__name__ in message["message"]
        assert "snapshot/run.py:" in message["message"]


def test_a_column_stays_hidden_although_a_later_schema_does_not_name_it(dataset: tasks.Dataset) -> None:
    dataset.write("a.csv", csv(table()))
    dataset.look(schema=fields())
    dataset.write("a.csv", csv(table().assign(salary=f"{NUMBER}x")))
    named = [one for one in FIELDS if one["name"] in ("note", "label")]
    message = looked(dataset, schema={"mode": "Infer", "fields": named})
    assert message["reason"] == "SchemaMismatch"
    assert 'column "salary": the value is not an Int64' in message["message"]


# ------------------------------------------------------------------------------------------------------- training
@pytest.fixture
def bench(tmp_path: Path) -> runs.Bench:
    made = runs.Bench(tmp_path)
    made.freeze(table(), "Int64", schema=fields())
    return made


def stage(bench: runs.Bench, name: str) -> dict[str, Any]:
    folder = bench.folder / "containers" / name
    work = str(bench.volume("own").root)
    code, message, log = tasks.contained(
        partial(training.main, [name]), bench.task("own"), folder, MILLRACE_LOG_LEVEL="DEBUG", MILLRACE_WORK_DIR=work
    )
    assert code in (0, 1, 2)
    searched(bench.folder, json.dumps(message, ensure_ascii=False), log)
    return message


@pytest.mark.usefixtures("one_process")
def test_a_trainer_is_given_no_sensitive_column_and_a_run_shows_none(bench: runs.Bench) -> None:
    assert stage(bench, "fetch") == {}
    data = bench.volume("own").data
    for name in ("train", "validation"):
        given = pyarrow.parquet.read_table(data / f"{name}.parquet")
        assert given.column_names == ["email", "age", "plan", "label"]
        assert given.num_rows == bench.part(name).num_rows
        assert given.equals(bench.part(name).select(given.column_names))
    assert [one["name"] for one in json.loads((data / "schema.json").read_text())["fields"]] == given.column_names
    assert stage(bench, "train") == {}
    assert stage(bench, "evaluate")["outcome"] == "Succeeded"
    made = {path.name for path in bench.artifact("own", ".").iterdir()}
    assert {"golden.json", "profile.json", "card.html", "report.json", "model.onnx"} <= made


def test_a_version_without_sensitive_columns_is_fetched_to_the_byte(tmp_path: Path) -> None:
    made = runs.Bench(tmp_path)
    made.freeze(table().drop(columns=["diagnosis", "salary", "born", "note"]), "Int64")
    made.fetch("own")
    frozen_bytes = Path(str(made.frozen and made.frozen.uri).removeprefix("file://")) / "train.parquet"
    assert (made.volume("own").data / "train.parquet").read_bytes() == frozen_bytes.read_bytes()


@pytest.mark.parametrize("error", DEFECTS[:3], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [(fetch, "fetch"), (evaluate, "evaluate")])
def test_a_defect_of_a_run_is_told_by_its_type_and_place(
    bench: runs.Bench, monkeypatch: pytest.MonkeyPatch, at: tuple[Any, str], error: Exception
) -> None:
    monkeypatch.setattr(*at, raises(error))
    message = stage(bench, at[1])
    assert type(error).__name__ in message["message"]
