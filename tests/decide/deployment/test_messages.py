"""What a Deployment tells people ends in the one command that helps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from millrace import api
from millrace.api import conditions
from millrace.api.base import rfc3339
from millrace.decide.deployment.observation import Trouble
from millrace_kit.simulation import START, SimulatedCluster, make_model

ERRORS = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}, "minSamples": 50}


@pytest.fixture
def serving() -> SimulatedCluster:
    """`churn-1` serves; a canary is analysed at 25 %."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(8)
    cluster.change(strategy={"canary": {"steps": [{"setWeight": 25}, {"analysis": {"metrics": [ERRORS]}}]}})
    return cluster


def next_step(message: str | None) -> str:
    return (message or "").partition(" Next: ")[2]


def condition(cluster: SimulatedCluster, kind: str) -> conditions.Condition:
    found = conditions.find(cluster.status.conditions, kind)
    assert found is not None
    return found


def event(cluster: SimulatedCluster, reason: str) -> str:
    return next(one.message for one in cluster.events if one.reason == reason)


def unquarantine(revision: str, time: datetime) -> str:
    request = f'"revision":"{revision}","reason":"quarantined at {rfc3339(time)}"'
    patch = f'{{"spec":{{"actions":{{"unquarantine":{{{request}}}}}}}}}'
    return f"kubectl -n ml patch mdep churn --type merge -p '{patch}'"


def canary_fails(cluster: SimulatedCluster) -> str:
    cluster.add(make_model("churn", 2))
    cluster.settle(4)
    canary = cluster.status.canary
    assert canary is not None
    cluster.serve(500, errors=0.5)
    cluster.settle(2)
    assert condition(cluster, "Progressing").reason == "RolledBack"
    return canary.revision


def test_a_rollback_tells_how_to_lift_the_quarantine(serving: SimulatedCluster):
    revision = canary_fails(serving)
    for told in (event(serving, "RolledBack"), condition(serving, "Progressing").message, serving.status.message):
        assert next_step(told) == unquarantine(revision, serving.status.quarantined[0].time)


def test_a_rollback_whose_quarantine_was_lifted_no_longer_tells_how(serving: SimulatedCluster):
    revision = canary_fails(serving)
    serving.add(make_model("churn", 2, approved=False))
    serving.change(actions={"unquarantine": {"revision": revision}})
    serving.settle(2)
    assert condition(serving, "Progressing").reason == "RolledBack"
    assert next_step(serving.status.message) == "kubectl -n ml describe mdep churn"


def test_a_canary_whose_approval_was_revoked_is_not_reported_as_quarantined(serving: SimulatedCluster):
    serving.add(make_model("churn", 2))
    serving.settle(4)
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(2)
    assert next_step(event(serving, "RolledBack")) == "kubectl -n ml get mmd -l millrace.dev/model-name=churn"


@pytest.mark.parametrize(
    "spec, prepare, command",
    [
        ({"modelSelector": {"modelName": "churn"}}, None, "get mmd -l millrace.dev/model-name=churn"),
        ({"modelRef": {"name": "churn-1"}}, None, "get mmd"),
        (
            {"modelRef": {"name": "churn-1"}},
            lambda one: one.add(make_model("churn", 1, approved=False)),
            "get mmd churn-1",
        ),
    ],
    ids=["no version", "no such Model", "not approved"],
)
def test_where_nothing_may_be_served_the_models_in_question_are_listed(
    spec: dict[str, Any], prepare: Callable[[SimulatedCluster], None] | None, command: str
):
    cluster = SimulatedCluster()
    cluster.change(**{"modelSelector": None, **spec})
    if prepare is not None:
        prepare(cluster)
    cluster.pass_once()
    assert condition(cluster, "Ready").reason == "NoApprovedModel"
    assert next_step(cluster.status.message) == f"kubectl -n ml {command}"


def test_a_first_model_that_is_being_trained_is_no_warning_and_the_run_is_what_to_look_at() -> None:
    cluster = SimulatedCluster()
    cluster.is_in_training = True
    cluster.pass_once()
    (told,) = [one for one in cluster.events if one.reason == "NoApprovedModel"]
    assert told.type == "Normal"
    assert next_step(told.message) == "kubectl -n ml get mtr,mmd"


