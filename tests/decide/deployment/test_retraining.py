"""From drift to a new TrainingRun: once, within the limits, and only with new data."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millrace import api
from millrace.api.deployment import Trigger
from millrace.decide.deployment import triggers
from millrace.decide.deployment.drift import Verdict
from millrace_kit.simulation import SimulatedCluster, make_model
from retraining_worlds import RETRAINING, SPEC, condition, dataset, drifts, finish, watched_cluster


@pytest.fixture
def watched() -> SimulatedCluster:
    return watched_cluster()


def test_drift_starts_a_clone_of_the_run_once(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(5)
    assert watched.created == [], "drift has not lasted for 60 s"
    watched.settle(60)
    (clone,) = watched.created
    assert clone["spec"]["author"] == "ada", "a clone keeps the author"
    assert clone["metadata"]["labels"]["millrace.dev/deployment-uid"] == "uid-churn"
    assert clone["metadata"]["labels"]["millrace.dev/trigger"] == "drifted"
    assert "ownerReferences" not in clone["metadata"], "deleting a Deployment never deletes history"
    assert len(clone["metadata"]["name"]) <= 52
    assert api.TrainingRunSpec.model_validate(clone["spec"]).output.model_name == "churn"
    assert [event.reason for event in watched.events].count("RetrainingStarted") == 1
    assert watched.status.retraining is not None
    assert (watched.status.retraining.state, watched.status.retraining.last_run) == (
        "Running",
        clone["metadata"]["name"],
    )
    assert watched.pending() == []


def test_a_clock_that_was_set_back_does_not_put_a_drift_trigger_off(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(5)
    assert condition(watched, "DriftDetected")[0] == "True"
    watched.now -= timedelta(hours=1)
    watched.settle(5)
    assert watched.created == [], "60 s from then on"
    watched.settle(60)
    assert len(watched.created) == 1


def test_a_run_that_a_person_deleted_is_not_started_again_for_the_same_cause(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(60)
    watched.runs = []
    watched.settle(600)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")
    watched.dataset = dataset(3)
    watched.settle(3)
    assert len(watched.created) == 2, "new data is another cause"


def test_without_new_data_no_run_starts_until_a_version_is_frozen(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(60)
    assert watched.created == []
    assert condition(watched, "DriftDetected") == ("True", "DriftDetected")
    assert condition(watched, "RetrainingBlocked") == ("True", "NoNewData")
    watched.dataset = dataset(2)
    watched.settle(2)
    assert len(watched.created) == 1


def test_a_start_counts_before_its_run_is_made_and_is_made_and_told_once_whatever_is_lost(
    watched: SimulatedCluster,
) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(3)
    watched.tick(60)
    watched.pass_once()
    assert watched.created == []
    assert watched.status.retraining is not None
    (start,) = watched.status.retraining.starts
    assert (start.is_made, watched.status.retraining.runs_last24h) == (False, 1)
    before = watched.status
    watched.pass_once()
    assert [one["metadata"]["name"] for one in watched.created] == [start.name]
    watched.deployment = watched.deployment.model_copy(update={"status": before})  # the status write was lost
    watched.events.clear()
    watched.settle(10)
    assert len(watched.created) == 1
    assert [event.reason for event in watched.events].count("RetrainingStarted") == 1
    assert [one.is_made for one in watched.status.retraining.starts] == [True]


def test_no_run_starts_while_a_rollout_is_under_way(watched: SimulatedCluster) -> None:
    watched.change(strategy={"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}]}})
    watched.add(make_model("churn", 2))
    watched.settle(3)
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(60)
    assert watched.created == []
    assert condition(watched, "RetrainingBlocked") == ("True", "RolloutInProgress")


def test_the_cooldown_and_the_day_limit_the_starts(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched)
    watched.dataset = dataset(3)
    watched.settle(5)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "CoolingDown")
    watched.settle(10, seconds=120)
    assert len(watched.created) == 2
    finish(watched)
    watched.dataset = dataset(4)
    watched.settle(10, seconds=120)
    assert len(watched.created) == 2
    assert condition(watched, "RetrainingBlocked") == ("True", "DailyLimit")
    assert watched.status.retraining is not None
    assert watched.status.retraining.runs_last24h == 2
    watched.now += timedelta(hours=24)
    watched.settle(3)
    assert len(watched.created) == 3


def test_runs_under_way_are_enough(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    watched.dataset = dataset(3)
    watched.settle(10, seconds=300)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "ConcurrencyLimit")


def test_a_run_that_failed_is_not_started_again_for_the_same_cause(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched)
    watched.settle(10, seconds=3600)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")


def test_drift_is_latched_until_another_model_serves(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(2)
    drifts(watched, Verdict("None", 0.01, -1.0, "tenure", 10**6, 0.0))
    watched.settle(20)
    assert condition(watched, "DriftDetected") == ("True", "DriftDetected")
    assert [event.reason for event in watched.events].count("DriftDetected") == 1
    watched.add(make_model("churn", 2))
    watched.settle(10)
    assert condition(watched, "DriftDetected") == ("Unknown", "InsufficientData")


def test_a_verdict_that_hardly_changes_is_not_written(watched: SimulatedCluster) -> None:
    drifts(watched, Verdict("None", 0.021, -0.1, "tenure", 1000, 0.01))
    watched.settle(10)
    written = watched.status
    for rows in range(1001, 1200, 20):
        drifts(watched, Verdict("None", 0.0213, -0.1, "tenure", rows, 0.0101))
        watched.tick(60)
        assert watched.pending() == []
    assert watched.status == written
    drifts(watched, Verdict("None", 0.05, -0.1, "age", 1300, 0.02))
    watched.settle(10)
    assert watched.status.monitoring is not None
    assert watched.status.monitoring.drift is not None
    assert watched.status.monitoring.drift.worst_feature == "age"


def test_a_verdict_waits_for_the_interval_and_is_not_forgotten(watched: SimulatedCluster) -> None:
    drifts(watched, Verdict("None", 0.02, -0.1, "tenure", 1000, 0.01))
    watched.pass_once()
    drifts(watched, Verdict("None", 0.05, -0.1, "age", 1300, 0.02))
    watched.tick(4)
    plan = watched.pass_once()
    assert plan.wake_after == pytest.approx(6, abs=1)


# --- limits that nobody can reset


def try_in_vain(cluster: SimulatedCluster, version: int) -> None:
    """New data, and a run on it that fails its gates, if one starts."""
    cluster.dataset = dataset(version)
    cluster.settle(4)
    finish(cluster)
    cluster.settle(6, seconds=120)


def test_deleting_runs_gives_no_start_back(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(40)
    for version in (2, 3, 4, 5):
        try_in_vain(watched, version)
        watched.runs = []
    assert len(watched.created) == 2, "maxRunsPerDay is 2"
    assert condition(watched, "RetrainingBlocked") == ("True", "DailyLimit")
    assert watched.status.retraining is not None
    assert watched.status.retraining.runs_last24h == 2


def test_labels_of_clones_are_not_what_is_counted(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.settle(40)
    for version in (2, 3, 4, 5):
        try_in_vain(watched, version)
        watched.runs = [run.model_copy(update={"metadata": stripped(run)}) for run in watched.runs]
    assert len(watched.created) == 2
    assert condition(watched, "RetrainingBlocked") == ("True", "DailyLimit")


def stripped(run: api.TrainingRun) -> Any:
    return run.metadata.model_copy(update={"labels": {}, "annotations": {}})


def test_the_starts_in_the_status_are_bounded(watched: SimulatedCluster) -> None:
    watched.change(retraining={**RETRAINING, "limits": {"cooldown": "0s", "maxRunsPerDay": 100}})
    drifts(watched)
    watched.settle(40)
    for version in range(2, 110):
        watched.dataset = dataset(version)
        watched.settle(3, seconds=300)
        finish(watched)
    assert watched.status.retraining is not None
    assert len(watched.status.retraining.starts) == 100
    assert watched.status.retraining.starts[-1].name == watched.status.retraining.last_run


def test_no_run_starts_while_a_candidate_waits_for_approval(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched, "Complete", modelRef={"name": "churn-2"})
    watched.add(make_model("churn", 2, approved=False))
    watched.dataset = dataset(3)
    watched.settle(10, seconds=300)
    assert len(watched.created) == 1
    assert condition(watched, "RetrainingBlocked") == ("True", "CandidateWaiting")
    told = next(one.message for one in watched.status.conditions if one.type == "RetrainingBlocked")
    assert told.endswith("Next: kubectl -n ml describe mmd churn-2")
    watched.add(rejected(2))
    watched.settle(4)
    assert len(watched.created) == 2, "a rejected one is out of the way"


def rejected(version: int) -> api.Model:
    model = make_model("churn", version, approved=False)
    (approved,) = model.status.conditions
    status = model.status.model_copy(update={"conditions": (approved.model_copy(update={"reason": "Rejected"}),)})
    return model.model_copy(update={"status": status})


def test_a_rejected_candidate_of_this_cause_is_not_promised_to_serve(watched: SimulatedCluster) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched, "Complete", modelRef={"name": "churn-2"})
    watched.add(make_model("churn", 2, approved=False))
    watched.settle(2)
    assert condition(watched, "RetrainingBlocked") == ("False", "RunStarted")
    watched.add(rejected(2))
    watched.settle(2)
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")


# --- triggers


def test_every_ripe_trigger_is_tried_and_not_only_the_first(
    watched: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's cause was answered in vain; the second one sees another cause."""
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    finish(watched)
    watched.settle(10, seconds=300)
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried")

    def other(situation: triggers.Situation, name: str, wish: Any) -> triggers.Fired:
        return triggers.Fired(trigger=name, cause=("other",), ripe_at=situation.seen.now, evidence="it is due")

    monkeypatch.setattr(triggers, "KINDS", {"drift": lambda *of: other(*of) if of[1] == "due" else drift(*of)})
    both = [*RETRAINING["triggers"], {"name": "due", "drift": {}}]
    watched.change(retraining={**RETRAINING, "triggers": both})
    watched.settle(3)
    assert len(watched.created) == 2
    assert watched.created[1]["metadata"]["labels"]["millrace.dev/trigger"] == "due"


