"""Reading and writing objects: nothing lost, nothing invented, unknown fields survived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace import api
from millrace.api import conditions, quantities
from millrace.api.base import Resource
from millrace.api.conditions import Condition, Mark

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SHAPES: dict[str, type[Resource[Any, Any]]] = {
    "Dataset": api.Dataset,
    "TrainingRun": api.TrainingRun,
    "Model": api.Model,
    "Deployment": api.Deployment,
}
SAMPLES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((ROOT / "manifests/samples").glob("*.yaml"))
    if not path.name.endswith(".patch.yaml")
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_and_written_back_with_its_defaults(name: str) -> None:
    read = SHAPES[SAMPLES[name]["kind"]].model_validate(SAMPLES[name])
    again = SHAPES[read.kind].model_validate(read.wire())
    assert again == read


@pytest.mark.parametrize("kind", SHAPES)
def test_a_status_is_written_as_it_was_read(kind: str) -> None:
    stated = yaml.safe_load((ROOT / f"tests/api/statuses/{kind.lower()}.yaml").read_text())
    shape = SHAPES[kind].model_fields["status"].annotation
    assert shape is not None
    written = shape.model_validate(stated).wire()
    assert written == with_empty_messages(stated)


def with_empty_messages(status: dict[str, Any]) -> dict[str, Any]:
    """The status as written: a condition always has a message."""
    shown = [{"message": "", **condition} for condition in status["conditions"]]
    return {**status, "conditions": shown}


def test_a_field_from_the_future_does_not_stop_an_old_operator() -> None:
    sample = {**SAMPLES["dataset"], "status": {"phase": "Ready", "invented": {"later": True}}}
    sample["spec"] = {**sample["spec"], "invented": 1}
    assert api.Dataset.model_validate(sample).status.phase == "Ready"


def test_values_are_frozen() -> None:
    dataset = api.Dataset.model_validate(SAMPLES["dataset"])
    with pytest.raises(ValidationError, match="frozen"):
        dataset.spec.format = "CSV"  # type: ignore[misc]


def test_times_are_written_in_whole_utc_seconds() -> None:
    status = api.DatasetStatus(last_check_time=NOW + timedelta(microseconds=999))
    assert status.wire()["lastCheckTime"] == "2026-11-21T08:00:00Z"


# -------------------------------------------------------------------------------------------------------- durations
@pytest.mark.parametrize(
    "text,seconds", [("1h30m", 5400.0), ("45s", 45.0), ("250ms", 0.25), ("0s", 0.0), ("1h1m1s1ms", 3661.001)]
)
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert quantities.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "1d", "1m1h", "-1s", "1.5h", "1 h", "1234567s", "1h\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        quantities.seconds(text)


@given(st.integers(0, 999999), st.integers(0, 999999), st.integers(0, 999999))
def test_every_duration_moves_a_date(hours: int, minutes: int, seconds: int) -> None:
    moved = NOW + timedelta(seconds=quantities.seconds(f"{hours}h{minutes}m{seconds}s"))
    assert moved - NOW == timedelta(hours=hours, minutes=minutes, seconds=seconds)


# ------------------------------------------------------------------------------------------------------- conditions
def condition(kind: str, status: conditions.Truth, since: datetime) -> Condition:
    return Condition(type=kind, status=status, reason="Because", last_transition_time=since)


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    earlier = NOW - timedelta(hours=1)
    before = [condition("Ready", "True", earlier), condition("Stalled", "False", earlier)]
    marks = [Mark(type="Stalled", status="True", reason="Broken"), Mark(type="Ready", status="True", reason="Other")]
    merged = conditions.merge(before, marks, NOW, generation=3)
    assert [(c.type, c.status, c.reason, c.last_transition_time, c.observed_generation) for c in merged] == [
        ("Ready", "True", "Other", earlier, 3),
        ("Stalled", "True", "Broken", NOW, 3),
    ]


def test_a_condition_that_is_no_longer_stated_goes_and_the_later_of_two_wins() -> None:
    before = [condition("Gone", "True", NOW)]
    marks = [Mark(type="Ready", status="True", reason="First"), Mark(type="Ready", status="False", reason="Second")]
    assert [(c.type, c.reason) for c in conditions.merge(before, marks, NOW, 1)] == [("Ready", "Second")]


def test_a_long_message_is_cut_to_what_the_schema_takes() -> None:
    (merged,) = conditions.merge([], [Mark(type="Ready", status="True", reason="R", message="x" * 5000)], NOW, 1)
    assert len(merged.message) == 1024


def test_a_condition_is_found_by_type() -> None:
    known = [condition("Ready", "Unknown", NOW), condition("Stalled", "True", NOW)]
    assert conditions.is_true(known, "Stalled")
    assert not conditions.is_true(known, "Ready")
    assert conditions.find(known, "Missing") is None
