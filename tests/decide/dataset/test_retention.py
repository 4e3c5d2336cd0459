"""What goes, what stays and why, in which order, and that a crash after any write changes nothing of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millrace.api import keys, resources
from millrace.contract import places
from millrace.contract.removal import EraseOutcome, EraseReport
from millrace_kit.simulation import PLATFORM
from retention_worlds import KEEP, NAMESPACE, STORE, Namespace, digest, is_true

MODELS, RUNS, DATASETS, JOBS = resources.MODELS, resources.TRAINING_RUNS, resources.DATASETS, resources.JOBS
GRACE = timedelta(seconds=60)


def held(space: Namespace) -> dict[str, str]:
    return {f"{one['kind']} {one['name']}": one["reason"] for one in space.retention["held"]}


def folder(number: int) -> str:
    return places.run(STORE, NAMESPACE, "churn", f"uid-run-{number}")


def version_folder(number: int) -> str:
    return places.version(STORE, NAMESPACE, "churn", digest(f"v{number}"))


@pytest.fixture
def space() -> Namespace:
    """Six versions, a run on each, and a Model of each run that waits for approval; three of each are kept."""
    made = Namespace()
    made.dataset()
    made.settle_looks()
    made.freeze(5)
    for number in range(1, 7):
        made.run(number)
    return made


ALL = [*(f"Model churn-{n}" for n in (1, 2, 3)), *(f"TrainingRun run-{n}" for n in (1, 2, 3)),
       *(f"Version {n}" for n in (1, 2, 3))]  # fmt: skip


# --- telling before doing


def test_what_is_over_a_limit_is_named_before_anything_goes(space: Namespace) -> None:
    plan = space.pass_once()
    assert space.planned() == ALL
    assert plan.deletes == plan.children == ()
    assert space.pruned() == ("False", "DeletionPlanned")
    assert space.retention["kept"] == {"versions": 3, "models": 3, "runs": 3}
    assert [event.reason for event in plan.events] == ["DeletionPlanned"]
    assert "3 versions, 3 models and 3 runs" in plan.events[0].message
    assert plan.wake_after == 60


def test_nothing_goes_before_it_was_named_for_as_long_as_was_asked(space: Namespace) -> None:
    space.pass_once()
    space.now += GRACE - timedelta(seconds=1)
    assert space.pass_once().deletes == ()
    assert space.retention.get("deletion") is None
    space.now += timedelta(seconds=1)
    space.pass_once()
    assert len(space.retention["deletion"]["items"]) == len(ALL)


def test_a_clock_that_is_set_forward_leaves_a_minute_of_time_that_really_passed(space: Namespace) -> None:
    space.dataset({**KEEP, "gracePeriod": "1h"})
    space.settle_looks()
    space.now += timedelta(hours=9)
    space.steady_since = space.now
    assert space.pass_once().wake_after == 60
    assert space.retention.get("deletion") is None
    space.now += timedelta(seconds=60)
    space.pass_once()
    assert space.retention["deletion"]


def test_a_clock_that_is_set_back_puts_nothing_off_for_longer_than_was_asked(space: Namespace) -> None:
    space.pass_once()
    space.now -= timedelta(days=9)
    assert space.pass_once().wake_after == 60
    space.now += timedelta(seconds=60)
    space.pass_once()
    assert space.retention["deletion"]


def test_what_comes_over_a_limit_later_is_named_for_as_long_from_then_on(space: Namespace) -> None:
    space.pass_once()
    space.now += timedelta(seconds=59)
    space.freeze(1)
    space.run(7)
    space.pass_once()
    since = {one["name"]: one["since"] for one in space.retention["planned"]}
    assert since["churn-1"] < since["churn-4"]
    space.now += timedelta(seconds=1)
    space.pass_once()
    assert "Model churn-4" in space.planned()
    assert {one["name"] for one in space.retention["deletion"]["items"]}.isdisjoint({"churn-4", "run-4", "4"})


def test_a_dry_run_only_says_so(space: Namespace) -> None:
    space.dataset({**KEEP, "mode": "DryRun"})
    space.settle()
    before = dict(space.objects)
    space.now += timedelta(days=9)
    space.pass_once()
    assert space.planned() == ALL
    assert space.pruned() == ("False", "WouldDelete")
    assert "Next: kubectl" in next(one["message"] for one in space.status["conditions"] if one["type"] == "Pruned")
    assert space.objects.keys() == before.keys()
    assert space.log == []


def test_dry_run_is_what_is_done_where_nobody_says_otherwise() -> None:
    space = Namespace()
    space.dataset({"versionHistoryLimit": 1})
    space.settle_looks()
    space.freeze(3)
    space.settle()
    assert space.typed().spec.retention is not None
    assert space.typed().spec.retention.mode == "DryRun"
    assert (space.versions(), space.planned()) == ([1, 2, 3, 4], ["Version 1", "Version 2", "Version 3"])


def test_without_retention_nothing_is_counted_and_nothing_goes() -> None:
    space = Namespace()
    space.dataset(None)
    space.settle_looks()
    space.freeze(5)
    for number in range(1, 7):
        space.run(number)
    space.settle()
    assert space.retention == {}
    assert "Pruned" not in {one["type"] for one in space.status["conditions"]}
    assert len(space.versions()) == 6


# --- what goes


def test_the_rest_is_gone_from_the_cluster_and_from_the_store_and_counted(space: Namespace) -> None:
    space.settle()
    assert space.names(MODELS) == ["churn-4", "churn-5", "churn-6"]
    assert space.names(RUNS) == ["run-4", "run-5", "run-6"]
    assert space.versions() == [4, 5, 6]
    gone = [*map(folder, (1, 2, 3)), *map(version_folder, (1, 2, 3))]
    assert not [uri for uri in space.files for one in gone if places.is_in(uri, one)]
    assert all(any(places.is_in(uri, one) for uri in space.files) for one in map(folder, (4, 5, 6)))
    assert space.retention["deleted"] == {"versions": 3, "models": 3, "runs": 3}
    assert space.retention["bytesFreed"] == 10 * 12
    assert space.retention["lastTime"]
    assert space.pruned() == ("True", "WithinLimits")
    assert space.names(JOBS) == []


def test_models_go_before_their_runs_and_files_last(space: Namespace) -> None:
    space.settle()
    kinds = [what.rpartition(" ")[0] for what in space.log]
    assert kinds == ["delete Model"] * 3 + ["delete TrainingRun"] * 3 + ["erase"] * 6


def test_the_folders_are_written_down_before_the_first_object_goes(space: Namespace) -> None:
    def look(seen: Namespace, what: str) -> None:
        if what.startswith("delete Model"):
            assert set(map(folder, (1, 2, 3))) <= set(seen.retention["deletion"]["folders"])
        if what.startswith("create Job") and "erase" in what:
            assert seen.retention["deletion"]["jobName"] in what
            assert set(map(version_folder, (1, 2, 3))) <= set(seen.retention["deletion"]["folders"])

    space.before_write = look
    space.settle()
    assert space.log


def test_a_second_time_nothing_is_done(space: Namespace) -> None:
    space.settle()
    done, writes = list(space.log), space.writes
    for _ in range(5):
        space.now += timedelta(hours=1)
        space.pass_once()
    assert (space.log, space.writes) == (done, writes)


def test_the_newest_runs_are_those_of_the_newest_models_whatever_the_clock_said(space: Namespace) -> None:
    """It was set back before the last ones ended."""
    space.dataset({**KEEP, "modelHistoryLimit": 1, "successfulRunsHistoryLimit": 2})
    for number in (5, 6):
        status = space.objects[RUNS, f"run-{number}"]["status"]
        space.touch(RUNS, f"run-{number}", status={**status, "completionTime": "2026-11-21T01:00:00Z"})
    space.settle()
    assert space.names(RUNS) == ["run-5", "run-6"]


def test_failed_runs_have_a_limit_of_their_own(space: Namespace) -> None:
    for number in (11, 12, 13):
        space.run(number, on=6, ends="Failed")
    space.settle()
    assert space.names(RUNS) == ["run-13", "run-4", "run-5", "run-6"]


def test_a_run_whose_model_is_gone_goes_with_its_files(space: Namespace) -> None:
    del space.objects[MODELS, "churn-2"]
    space.settle()
    assert "run-2" not in space.names(RUNS)
    assert not [uri for uri in space.files if places.is_in(uri, folder(2))]


def test_a_model_whose_run_is_gone_goes_with_its_files(space: Namespace) -> None:
    del space.objects[RUNS, "run-2"]
    space.settle()
    assert "churn-2" not in space.names(MODELS)
    assert not [uri for uri in space.files if places.is_in(uri, folder(2))]


def test_files_stay_as_long_as_the_run_or_the_model_does(space: Namespace) -> None:
    space.dataset({**KEEP, "successfulRunsHistoryLimit": 6})
    space.settle()
    assert space.names(MODELS) == ["churn-4", "churn-5", "churn-6"]
    assert len(space.names(RUNS)) == 6
    assert all(any(places.is_in(uri, folder(number)) for uri in space.files) for number in range(1, 7))


def test_versions_for_which_the_status_has_no_room_are_remembered_and_go_too() -> None:
    space = Namespace()
    space.dataset(None, refresh={"interval": "5s"})
    for number in range(25):
        space.content = f"v{number + 1}"
        space.settle_looks()
        space.now += timedelta(seconds=20)
    assert len(space.status["versions"]) == 20
    assert [one["version"] for one in space.status["olderVersions"]] == [5, 4, 3, 2, 1]
    space.dataset({**KEEP, "versionHistoryLimit": 2})
    space.settle_looks()
    space.settle(120)
    assert space.versions() == [24, 25]
    assert {uri.split("/")[-2] for uri in space.files} == {version_folder(n).split("/")[-2] for n in (24, 25)}


# --- what stays


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


# --- what changes meanwhile


def test_what_is_approved_after_it_was_named_stays(space: Namespace) -> None:
    space.pass_once()
    space.approve(1)
    space.settle()
    assert {"churn-1"} < set(space.names(MODELS))
    assert "run-1" in space.names(RUNS)
    assert 1 in space.versions()


def test_what_is_approved_once_the_deletion_is_written_down_stays_and_the_rest_goes(space: Namespace) -> None:
    space.pass_once()
    space.now += GRACE
    space.pass_once()
    assert "churn-1" in {one["name"] for one in space.retention["deletion"]["items"]}
    space.approve(1)
    space.settle()
    assert space.names(MODELS) == ["churn-1", "churn-4", "churn-5", "churn-6"]
    assert any(places.is_in(uri, folder(1)) for uri in space.files)
    assert any(places.is_in(uri, version_folder(1)) for uri in space.files)
    assert space.retention["deleted"] == {"versions": 2, "models": 2, "runs": 2}


def test_what_is_approved_in_the_very_moment_before_it_goes_stays(space: Namespace) -> None:
    def approve(seen: Namespace, what: str) -> None:
        if what == "delete Model churn-1":
            seen.before_write = lambda _, __: None
            seen.approve(1)

    space.before_write = approve
    space.settle()
    assert "churn-1" in space.names(MODELS)
    assert "delete Model churn-1" not in space.log


def test_what_the_cache_does_not_know_yet_stays(space: Namespace) -> None:
    """A list of the past must not delete what somebody has approved or serves since."""
    space.pass_once()
    for number in (1, 2):
        space.stale[MODELS, f"churn-{number}"] = space.objects[MODELS, f"churn-{number}"]
    space.approve(1)
    space.deployment({"modelRef": {"name": "churn-2"}})
    space.stale[resources.DEPLOYMENTS, "d"] = {
        **space.objects[resources.DEPLOYMENTS, "d"], "spec": {"modelSelector": {"modelName": "churn"}},
    }  # fmt: skip
    for _ in range(20):
        space.pass_once()
        space.kubelet()
        space.now += timedelta(seconds=20)
    assert {"churn-1", "churn-2"} <= set(space.names(MODELS))
    assert "churn-3" not in space.names(MODELS)


def test_a_run_that_is_pinned_to_an_old_version_meanwhile_keeps_it(space: Namespace) -> None:
    space.pass_once()
    space.now += GRACE
    space.pass_once()
    space.run(9, on=1, ends="")
    space.settle()
    assert 1 in space.versions()
    assert any(places.is_in(uri, version_folder(1)) for uri in space.files)


def test_another_model_of_the_name_is_another_one(space: Namespace) -> None:
    space.pass_once()
    space.objects[MODELS, "churn-1"]["metadata"]["uid"] = "made-again"
    space.now += GRACE
    space.pass_once()
    assert "churn-1" not in {one["name"] for one in space.retention["deletion"]["items"]}


def test_raising_a_limit_ends_what_has_begun_as_far_as_it_can(space: Namespace) -> None:
    space.pass_once()
    space.now += GRACE
    space.pass_once()
    space.dataset({**KEEP, "modelHistoryLimit": 10})
    space.settle()
    assert len(space.names(MODELS)) == 6
    assert len(space.names(RUNS)) == 6


def test_going_back_to_a_dry_run_holds_everything_up(space: Namespace) -> None:
    space.pass_once()
    space.now += GRACE
    for _ in range(2):
        space.pass_once()
    assert "churn-1" not in space.names(MODELS), "it has begun"
    space.dataset({**KEEP, "mode": "DryRun"})
    for _ in range(10):
        space.pass_once()
        space.kubelet()
        space.now += timedelta(minutes=1)
    assert len(space.names(RUNS)) == 6
    assert space.retention["deletion"]["folders"]
    assert space.pruned() == ("False", "WouldDelete")
    assert not [what for what in space.log if what.startswith("erase")]
    space.dataset(KEEP)
    space.settle()
    assert space.names(RUNS) == ["run-4", "run-5", "run-6"]


# --- looks and erasing


def test_no_look_starts_while_files_are_erased_and_none_is_erased_while_a_look_goes_on(space: Namespace) -> None:
    space.dataset(KEEP, refresh={"interval": "5s"})
    going: list[set[str]] = []
    for number in range(80):
        space.content = f"v{number % 3}"
        space.pass_once()
        names = {
            name.split("-")[1] for (kind, name), one in space.objects.items() if kind is JOBS and not one["status"]
        }
        going.append(names)
        if number % 3 == 0:
            space.kubelet()
        space.collect()
        space.now += timedelta(seconds=5)
    assert {"snapshot"} in going
    assert {"erase"} in going
    assert {"snapshot", "erase"} not in going


def test_nothing_is_erased_while_a_look_goes_on_that_the_cache_does_not_show(space: Namespace) -> None:
    labels = {keys.DATASET: "churn", keys.COMPONENT: "snapshot"}
    space.put(JOBS, "churn-snapshot-x", {}, {}, labels=labels)
    space.unseen.add((JOBS, "churn-snapshot-x"))
    for _ in range(12):
        space.pass_once()
        space.kubelet()
        space.now += timedelta(seconds=20)
    assert space.names(RUNS) == ["run-4", "run-5", "run-6"], "objects go meanwhile"
    assert "jobName" not in space.retention["deletion"]
    assert not [what for what in space.log if what.startswith("erase")]
    del space.objects[JOBS, "churn-snapshot-x"]
    space.settle()
    assert space.retention["deleted"]["versions"] == 3


def test_a_look_that_waits_for_erasing_says_so(space: Namespace) -> None:
    while (JOBS, str(space.retention.get("deletion", {}).get("jobName"))) not in space.objects:
        space.pass_once()
        space.now += timedelta(seconds=20)
    space.dataset(KEEP, source={"storageUri": "s3://lake/other.csv"})
    space.pass_once()
    assert "Files of deleted versions and runs are being erased" in space.status["message"]
    space.settle_looks()
    assert space.status["jobName"] is None if "jobName" in space.status else True


def test_what_is_frozen_again_at_a_place_that_is_to_be_erased_stays(space: Namespace) -> None:
    """The source goes back to what it was while its old version waits to be erased."""
    space.erasing_fails = EraseReport(EraseOutcome.FAILED, "StoreUnavailable", "no answer")
    while not space.retention.get("deletion", {}).get("attempts"):
        space.pass_once()
        space.kubelet()
        space.now += timedelta(seconds=20)
    assert version_folder(1) in space.retention["deletion"]["folders"]
    space.content = "v1"
    space.dataset(KEEP, source={"storageUri": "s3://lake/other.csv"})
    space.settle_looks()
    assert version_folder(1) not in space.retention["deletion"]["folders"]
    space.erasing_fails = None
    space.settle(200, seconds=30)
    assert any(places.is_in(uri, version_folder(1)) for uri in space.files)
    assert space.status["current"]["uri"] == version_folder(1)


# --- a store that does not do what is asked


@pytest.mark.parametrize(
    ("reason", "after"), [("StoreUnavailable", 300), ("StoreDenied", 3600), ("EraseRefused", 3600)]
)
def test_files_that_could_not_be_erased_are_told_and_tried_again(reason: str, after: int, space: Namespace) -> None:
    space.erasing_fails = EraseReport(EraseOutcome.FAILED, reason, "It did not work.", objects=2, bytes=7)
    while not space.retention.get("deletion", {}).get("attempts"):
        space.pass_once()
        space.kubelet()
        space.now += timedelta(seconds=20)
    failed = space.now
    assert space.pruned() == ("False", reason)
    message = next(one["message"] for one in space.status["conditions"] if one["type"] == "Pruned")
    assert "It did not work. Files are left to erase; it is tried again at" in message
    assert "Next: kubectl" in message
    assert space.retention["bytesFreed"] == 7, "what was erased before is counted"
    assert {one["type"]: one["status"] for one in space.status["conditions"]}["Ready"] == "True"
    for _ in range(4):
        space.pass_once()
        space.now += timedelta(seconds=20)
    assert space.pruned() == ("False", reason)
    assert space.names(JOBS) == []
    space.erasing_fails = None
    space.now = failed + timedelta(seconds=after)
    space.settle()
    assert space.retention["deleted"] == {"versions": 3, "models": 3, "runs": 3}
    assert space.retention.get("deletion") is None


def test_a_pod_that_goes_without_an_answer_is_followed_by_another(space: Namespace) -> None:
    while not (names := space.names(JOBS)):
        space.pass_once()
        space.now += timedelta(seconds=20)
    space.touch(JOBS, names[0], status={"conditions": [is_true("Failed", "BackoffLimitExceeded")]})
    space.pass_once()
    assert space.pruned() == ("False", "EraseLost")
    space.now += timedelta(seconds=300)
    space.settle()
    assert space.retention["deleted"]["versions"] == 3


# --- crashes


def undisturbed(make: Any) -> tuple[Any, int]:
    space = make()
    space.settle()
    return space.end(), space.writes


def made() -> Namespace:
    space = Namespace()
    space.dataset()
    space.settle_looks()
    space.freeze(5)
    for number in range(1, 7):
        space.run(number)
    space.approve(2)
    space.deployment({"modelRef": {"name": "churn-1"}})
    space.writes = 0
    return space


WANTED, WRITES = undisturbed(made)


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_an_operator_that_dies_after_any_write_changes_nothing(write: int) -> None:
    space = made()
    space.dies_after = write
    space.settle()
    assert space.end() == WANTED


def test_the_story_that_is_disturbed_deletes_and_spares() -> None:
    """Else the crashes would show nothing."""
    assert WRITES > 8
    assert "Model churn-1" in WANTED["objects"]
    assert "Model churn-2" in WANTED["objects"]
    assert "Model churn-3" not in WANTED["objects"]
    assert WANTED["told"]["deleted"] == {"versions": 1, "models": 1, "runs": 1}


def test_the_job_has_the_keys_that_may_erase_and_is_told_its_folders_alone(space: Namespace) -> None:
    from millrace.render import erase_job

    while not space.names(JOBS):
        space.pass_once()
        space.now += timedelta(seconds=20)
    (job,) = [one for (kind, _), one in space.objects.items() if kind is JOBS]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert "ttlSecondsAfterFinished" not in job["spec"]
    dataset = space.typed()
    assert dataset.status.retention is not None
    assert dataset.status.retention.deletion is not None
    apart = PLATFORM.model_copy(update={"erase_secret": "eraser"})
    rendered = erase_job.render(dataset, dataset.status.retention.deletion, apart)
    (container,) = rendered["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "eraser"}}]
