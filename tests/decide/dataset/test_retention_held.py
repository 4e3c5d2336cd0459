"""What is over a limit and stays all the same, and why."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.contract import places
from retention_story import MODELS, RUNS, folder, held, six_versions, version_folder
from retention_worlds import KEEP, Namespace, digest, is_true


@pytest.fixture
def space() -> Namespace:
    """Six versions, runs and Models; three of each are kept."""
    return six_versions()


APPROVED = {"conditions": [is_true("Approved", "QuorumReached")]}
AUTOMATIC = {"approvalPolicy": {"required": 0}, "status": {"conditions": [is_true("Approved", "AutoApproved")]}}

STAYS: dict[str, tuple[Any, str]] = {
    "is stable": (lambda one: one.deployment(status={"stable": {"model": "churn-1"}}), "Served"),
    "is a canary": (lambda one: one.deployment(status={"canary": {"model": "churn-1"}}), "Served"),
    "is retiring": (lambda one: one.deployment(status={"retiring": [{"model": "churn-1"}]}), "Served"),
    "is pinned": (lambda one: one.deployment({"modelRef": {"name": "churn-1"}}), "Served"),
    "is allowed to differ": (
        lambda one: one.deployment(
            {"modelSelector": {"modelName": "churn"}, "strategy": {"allowSignatureChange": "churn-1"}}
        ),
        "Served",
    ),
    "says it is served": (
        lambda one: one.change_model(1, status={"conditions": [], "deployedIn": [{"name": "d"}]}), "Served",
    ),
    "is the champion": (lambda one: one.change_model(1, status={"conditions": [], "aliases": ["champion"]}), "Served"),
    "is approved": (lambda one: one.change_model(1, status=APPROVED), "Approved"),
    "was approved a moment ago": (lambda one: one.approve(1), "Approved"),
    "is approved by its gates": (lambda one: one.change_model(1, **AUTOMATIC), "Approved"),
    "is rejected": (lambda one: one.approve(1, "Reject"), "Rejected"),
    "is in quarantine": (
        lambda one: one.change_model(
            1, status={"conditions": [{**is_true("Approved"), "status": "False"}], "quarantine": {"record": "r"}}
        ),
        "Quarantined",
    ),
    "is judged by nobody yet": (lambda one: one.change_model(1, status={}), "NotJudged"),
    "has an unknown approval": (
        lambda one: one.change_model(1, status={"conditions": [{**is_true("Approved"), "status": "Unknown"}]}),
        "NotJudged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", STAYS)
def test_a_model_stays_with_its_run_its_version_and_its_files_if_it(why: str, space: Namespace) -> None:
    change, reason = STAYS[why]
    change(space)
    files = {uri for uri in space.files if places.is_in(uri, folder(1)) or places.is_in(uri, version_folder(1))}
    space.settle()
    assert "churn-1" in space.names(MODELS)
    assert "run-1" in space.names(RUNS)
    assert 1 in space.versions()
    assert files <= space.files
    assert held(space)["Model churn-1"] == reason
    assert held(space)["TrainingRun run-1"] == "ModelKept"
    assert held(space)["Version 1"] == "Used"
    assert "churn-2" not in space.names(MODELS), "the others go"


def test_bytes_that_were_rejected_under_another_name_stay_too(space: Namespace) -> None:
    space.model(9, on=0)
    other = space.objects[MODELS, "churn-9"]["spec"]["artifact"]["digest"]
    known = space.objects[MODELS, "churn-1"]["spec"]["artifact"]
    space.change_model(1, artifact={**known, "digest": other})
    space.approve(9, "Reject")
    space.settle()
    assert held(space)["Model churn-1"] == "Rejected"


def test_a_rejection_that_was_taken_back_holds_nothing(space: Namespace) -> None:
    space.approve(1, "Reject")
    space.approve(1, "Revoke")
    space.settle()
    assert "churn-1" not in space.names(MODELS)


def test_an_imported_model_is_not_touched_and_counts_for_nothing(space: Namespace) -> None:
    for number in (20, 21, 22, 23, 24):
        space.model(number)
    space.settle()
    assert {"churn-20", "churn-24", "churn-4"} <= set(space.names(MODELS))
    assert space.retention["kept"]["models"] == 3


def test_models_that_gates_alone_approved_go_where_that_is_asked_for_but_the_newest_one(space: Namespace) -> None:
    space.dataset({**KEEP, "autoApproved": "Delete", "modelHistoryLimit": 1})
    for number in range(1, 6):
        space.change_model(number, **AUTOMATIC)
    space.approve(2)
    space.settle()
    assert space.names(MODELS) == ["churn-2", "churn-5", "churn-6"]
    assert held(space)["Model churn-5"] == held(space)["Model churn-2"] == "Approved"


def test_a_run_under_way_stays_and_so_does_what_it_needs(space: Namespace) -> None:
    space.run(9, on=2, ends="", champion="churn-1")
    space.settle()
    assert {"run-9", "run-1"} <= set(space.names(RUNS))
    assert {1, 2} <= set(space.versions())
    assert held(space)["Model churn-1"] == "Champion"


def test_champions_of_runs_that_are_kept_for_another_reason_do_not_pile_up(space: Namespace) -> None:
    """Else every model that ever served would hold the one before it."""
    for number in range(2, 7):
        known = space.objects[RUNS, f"run-{number}"]["status"]
        champion = {"name": f"churn-{number - 1}", "digest": "x", "storageUri": "s3://x/y"}
        known["resolved"]["champion"] = champion
    space.settle()
    assert space.names(MODELS) == ["churn-3", "churn-4", "churn-5", "churn-6"], "churn-3 is the champion of run-4"


CLONES = {
    "cloned": ({"retraining": {"trainingRunRef": {"name": "run-1"}}}, {}),
    "started last": ({}, {"retraining": {"lastRun": "run-1"}}),
    "about to be made": ({}, {"retraining": {"starts": [{"name": "run-1", "isMade": False}]}}),
}


@pytest.mark.parametrize("how", CLONES)
def test_a_run_that_a_deployment_needs_stays(how: str, space: Namespace) -> None:
    spec, status = CLONES[how]
    space.deployment({"modelSelector": {"modelName": "churn"}, **spec}, status)
    space.settle()
    assert held(space)["TrainingRun run-1"] == "Referenced"
    assert "churn-1" not in space.names(MODELS)


def test_a_model_that_names_files_of_a_run_or_of_a_version_holds_them(space: Namespace) -> None:
    space.model(20, folder=folder(1))
    space.model(21, referenceProfileUri=f"{version_folder(2)}profile.json")
    space.settle()
    assert held(space)["TrainingRun run-1"] == held(space)["Version 2"] == "Referenced"
    assert any(places.is_in(uri, folder(1)) for uri in space.files)
    assert any(places.is_in(uri, version_folder(2)) for uri in space.files)


def test_a_model_of_another_namespace_that_names_files_holds_them_too(space: Namespace) -> None:
    other = Namespace()
    other.model(1, folder=folder(1))
    theirs = other.objects[MODELS, "churn-1"]
    theirs["metadata"]["namespace"] = "fraud"
    space.elsewhere = [theirs]
    space.settle()
    assert held(space)["TrainingRun run-1"] == "Referenced"
    assert any(places.is_in(uri, folder(1)) for uri in space.files)


def test_a_run_of_another_dataset_is_not_looked_at(space: Namespace) -> None:
    space.run(20)
    space.touch(RUNS, "run-20", spec={"datasetRef": {"name": "other"}, "output": {"modelName": "churn"}})
    for number in range(21, 30):
        space.run(number, ends="Failed")
        space.touch(RUNS, f"run-{number}", spec={"datasetRef": {"name": "other"}, "output": {"modelName": "churn"}})
    space.settle()
    assert {f"run-{number}" for number in range(20, 30)} <= set(space.names(RUNS))


def test_bytes_that_two_versions_share_stay_while_one_of_them_does(space: Namespace) -> None:
    """A source that goes back to what it was is frozen at the same place under another number."""
    for one in space.status["versions"]:
        if one["version"] == 6:
            one |= {"digest": digest("v1"), "uri": version_folder(1)}
    space.status["current"] |= {"digest": digest("v1"), "uri": version_folder(1)}
    space.settle()
    assert any(places.is_in(uri, version_folder(1)) for uri in space.files)


def test_files_under_a_store_of_before_are_left_alone(space: Namespace) -> None:
    known = space.objects[RUNS, "run-1"]["status"]
    known["candidate"] = {"artifact": {"storageUri": "s3://before/models/ml/churn/uid-run-1/model.onnx"}}
    for field, name in (("goldenSetUri", "golden.json"), ("referenceProfileUri", "profile.json")):
        space.objects[MODELS, "churn-1"]["spec"][field] = f"s3://before/models/ml/churn/uid-run-1/{name}"
    artifact = space.objects[MODELS, "churn-1"]["spec"]["artifact"]
    artifact["storageUri"] = "s3://before/models/ml/churn/uid-run-1/model.onnx"
    for one in space.status["versions"]:
        if one["version"] == 2:
            one["uri"] = "s3://before/datasets/ml/churn/sha256-2/"
    space.settle()
    assert 2 not in space.versions()
    assert "churn-1" not in space.names(MODELS)
    assert not [what for what in space.log if "before" in what or what == f"erase {folder(1)}"]


def test_a_run_that_something_applies_for_somebody_stays_for_it_would_come_back_and_train_again(
    space: Namespace,
) -> None:
    known = space.objects[RUNS, "run-1"]
    space.touch(RUNS, "run-1", spec={**known["spec"], "author": "ada", "appliedBy": "flux"})
    space.settle()
    assert "run-1" in space.names(RUNS)
    assert (held(space)["TrainingRun run-1"], held(space)["Version 1"]) == ("Applied", "Used")
    assert "churn-1" not in space.names(MODELS)
    assert "run-2" not in space.names(RUNS)