drift = triggers.on_drift


def test_one_cause_is_answered_once_whichever_trigger_sees_it(watched: SimulatedCluster) -> None:
    both = [{"name": "soon", "drift": {"for": "10s"}}, {"name": "late", "drift": {"for": "60s"}}]
    watched.change(retraining={**RETRAINING, "triggers": both})
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(20)
    finish(watched)
    watched.settle(40, seconds=120)
    assert len(watched.created) == 1


def test_a_function_judges_every_kind_of_trigger_that_the_schema_takes() -> None:
    assert set(triggers.KINDS) == set(Trigger.model_fields) - {"name"}


# --- what is no verdict


@pytest.mark.parametrize("reason", ["StoreUnavailable", "PodRefused", "PodNotStarted", "PodLost"])
def test_a_cause_is_not_lost_to_infrastructure(watched: SimulatedCluster, reason: str) -> None:
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(40)
    failed = {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": "2026-11-21T08:00:00Z"}
    watched.runs = [
        run.model_copy(update={"status": api.TrainingRunStatus.model_validate({"conditions": [failed]})})
        for run in watched.runs
    ]
    watched.settle(2)
    assert condition(watched, "RetrainingBlocked") == ("True", "CoolingDown"), "the limits hold for it too"
    watched.settle(10, seconds=120)
    first, second = (one["metadata"]["name"] for one in watched.created)
    assert first != second
    finish(watched)
    watched.settle(10, seconds=300)
    assert len(watched.created) == 2
    assert condition(watched, "RetrainingBlocked") == ("True", "AlreadyTried"), "gates that do not hold are a verdict"


# --- the run to clone


def test_a_run_that_makes_another_model_is_named_at_once_and_stalls(watched: SimulatedCluster) -> None:
    spec = {**SPEC, "output": {"modelName": "other"}}
    watched.run = api.TrainingRun.model_validate({"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": spec})
    watched.settle(1)
    assert condition(watched, "RetrainingBlocked") == ("True", "AnotherModel")
    assert condition(watched, "Stalled") == ("True", "AnotherModel")
    assert condition(watched, "Ready") == ("True", "Serving")
    assert "makes versions of model other, and this Deployment follows model churn" in (watched.status.message or "")
    drifts(watched)
    watched.dataset = dataset(2)
    watched.settle(60)
    assert watched.created == []


def test_a_missing_run_is_named_before_it_is_needed(watched: SimulatedCluster) -> None:
    watched.run = None
    watched.settle(1)
    assert condition(watched, "RetrainingBlocked") == ("True", "TrainingRunMissing")
    assert "TrainingRun churn-gb, which is to be cloned, does not exist" in (watched.status.message or "")
