"""What a Deployment says of drift, of the run that answers it and of the limits."""

from __future__ import annotations

import pytest

from millrace import api
from millrace_kit.simulation import SimulatedCluster, make_model
from retraining_worlds import condition, dataset, drifts, finish, watched_cluster


@pytest.fixture
def watched() -> SimulatedCluster:
    return watched_cluster()


def told(cluster: SimulatedCluster) -> str:
    return next(one.message for one in cluster.status.conditions if one.type == "RetrainingBlocked")


def test_a_trigger_that_waits_for_drift_to_last_says_until_when(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(5)
    assert condition(watched, "RetrainingBlocked") == ("False", "WithinLimits")
    assert "trigger drifted asks for a run at 2026-11-21T08:" in told(watched)
    alarm = next(one.message for one in watched.status.conditions if one.type == "DriftDetected")
    assert "Trigger drifted asks for a run at 2026-11-21T08:" in alarm
    assert "acknowledgeDrift" not in alarm.partition(" Next: ")[2], "nothing is to be done about it"


def test_while_a_run_answers_drift_the_one_line_names_both(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(70)
    (clone,) = watched.created
    assert "drift in" in (watched.status.message or "")
    assert f"TrainingRun {clone['metadata']['name']} trains a new version" in (watched.status.message or "")


def test_drift_that_was_answered_is_not_held_up_by_the_rollout_of_its_answer(watched: SimulatedCluster) -> None:
    watched.change(strategy={"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}]}})
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(70)
    finish(watched, "Complete", modelRef={"name": "churn-2"})
    watched.add(make_model("churn", 2))
    watched.settle(20)
    assert watched.status.canary is not None
    assert condition(watched, "RetrainingBlocked") == ("False", "RunStarted")
    assert "made churn-2, which is being rolled out" in told(watched)


def test_the_cooldown_is_told_also_while_nothing_asks_for_a_run_and_ends_by_itself(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(70)
    finish(watched, "Complete", modelRef={"name": "churn-2"})
    watched.add(make_model("churn", 2))
    watched.settle(40)
    assert watched.status.stable is not None
    assert watched.status.stable.model == "churn-2"
    assert watched.status.retraining is not None
    assert watched.status.retraining.state == "Cooldown"
    assert condition(watched, "RetrainingBlocked") == ("False", "CoolingDown"), "and not WithinLimits"
    assert "no trigger asks for a run; after churn-drifted-" in told(watched)
    assert "no run starts before 2026-11-21T08:" in told(watched)
    watched.settle(40, seconds=120)
    assert watched.status.retraining.state == "Idle"
    assert told(watched) == "no trigger asks for a run"
    assert condition(watched, "RetrainingBlocked") == ("False", "WithinLimits")


def says(cluster: SimulatedCluster, kind: str) -> str:
    return next(one.message for one in cluster.status.conditions if one.type == kind)


def test_an_alarm_promises_no_start_of_a_run_that_was_started_or_has_ended(watched: SimulatedCluster) -> None:
    watched.change(strategy={"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}]}})
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(70)
    (clone,) = watched.created
    name = clone["metadata"]["name"]
    assert f"TrainingRun {name} is under way. The alarm" in says(watched, "DriftDetected")
    finish(watched, "Complete", modelRef={"name": "churn-2"})
    watched.add(make_model("churn", 2))
    watched.settle(20)
    made = f"TrainingRun {name} was started for this drift and made churn-2, which is being rolled out. The alarm"
    assert made in says(watched, "DriftDetected")


def test_an_alarm_that_something_holds_back_says_so_and_looks_where_that_is(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(70)
    assert condition(watched, "RetrainingBlocked") == ("True", "NoNewData")
    for text in (says(watched, "DriftDetected"), watched.status.message or ""):
        assert "condition RetrainingBlocked" in text
        assert text.endswith("Next: kubectl -n ml get mds customers --watch")
    assert "No TrainingRun starts for it now" in says(watched, "DriftDetected")


def test_how_to_end_an_alarm_is_told_in_full_also_where_another_command_is_printed(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(5)
    assert watched.status.stable is not None
    asked = f"spec.actions.acknowledgeDrift (revision {watched.status.stable.revision}, evaluatedTime 2026-11-21T08:"
    assert asked in says(watched, "DriftDetected")


@pytest.mark.parametrize(
    ("status", "refresh", "when"),
    [
        (
            {"nextCheckTime": "2026-11-21T08:10:00Z"},
            {"interval": "15m"},
            "is read next at 2026-11-21T08:10:00Z, and every 15m",
        ),
        ({"nextCheckTime": "2026-11-21T08:10:00Z", "jobName": "look"}, {"interval": "15m"}, "is being read now"),
        ({}, None, "is read again only when its spec changes, as it has no spec.refresh"),
    ],
)
def test_who_has_uploaded_rows_already_is_told_when_they_are_read(
    watched: SimulatedCluster, status: dict[str, str], refresh: dict[str, str] | None, when: str
) -> None:
    wire = dataset(1).model_dump(mode="json", by_alias=True, exclude_none=True)
    wire["status"] |= status
    wire["spec"] |= {"refresh": refresh} if refresh is not None else {}
    watched.dataset = api.Dataset.model_validate(wire)
    drifts(watched)
    watched.settle(70)
    assert f"Its source {when}." in told(watched)
    assert "Upload new rows if you have not." in told(watched)


def test_beside_rows_that_a_person_has_to_upload_it_is_not_said_that_nobody_is_waited_for(
    watched: SimulatedCluster,
) -> None:
    assert says(watched, "Stalled") == "nothing waits for a person"
    drifts(watched)
    watched.settle(70)
    assert condition(watched, "Stalled") == ("False", "Settled")
    assert says(watched, "Stalled").endswith("a person; retraining does, see condition RetrainingBlocked")


def test_a_run_that_is_asked_for_and_may_not_start_is_told_once_in_an_event(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(90)
    assert [(one.type, one.message) for one in watched.events if one.reason == "NoNewData"] == [
        ("Warning", told(watched))
    ]
