"""An Id that is to be forgotten is in no later version, and everybody is told which versions have it still."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_kit import tasks, versions

from millrace.contract import erasure, places
from millrace.contract.report import SnapshotReport
from millrace_runtime import store
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import identity, manifest
from millrace_runtime.snapshot.hashing import Hashes

WRITES = 9
"""The account, three parts, what the next version must know, three reports, the manifest."""
KEY, OTHER_KEY = "a key of sixteen bytes and more", "another key of sixteen bytes"
FIELDS = [
    {"name": "customer", "type": "Int64", "role": "Id"},
    {"name": "household", "type": "String", "role": "Id"},
    {"name": "age", "type": "Int64"},
    {"name": "paid", "type": "Bool", "role": "Label"},
]


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("ERASURE_key", KEY)


@pytest.fixture
def people(dataset) -> tasks.Dataset:
    """400 customers, two to a household."""
    dataset.spec = {"schema": {"mode": "Strict", "fields": FIELDS}, "split": {"groupBy": ["household"]}}
    write(dataset, table())
    return dataset


def table(rows: int = 400, shift: int = 0) -> pd.DataFrame:
    numbers = pd.Series(range(1000, 1000 + rows))
    return pd.DataFrame(
        {
            "customer": numbers,
            "household": "h" + (numbers // 2).astype(str),
            "age": 20 + numbers % 60 + shift,
            "paid": numbers % 3 == 0,
        }
    )


def write(dataset: tasks.Dataset, rows: pd.DataFrame) -> None:
    dataset.write("a.csv", rows.to_csv(index=False))


def forgetting(*ids: object, field: str = "customer", key: str = KEY) -> dict[str, Any]:
    digests = {erasure.digest(key.encode(), str(one)): "DSR-1" for one in ids}
    return {"erasure": {"field": field, "ids": digests}}


def in_part(report: SnapshotReport, part: str, column: str = "customer") -> str:
    """Some value of the column in that part."""
    return min(versions.values(report, column)[part])


def holders(report: SnapshotReport) -> dict[str, tuple[list[str], list[str]]]:
    """Beginning of a digest to the versions that have it in what is trained on, and in what is only tested on."""
    assert report.erasure is not None
    told = report.erasure.versions
    return {one.id: ([told[at] for at in one.trained], [told[at] for at in one.tested]) for one in report.erasure.held}


def told(value: object) -> str:
    return erasure.digest(KEY.encode(), str(value))[: erasure.SHORT_DIGITS]


def remembered(report: SnapshotReport) -> set[int]:
    """Keys of units that the version would know again."""
    return set(pyarrow.parquet.read_table(report.uri.removeprefix("file://") + "assignment.parquet")["key"].to_pylist())


def keys(report: SnapshotReport, customer: object) -> dict[str, int]:
    """Keys of a customer and of the household, as the version makes them."""
    era = manifest.load(report.uri, report.digest).eras[0]
    rows = table()
    row = rows[rows.customer == int(str(customer))]
    held = Hashes(pa.Table.from_pandas(row, preserve_index=False), era.columns)
    (own,), (of_group,) = (identity.keys_with(held, era, name) for name in ("customer", "household"))
    return {"customer": int(own[0]), "household": int(of_group[0])}


def test_an_id_is_in_no_later_version_though_the_source_has_it(people):
    before = people.look()
    someone = in_part(before, "train")
    after = people.look(**forgetting(someone))
    assert (after.outcome, after.rows, after.erasure.rows) == ("Frozen", before.rows - 1, 1)
    assert someone not in set().union(*versions.values(after, "customer").values())
    write(people, table(shift=1))
    later = people.look(**forgetting(someone))
    assert (later.outcome, later.rows) == ("Frozen", before.rows - 1)
    assert someone not in set().union(*versions.values(later, "customer").values())


def test_what_is_frozen_is_what_a_source_without_those_rows_gives(people, tmp_path):
    gone = [1003, 1200, 1201]
    erased = people.look(**forgetting(*gone))
    other = tasks.Dataset(tmp_path / "other", spec=people.spec)
    write(other, table()[~table().customer.isin(gone)])
    assert erased.digest == other.look().digest


def test_the_order_of_the_list_and_its_reasons_change_nothing(people, tmp_path):
    asked = forgetting(1003, 1200, 1201)["erasure"]
    turned = {**asked, "ids": dict.fromkeys(reversed(asked["ids"]), "another")}
    first = people.look(erasure=asked)
    again = people.look(erasure=turned)
    assert (again.outcome, again.digest) == ("Unchanged", first.digest)
    other = tasks.Dataset(tmp_path / "other", spec=people.spec)
    write(other, table())
    assert other.look(erasure=turned).digest == first.digest


def test_versions_that_still_hold_an_id_are_told_by_whether_it_was_trained_on(people):
    first = people.look()
    trained, validated, tested = (in_part(first, part) for part in ("train", "validation", "test"))
    write(people, table(shift=1))
    second = people.look()
    report = people.look(**forgetting(trained, validated, tested, 9_999_999))
    folders = sorted(places.short(one.digest) for one in (first, second))
    assert holders(report) == {
        told(trained): (folders, []),
        told(validated): (folders, []),
        told(tested): ([], folders),
    }
    assert (report.erasure.ids, report.erasure.held_ids, report.erasure.unread_versions) == (4, 3, 0)
    account = json.loads(store.read_bytes(report.erasure.account_uri))
    assert account["versions"][folders[0]][erasure.digest(KEY.encode(), tested)] == {
        "train": 0,
        "validation": 0,
        "test": 1,
    }
    assert set(account["references"].values()) == {"DSR-1"}


def test_a_version_that_is_gone_from_the_store_holds_nobody_and_its_models_are_still_told(people):
    first = people.look()
    someone = in_part(first, "train")
    write(people, table(shift=1))
    second = people.look()
    assert people.look(**forgetting(someone)).erasure.held_ids == 1
    for version in (first, second):
        for path in Path(version.uri.removeprefix("file://")).iterdir():
            path.unlink()
        report = people.look(**forgetting(someone))
    assert (report.erasure.held_ids, report.erasure.trained, report.erasure.gone) == (0, (0, 1), (0, 1))


def test_versions_without_any_are_told_so_that_their_models_are_known_to_be_without_too(people):
    write(people, table().iloc[2:])
    first = people.look()
    write(people, table())
    second = people.look()
    third = people.look(**forgetting(1000))
    write(people, table(shift=1))
    report = people.look(**forgetting(1000))
    assert report.erasure.versions == (places.short(second.digest),)
    assert report.erasure.clear == tuple(sorted(places.short(one.digest)[7:15] for one in (first, third)))


def test_a_version_that_is_damaged_is_counted_as_one_that_nobody_can_speak_for(people):
    first = people.look()
    write(people, table(shift=1))
    people.look()
    (Path(first.uri.removeprefix("file://")) / "test.parquet").write_bytes(b"PAR1")
    report = people.look(**forgetting(1003))
    assert (report.outcome, report.erasure.unread_versions, len(report.erasure.versions)) == ("Frozen", 1, 1)


def test_versions_are_looked_through_once(people, capsys):
    people.look()
    people.look(**forgetting(1003))
    assert capsys.readouterr().out.count("looked through") == 1
    write(people, table(shift=1))
    people.look(**forgetting(1003))
    assert "looked through" not in capsys.readouterr().out


def test_an_id_that_left_the_source_first_is_told_of_and_nothing_is_frozen_for_it(people, capsys):
    people.look()
    write(people, table().iloc[1:])
    second = people.look()
    capsys.readouterr()
    report = people.look(**forgetting(1000))
    assert (report.outcome, report.digest) == ("Unchanged", second.digest)
    assert report.erasure.held_ids == 1
    capsys.readouterr()
    # Nothing has to be read again for what was found to change nothing.
    report = people.look(**forgetting(1000))
    assert (report.outcome, report.erasure.held_ids) == ("Unchanged", 1)
    assert "checked" not in capsys.readouterr().out


def test_the_next_version_does_not_remember_an_id(people):
    first = people.look()
    someone = in_part(first, "test")
    assert set(keys(first, someone).values()) <= remembered(first)
    second = people.look(**forgetting(someone))
    mine = keys(second, someone)
    assert mine["customer"] not in remembered(second)
    # The other one of the household is known by it, and must not change sides.
    assert mine["household"] in remembered(second)


def test_an_id_that_left_the_source_long_ago_is_not_remembered_either(people):
    first = people.look()
    someone = in_part(first, "train")
    write(people, table()[table().customer != int(someone)])
    second = people.look()
    assert keys(second, someone)["customer"] in remembered(second)
    people.look(**forgetting(someone))
    write(people, table(shift=1)[table().customer != int(someone)])
    third = people.look(**forgetting(someone))
    assert keys(third, someone)["customer"] not in remembered(third)


def test_everybody_else_keeps_the_part_they_had(people):
    first = people.look()
    gone = [in_part(first, part) for part in ("train", "validation", "test")]
    second = people.look(**forgetting(*gone))
    before, after = versions.part_of(first, "customer"), versions.part_of(second, "customer")
    assert after == {customer: part for customer, part in before.items() if customer not in gone}


def test_a_household_is_forgotten_by_its_own_id(people):
    people.look()
    report = people.look(**forgetting("h500", "h501", field="household"))
    assert report.rows == 396
    assert set(versions.parts(report)["train"].household) & {"h500", "h501"} == set()


@pytest.mark.parametrize(
    "kind,ids", [("String", ["007", "8", "eve "]), ("Category", ["7", "008", "eve"]), ("String", ["+7", "8.0", " eve"])]
)
def test_an_id_is_the_same_however_it_is_written(dataset, kind, ids):
    rows = pd.DataFrame({"id": ["7", "008", "eve", "adam"] * 10, "x": range(40)})
    dataset.write("a.csv", rows.to_csv(index=False))
    fields = [{"name": "id", "type": kind, "role": "Id"}, {"name": "x", "type": "Int64"}]
    report = dataset.look(schema={"mode": "Strict", "fields": fields}, **forgetting(*ids, field="id"))
    assert report.rows == 10


def test_an_id_keeps_being_forgotten_when_its_column_gets_another_type_and_another_name(people):
    first = people.look()
    write(
        people, table(shift=1).rename(columns={"customer": "who"}).assign(who=lambda rows: "00" + rows.who.astype(str))
    )
    fields = [{"name": "who", "type": "String", "role": "Id"}, *FIELDS[1:]]
    report = people.look(schema={"mode": "Strict", "fields": fields}, **forgetting(1003, field="who"))
    assert report.rows == 399
    assert holders(report)[told(1003)][0] == [places.short(first.digest)]
    assert keys(first, 1003)["customer"] not in remembered(report)


def test_all_rows_of_an_id_go_though_it_tells_them_apart_with_others(dataset):
    rows = pd.DataFrame({"customer": [1, 1, 1, 2, 2, 12] * 9, "month": [1, 2, 12, 1, 12, 3] * 9, "x": range(54)})
    dataset.write("a.csv", rows.to_csv(index=False))
    fields = [{"name": name, "type": "Int64", "role": "Id"} for name in ("customer", "month")]
    how = {"schema": {"mode": "Strict", "fields": [*fields, {"name": "x", "type": "Int64"}]}}
    dataset.look(**how)
    report = dataset.look(**how, **forgetting(12))
    assert (report.rows, report.erasure.rows) == (45, 9)


def test_rules_are_about_the_rows_that_stay(people):
    write(people, pd.concat([table(), table().iloc[3:4]]))
    rules = {"rules": [{"name": "once", "unique": {"fields": ["customer"]}}, {"name": "all", "rowCount": {"max": 399}}]}
    assert people.look(validation=rules).reason == "RuleViolated"
    assert people.look(validation=rules, **forgetting(1003)).outcome == "Frozen"


def test_a_source_of_nobody_else_is_empty(people):
    write(people, table().iloc[:2])
    report = people.look(**forgetting(1000, 1001))
    assert (report.outcome, report.reason) == ("Rejected", "SourceEmpty")
    assert "no rows but of Ids that are to be forgotten" in report.message


@pytest.mark.parametrize("held", [{}, {"ERASURE_key": OTHER_KEY}, {"ERASURE_key": "short"}])
def test_a_digest_of_another_key_freezes_nothing_instead_of_forgetting_nobody(people, monkeypatch, held):
    monkeypatch.delenv("ERASURE_key")
    for name, value in held.items():
        monkeypatch.setenv(name, value)
    report = people.look(**forgetting(1003))
    assert (report.outcome, report.reason) == ("Failed", "ErasureKeyMissing")
    assert people.previous is None
    assert KEY not in report.message
    assert OTHER_KEY not in report.message


def test_keys_may_be_several_so_that_one_can_be_followed_by_another(people, monkeypatch):
    monkeypatch.setenv("ERASURE_new", f"{OTHER_KEY}\n")
    both = forgetting(1003)["erasure"]["ids"] | forgetting(1004, key=OTHER_KEY)["erasure"]["ids"]
    assert people.look(erasure={"field": "customer", "ids": both}).rows == 398


def test_who_holds_an_id_is_told_though_the_source_is_refused(people):
    people.look()
    people.write("a.csv", "customer,household\n1,2\n")
    report = people.look(**forgetting(1003))
    assert (report.outcome, report.erasure.held_ids) == ("Rejected", 1)


def test_a_store_that_fails_at_any_write_delays_the_answer_and_changes_nothing_of_it(people, monkeypatch, tmp_path):
    people.look()
    asked = forgetting(1003, 1200)
    right = tasks.Dataset(people.folder, people.previous, people.spec).look(**asked)
    real, calls = store.write_bytes, [0]

    def failing(at):
        def write_bytes(uri, data, **how):
            calls[0] += 1
            if calls[0] == at:
                raise store.StoreUnavailable("the store did not serve it")
            real(uri, data, **how)

        return write_bytes

    for at in range(1, WRITES + 1):
        other = tasks.Dataset(tmp_path / f"failed-{at}", spec=people.spec)
        write(other, table())
        other.look()
        calls[0] = 0
        monkeypatch.setattr(store, "write_bytes", failing(at))
        with pytest.raises(StageError) as caught:
            other.look(**asked)
        assert caught.value.retry
        report = other.look(**asked)
        assert (report.digest, holders(report)) == (right.digest, holders(right))
    assert calls[0] == at + WRITES - 1, "the account is there: all others were written again, and no more"


def test_the_report_names_the_first_and_counts_all(people):
    people.look()
    report = people.look(**forgetting(*range(1000, 1400)))
    assert report.outcome == "Rejected"  # nobody is left
    assert (report.erasure.held_ids, len(report.erasure.held)) == (400, erasure.MOST_HELD)
    from millrace.contract.report import termination_message

    text = termination_message(dataclasses.replace(report, message="x" * 4000))
    assert SnapshotReport.from_json(text).erasure.held_ids == 400
