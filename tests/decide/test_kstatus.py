"""What kstatus, and so Flux, concludes: a refused spec is never Current, and nobody waits InProgress for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dataset_worlds import NOW, finished, frozen, looked, make_dataset, refused, truth
from dataset_worlds import after as after_look
from dataset_worlds import world as dataset_world
from millrace import api
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import model as models
from millrace.decide.dataset import Observation as DatasetObservation
from millrace.decide.deployment.observation import Trouble
from millrace_kit import kstatus
from millrace_kit.simulation import SimulatedCluster, make_model
from run_worlds import after as after_run
from run_worlds import make_dataset as run_dataset
from run_worlds import make_run
from run_worlds import world as run_world


def of(found: api.Dataset | api.TrainingRun | api.Model | api.Deployment) -> str:
    """With the rules of upstream; and never two of the three at once, whatever the order of the conditions."""
    conditions = {one.type: one.status for one in found.status.conditions}
    assert (conditions["Reconciling"], conditions["Stalled"]) != ("True", "True")
    return kstatus.compute(found.model_dump(mode="json", by_alias=True, exclude_none=True))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "Current"),
        ({"observedGeneration": -1}, "InProgress"),
        ({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "Unknown"}]}, "InProgress"),
        ({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}, "Current"),
        (
            {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True"}]},
            "Failed",
        ),
        (
            {"conditions": [{"type": "Reconciling", "status": "True"}, {"type": "Stalled", "status": "True"}]},
            "InProgress",
        ),
    ],
)
def test_the_rules_are_those_of_upstream(status: dict[str, Any], said: str) -> None:
    assert kstatus.compute({"metadata": {"generation": 1}, "status": status}) == said


# --- Deployment


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    assert of(cluster.deployment) == "Current"
    return cluster


def pinned(cluster: SimulatedCluster, name: str) -> None:
    cluster.change(modelSelector=None, modelRef={"name": name})


def test_a_model_ref_to_an_unapproved_model_is_failed_while_the_older_model_serves(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2, approved=False))
    pinned(serving, "churn-2")
    serving.settle(2)
    assert of(serving.deployment) == "Failed"
    assert next(one.status for one in serving.status.conditions if one.type == "Ready") == "True"
    assert serving.status.phase == "Stalled"
    assert "churn-1 serves" in (serving.status.message or "")
    assert "churn-2, which spec.modelRef names, is not approved" in (serving.status.message or "")
    assert [one.type for one in serving.events if one.reason == "NoApprovedModel"] == ["Warning"]
    serving.add(make_model("churn", 2))
    serving.settle(30)
    assert of(serving.deployment) == "Current"


def test_a_model_ref_to_a_quarantined_model_is_failed(serving: SimulatedCluster) -> None:
    serving.broken[f"sha256:{2:064x}"] = Trouble(reason="DigestMismatch", message="other bytes")
    serving.add(make_model("churn", 2))
    pinned(serving, "churn-2")
    serving.settle(6)
    assert of(serving.deployment) == "Failed"
    assert "churn-2 is quarantined: DigestMismatch" in (serving.status.message or "")


def test_a_model_ref_to_a_missing_model_is_in_progress_for_ten_minutes_and_then_failed(
    serving: SimulatedCluster,
) -> None:
    pinned(serving, "churn-7")
    plan = serving.pass_once()
    assert of(serving.deployment) == "InProgress"
    assert plan.wake_after == pytest.approx(600, abs=1)
    serving.settle(11, seconds=60)
    assert of(serving.deployment) == "Failed"
    assert "churn-7, which spec.modelRef names, does not exist" in (serving.status.message or "")
    assert serving.pending() == []
    serving.add(make_model("churn", 7))
    serving.settle(30)
    assert of(serving.deployment) == "Current"


def test_a_canary_that_starts_after_a_long_wait_for_its_model_has_its_own_time(serving: SimulatedCluster) -> None:
    pinned(serving, "churn-7")
    serving.settle(20, seconds=60)
    serving.slow.add(f"sha256:{7:064x}")
    serving.add(make_model("churn", 7))
    serving.settle(3)
    assert of(serving.deployment) == "InProgress"


def test_what_was_asked_before_and_cannot_be_served_any_more_is_failed_too(serving: SimulatedCluster) -> None:
    serving.change(modelSelector={"modelName": "other"})
    serving.add(make_model("other", 1, approved=False))
    serving.settle(2)
    assert of(serving.deployment) == "Failed"
    assert "1 of its versions wait for approval" in (serving.status.message or "")


def test_a_version_that_waits_for_approval_beside_one_that_serves_changes_nothing(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(2)
    assert of(serving.deployment) == "Current", "the newest approved version serves, as the spec asks"


def test_a_deployment_waits_for_a_run_but_not_for_ever_for_a_person() -> None:
    cluster = SimulatedCluster()
    cluster.pass_once()
    assert of(cluster.deployment) == "InProgress", "files are applied in any order"
    cluster.settle(11, seconds=60)
    assert of(cluster.deployment) == "Failed", "nobody makes a model"
    cluster.is_in_training = True
    cluster.settle(1)
    assert of(cluster.deployment) == "InProgress"
    cluster.add(make_model("churn", 1, approved=False))
    cluster.is_in_training = False
    cluster.settle(1)
    assert of(cluster.deployment) == "Failed", "the model waits for a person"
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    assert of(cluster.deployment) == "Current"


def test_a_rollout_is_in_progress_and_policies_that_are_off_are_failed(serving: SimulatedCluster) -> None:
    serving.policy_in_force = False
    serving.add(make_model("churn", 2))
    serving.pass_once()
    assert of(serving.deployment) == "Failed"
    serving.policy_in_force = True
    serving.pass_once()
    assert of(serving.deployment) == "InProgress"


# --- Dataset


def changed(seen: DatasetObservation, generation: int) -> DatasetObservation:
    """The spec was changed; nobody has looked yet."""
    metadata = seen.dataset.metadata.model_copy(update={"generation": generation})
    return seen.model_copy(update={"dataset": seen.dataset.model_copy(update={"metadata": metadata}), "jobs": ()})


def answered(seen: DatasetObservation, report: SnapshotReport, **more: Any) -> DatasetObservation:
    looking = after_look(seen)
    job = finished(str(looking.dataset.status.job_name), report, at=seen.now, **more)
    return after_look(looking.model_copy(update={"jobs": (job,)}), job)


def test_a_dataset_whose_changed_spec_fails_is_failed_while_the_older_version_is_used() -> None:
    good = looked(frozen())
    assert of(good.dataset) == "Current"
    spoilt = answered(changed(good, 2), refused("SchemaMismatch", "column age is not there"))
    assert of(spoilt.dataset) == "Failed"
    assert truth(spoilt, "Ready") == ("True", "SchemaMismatch")
    assert spoilt.dataset.status.phase == "Refused"
    text = spoilt.dataset.status.message or ""
    assert text.startswith("Version 1 has 100 rows. The changed spec added none: column age is not there. ")
    assert of(answered(changed(spoilt, 3), frozen()).dataset) == "Current"


def test_a_dataset_whose_rows_are_refused_under_a_spec_that_was_good_stays_current() -> None:
    due = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": NOW + timedelta(minutes=10)})
    spoilt = answered(due, refused("RuleViolated", "3 rows"))
    assert truth(spoilt, "Valid") == ("False", "RuleViolated")
    assert of(spoilt.dataset) == "Current"


def test_a_dataset_that_waits_for_the_store_is_in_progress() -> None:
    silent = SnapshotReport(SnapshotOutcome.FAILED, "StoreUnavailable", "no answer")
    seen = looked(silent, exit_code=1, reason="BackoffLimitExceeded")
    assert of(seen.dataset) == "InProgress"
    assert of(after_look(dataset_world(make_dataset())).dataset) == "InProgress"


# --- TrainingRun


def test_a_run_waits_for_its_dataset_in_progress_and_for_the_person_who_makes_one_failed() -> None:
    born = make_run()
    run = born.model_copy(update={"metadata": born.metadata.model_copy(update={"creation_timestamp": NOW})})
    seen = run_world(run)
    assert of(after_run(seen).run) == "InProgress"
    late = seen.model_copy(update={"now": NOW + timedelta(minutes=10)})
    assert of(after_run(late).run) == "Failed"
    jumped = late.model_copy(update={"steady_since": late.now})
    assert of(after_run(jumped).run) == "InProgress", "a clock that was set forward is no time that has passed"
    taken_over = after_run(late).model_copy(update={"steady_since": late.now})
    assert of(after_run(taken_over).run) == "Failed", "what is stalled stays so under another process"
    set_back = after_run(late).model_copy(update={"now": NOW - timedelta(hours=1)})
    assert of(after_run(set_back).run) == "Failed", "and when the clock is set back"
    assert of(after_run(late.model_copy(update={"dataset": run_dataset(None)})).run) == "InProgress"
    stalled = {"type": "Stalled", "status": "True", "reason": "SourceNotFound", "lastTransitionTime": NOW}
    dataset = run_dataset(None)
    status = dataset.status.model_validate({"conditions": [stalled], "message": "It is not there. Next: kubectl x"})
    waiting = after_run(seen.model_copy(update={"dataset": dataset.model_copy(update={"status": status})}))
    assert of(waiting.run) == "Failed"
    assert "It says: It is not there. Next:" in (waiting.run.status.message or ""), "one next command, its own"


# --- Model


@pytest.mark.parametrize(
    ("approved", "policy", "said"), [(False, True, "Failed"), (True, True, "Current"), (True, None, "InProgress")]
)
def test_a_model_that_waits_for_a_person_is_failed(approved: bool, policy: bool | None, said: str) -> None:
    found = make_model("churn", 1)
    required = {"required": 0} if approved else {"required": 1}
    spec = found.spec.model_copy(update={"approval_policy": api.model.ApprovalPolicy.model_validate(required)})
    found = found.model_copy(update={"spec": spec, "status": api.ModelStatus()})
    plan = models.decide(models.Observation(now=NOW, model=found, policy_in_force=policy))
    assert plan.status is not None
    told = found.model_copy(update={"status": api.ModelStatus.model_validate(plan.status)})
    assert of(told) == said
