"""What a version's rows are like, as its Dataset says it: to people, bounded, and never a reason to refuse."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_worlds import NOW, after, finished, frozen, looked, make_dataset, second_look, truth, world
from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.contract.quality import LeakageSuspect, Quality
from millrace.contract.reading import ReadingSummary
from millrace.contract.report import SnapshotOutcome, SnapshotReport, Splits, termination_message
from millrace.decide import dataset as decisions
from millrace.decide.dataset import Observation

B = f"sha256:{'c' * 64}"


def with_quality(found: Quality, digest: str = B, splits: tuple[int, int, int] = (80, 10, 10)) -> SnapshotReport:
    return dataclasses.replace(frozen(digest), quality=found, splits=Splits(*splits))


def message(seen: Observation, kind: str) -> str:
    found = conditions.find(seen.dataset.status.conditions, kind)
    assert found is not None
    return found.message


def news(report: SnapshotReport) -> str:
    """The event of a version that is frozen after another one."""
    first = second_look(frozen()).dataset.status
    looking = after(world(make_dataset(generation=2, **first.wire())))
    job = finished(str(looking.dataset.status.job_name), report)
    return decisions.decide(looking.model_copy(update={"jobs": (job,)})).events[0].message


def test_what_is_striking_stands_in_the_status_of_the_version() -> None:
    found = Quality(duplicate_rows=7, moved_rows=3, leakage_suspects=(LeakageSuspect("paid_at", "AUC", "0.9987"),))
    seen = looked(with_quality(found))
    assert seen.dataset.status.current is not None
    assert seen.dataset.status.current.quality is not None
    assert seen.dataset.status.current.quality.wire() == {
        "duplicateRows": 7, "conflictingRows": 0, "sharedRows": 0, "copiedRows": 0, "nearCopiedRows": 0, "movedRows": 3,
        "leakageSuspects": [{"field": "paid_at", "measure": "AUC", "value": "0.9987"}],
    }  # fmt: skip


def test_a_suspected_feature_is_named_and_the_version_stands() -> None:
    seen = looked(with_quality(Quality(leakage_suspects=(LeakageSuspect("paid_at", "AUC", "0.9987"),))))
    assert '"paid_at" (AUC 0.9987) alone predicts the label' in message(seen, "Valid")
    assert truth(seen, "Valid") == ("True", "RulesPassed")
    assert truth(seen, "Ready")[0] == "True"


def test_a_version_without_a_word_about_its_rows_is_taken() -> None:
    seen = looked(frozen())
    assert seen.dataset.status.current is not None
    assert seen.dataset.status.current.quality is None
    assert "leakage" not in message(seen, "Valid")


def test_rows_that_moved_are_counted_in_the_event() -> None:
    assert "12 rows have another part than before" in news(with_quality(Quality(moved_rows=12)))
    assert "another part" not in news(with_quality(Quality()))


def test_a_train_part_that_cannot_shrink_says_why() -> None:
    assert "Rows that were trained on stay so: train has 90 %, not 80 %" in news(
        with_quality(Quality(), splits=(90, 5, 5))
    )
    assert "trained on" not in news(with_quality(Quality(), splits=(82, 9, 9)))


def test_a_version_with_nothing_to_test_on_says_so() -> None:
    assert "None is left to test on" in news(with_quality(Quality(), splits=(100, 0, 0)))


@pytest.mark.parametrize("value", ["nan", "", "one"])
def test_a_suspect_that_no_status_can_hold_ends_as_an_answer_of_another_version(value: str) -> None:
    seen = looked(with_quality(Quality(leakage_suspects=(LeakageSuspect("x", "AUC", value),))))
    assert truth(seen, "Ingested") == ("False", "MalformedReport")


@given(st.lists(st.text(min_size=1, max_size=128), max_size=5), st.integers(0, 2**50))
def test_a_report_with_suspects_of_any_name_fits_into_the_termination_message(names: list[str], count: int) -> None:
    suspects = tuple(LeakageSuspect(name, "R2", "0.9912") for name in names)
    told = dataclasses.replace(
        with_quality(Quality(*[count] * 8, leakage_suspects=suspects)),
        uri="s3://" + "u" * 900,
        profile_uri="s3://" + "u" * 900,
    )
    read = SnapshotReport.from_json(termination_message(told))
    assert read.quality is not None
    assert read.uri == told.uri
    assert read.quality.leakage_suspects == suspects[: len(read.quality.leakage_suspects)]
    assert bool(read.quality.leakage_suspects) == bool(suspects)


def test_a_suspicion_is_still_said_after_a_look_that_found_the_source_unchanged() -> None:
    known = looked(with_quality(Quality(leakage_suspects=(LeakageSuspect("paid_at", "AUC", "0.9987"),))))
    due = world(make_dataset(interval="10m", **known.dataset.status.wire()), now=NOW + timedelta(minutes=10))
    looking = after(due)
    unchanged = dataclasses.replace(frozen(B), outcome=SnapshotOutcome.UNCHANGED)
    job = finished(str(looking.dataset.status.job_name), unchanged, at=looking.now)
    again = after(looking.model_copy(update={"jobs": (job,)}), job)
    assert '"paid_at" (AUC 0.9987) alone predicts the label' in message(again, "Valid")
    assert message(again, "Ready").endswith("The source was read again since: its rows are still the same.")


def test_while_the_source_is_read_again_the_dataset_says_so() -> None:
    known = looked(frozen())
    due = world(make_dataset(interval="10m", **known.dataset.status.wire()), now=NOW + timedelta(minutes=10))
    assert message(after(due), "Ready").endswith(
        "The source is being read again, to see whether its rows have changed."
    )


def test_the_parts_stand_in_the_status_of_the_version() -> None:
    current = looked(frozen()).dataset.status.current
    assert current is not None
    assert current.parts is not None
    assert current.parts.wire() == {"train": 80, "validation": 10, "test": 10}


def test_what_is_striking_is_said_in_words_between_what_and_for_information() -> None:
    told = message(looked(with_quality(Quality(duplicate_rows=1234, conflicting_rows=9))), "Valid")
    assert (
        "For information, as nothing is refused for it: "
        "rows that repeat another one, label included (duplicateRows): 1,234; "
        "rows that agree with another one in all features and have another label (conflictingRows): 9."
    ) in told
    assert "For information" not in message(looked(with_quality(Quality())), "Valid")


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({}, "Rows with the same features"),
        ({"schema": {"fields": [{"name": "id", "type": "Int64", "role": "Id"}]}}, "Rows with one Id"),
        ({"split": {"groupBy": ["customer"]}}, "Rows of one group"),
    ],
)
def test_parts_that_are_not_exactly_as_asked_say_what_stays_together(spec: dict[str, Any], what: str) -> None:
    dataset = make_dataset()
    uneven = world(Dataset.model_validate(dataset.model_dump(by_alias=True) | {"spec": dataset.spec.wire() | spec}))
    looking = after(uneven)
    job = finished(str(looking.dataset.status.job_name), with_quality(Quality(), splits=(83, 8, 9)))
    told = decisions.decide(looking.model_copy(update={"jobs": (job,)})).events[0].message
    assert told.endswith(
        f"{what} stay in one part, so the parts have 83 %, 8 % and 9 % of the rows and not 80 %, 10 % and 10 %."
    )


def test_held_out_rows_are_counted_beside_how_many_are_held_out_and_what_is_usual() -> None:
    told = message(looked(with_quality(Quality(copied_rows=2, near_copied_rows=7), splits=(80, 9, 11))), "Valid")
    assert "held-out rows that agree with a train row in all features (copiedRows): 2 of 20" in told
    assert "as is usual where features take few values (nearCopiedRows): 7 of 20." in told


def test_a_dataset_that_declares_all_columns_shows_no_empty_headings_of_its_reading() -> None:
    told = looked(
        dataclasses.replace(frozen(), reading=ReadingSummary(dialect="comma-separated"))
    ).dataset.status.wire()
    assert told["reading"] == {"dialect": "comma-separated", "inferredColumns": 0}
    assert [name for name, value in told.items() if value == []] == []