def test_one_wait_has_one_next_command() -> None:
    """The first model's servers are ready, and no router has found one: it is the routers that one looks at."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    seen = set()
    for _ in range(8):
        cluster.settle(1)
        ready, progressing = condition(cluster, "Ready"), condition(cluster, "Progressing")
        if ready.reason == "Starting":
            available = condition(cluster, "Available")
            assert (available.reason, next_step(available.message)) == (progressing.reason, next_step(ready.message))
            assert progressing.message.partition("waits for ")[2] == available.message.partition("waits for ")[2]
            assert "is started as the first model, beside no other" in ready.message
            seen.add(progressing.reason)
            assert next_step(ready.message) == next_step(progressing.message), progressing.reason
    assert "WeightsNotApplied" in seen


def test_while_nothing_serves_no_stable_revision_is_spoken_of() -> None:
    cluster = SimulatedCluster()
    cluster.pass_once()
    told = condition(cluster, "Available").message
    assert told.startswith("nothing serves yet")
    assert condition(cluster, "Available").reason == "NothingServes"
    assert next_step(told) == "kubectl -n ml get mdep churn --watch", "there are no pods to look at"


def test_a_canary_with_all_the_traffic_leaves_no_rest_to_anybody(serving: SimulatedCluster) -> None:
    serving.change(strategy={"canary": {"steps": [{"setWeight": 25}], "disableDefaults": ["ErrorRate"]}})
    serving.add(make_model("churn", 2))
    told = set()
    for _ in range(12):
        serving.settle(1)
        if serving.status.canary is not None and serving.status.canary.weight == 100:
            told.add(serving.status.message or "")
    assert told
    assert all("then it replaces churn-1" in one and "serves the rest" not in one for one in told)


def test_pods_that_go_say_when(serving: SimulatedCluster) -> None:
    serving.change(strategy=None)
    serving.add(make_model("churn", 2))
    serving.settle(8)
    (leaving,) = serving.status.retiring
    assert leaving.drained_time is not None
    told = condition(serving, "Reconciling").message
    why = "30 s later, so that requests under way end"
    assert f"its pods go at {rfc3339(leaving.drained_time + timedelta(seconds=30))}, {why}" in told
    assert event(serving, "Retiring") == told
    serving.settle(20)
    assert [one.reason for one in serving.events].count("Retiring") == 1


def test_a_first_model_takes_everything_because_there_is_nothing_to_compare_it_with(serving: SimulatedCluster) -> None:
    assert "as the first model: with nothing to compare it with, it takes all traffic" in event(
        serving, "RolloutStarted"
    )


def going(model: api.Model) -> api.Model:
    """Somebody has deleted it, and a finalizer keeps it for a while."""
    metadata = model.metadata.model_copy(update={"deletion_timestamp": START})
    return model.model_copy(update={"metadata": metadata})


def undecided(version: int, reason: str) -> api.Model:
    model = make_model("churn", version, approved=False)
    (approved,) = model.status.conditions
    status = model.status.model_copy(update={"conditions": (approved.model_copy(update={"reason": reason}),)})
    return model.model_copy(update={"status": status})


@pytest.mark.parametrize(
    ("models", "why"),
    [
        ([undecided(1, "PendingApproval")], "1 of its versions wait for approval"),
        ([undecided(1, "Rejected")], "1 of its versions was rejected"),
        ([undecided(1, "Rejected"), undecided(2, "Rejected")], "2 of its versions were rejected"),
        ([undecided(1, "PolicyNotInForce")], "1 of its versions waits for the admission policies"),
        ([undecided(1, "CreatedUnchecked")], "1 of its versions was created while nobody checked by whom"),
        ([going(make_model("churn", 1))], "1 of its versions is being deleted"),
        (
            [undecided(1, "Rejected"), undecided(2, "PendingApproval")],
            "of its versions 1 wait for approval, 1 was rejected",
        ),
    ],
)
def test_a_version_that_nobody_may_approve_is_not_said_to_wait_for_approval(models: list[api.Model], why: str) -> None:
    cluster = SimulatedCluster()
    cluster.add(*models)
    cluster.pass_once()
    assert (cluster.status.message or "").startswith(f"no version of model churn is approved: {why}.")


def test_a_rejected_model_that_the_spec_names_is_called_so(serving: SimulatedCluster) -> None:
    serving.add(undecided(2, "Rejected"))
    serving.change(modelSelector=None, modelRef={"name": "churn-2"})
    serving.pass_once()
    assert condition(serving, "Stalled").message.startswith("Model churn-2, which spec.modelRef names, was rejected.")


def test_what_serves_and_is_being_deleted_is_not_called_unapproved(serving: SimulatedCluster) -> None:
    serving.add(going(serving.models["churn-1"]))
    serving.pass_once()
    assert (serving.status.message or "").startswith("churn-1 is being deleted and keeps serving")
    assert condition(serving, "Stalled").status == "False", "its successor may be on its way, for a while"


def test_whose_rollout_has_ended_badly_is_said_beside_what_serves(serving: SimulatedCluster) -> None:
    """`churn-1 serves; ... Aborted: wrong column` reads as if churn-1 had been."""
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.canary is not None
    revision = serving.status.canary.revision
    serving.change(actions={"abort": {"revision": revision, "reason": "wrong column"}})
    serving.settle(1)
    for told in (serving.status.message, condition(serving, "Progressing").message):
        assert f"churn-2 (revision {revision}) was stopped: wrong column." in (told or "")
    serving.add(make_model("churn", 3))
    serving.broken[f"sha256:{3:064x}"] = Trouble(reason="GoldenSetMismatch", message="row 3 differs")
    serving.settle(4)
    assert " was rolled back: GoldenSetMismatch: row 3 differs." in (serving.status.message or "")


def test_a_canary_whose_approvals_are_unknown_waits_for_no_policies(serving: SimulatedCluster) -> None:
    """As where its Model was applied anew: the policies are in force, and nobody has to do anything."""
    serving.change(strategy={"canary": {"steps": [{"setWeight": 25}], "disableDefaults": ["ErrorRate"]}})
    serving.slow.add(f"sha256:{2:064x}")
    serving.add(make_model("churn", 2))
    serving.settle(2)
    unknown = serving.models["churn-2"].model_copy(update={"status": api.ModelStatus()})
    serving.add(unknown)
    serving.slow.clear()
    serving.settle(6)
    assert serving.status.canary is not None
    assert condition(serving, "Progressing").reason == "ApprovalsNotCounted"
    assert condition(serving, "Stalled").status == "False"


def test_older_versions_that_are_approved_are_not_said_not_to_be_there(serving: SimulatedCluster) -> None:
    """Of a model whose newest version was deleted while it serves: it never goes back to an older one by itself."""
    serving.change(strategy=None)
    serving.add(make_model("churn", 2))
    serving.settle(8)
    del serving.models["churn-2"]
    serving.pass_once()
    why = "no version of model churn from 2 on (one before it is served only if spec.modelRef names it) is approved"
    assert condition(serving, "Progressing").message.startswith(f"{why}: there is none.")
    assert (serving.status.message or "").startswith(f"churn-2 is gone and keeps serving. {why}")
    serving.add(undecided(3, "Rejected"))
    serving.pass_once()
    assert condition(serving, "Stalled").message.startswith(f"{why}: 1 of its versions was rejected.")


def test_policies_that_are_off_are_named_in_the_one_line_and_nothing_is_in_progress(serving: SimulatedCluster) -> None:
    serving.policy_in_force = False
    serving.add(make_model("churn", 2))
    serving.pass_once()
    assert condition(serving, "Stalled").reason == "PolicyNotInForce"
    assert condition(serving, "Progressing").status == "False"
    told = serving.status.message or ""
    assert (
        "churn-1 serves; 1 of 1 servers gave the known answers to its golden set. The admission policies that check"
        in told
    )


def test_what_serves_without_approval_does_not_wait_for_what_is_there_already(serving: SimulatedCluster) -> None:
    serving.add(undecided(1, "Rejected"), make_model("churn", 2, inputs=11))
    serving.pass_once()
    assert (serving.status.message or "").startswith(
        "churn-1 is not approved any more and keeps serving. churn-2 is held"
    )


def test_a_canary_that_gave_way_is_named(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.settle(3)
    assert serving.status.canary is not None
    revision = serving.status.canary.revision
    serving.change(modelSelector=None, modelRef={"name": "churn-1"})
    serving.settle(1)
    told = (
        f"revision {revision} gave way: churn-1 (revision {serving.status.stable and serving.status.stable.revision})"
    )
    assert condition(serving, "Progressing").message.startswith(told)
