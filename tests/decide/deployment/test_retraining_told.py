"""What a Deployment says of drift, of the run that answers it and of the limits."""

from __future__ import annotations

import pytest

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
    assert "Trigger drifted starts a TrainingRun once it has lasted 60s" in alarm
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
    assert "no trigger asks for a run; after churn-drifted-" in told(watched)
    assert "no run starts before 2026-11-21T08:" in told(watched)
    watched.settle(40, seconds=120)
    assert watched.status.retraining.state == "Idle"
    assert told(watched) == "no trigger asks for a run"
