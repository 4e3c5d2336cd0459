"""What changes while something goes: people, looks at the source, a silent store, and an operator that dies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millrace.api import keys, resources
from millrace.api.retention import Deletion
from millrace.contract import places
from millrace.contract.erasure import of_list
from millrace.contract.removal import EraseOutcome, EraseReport
from millrace.decide.dataset import pruned, snapshot
from millrace.decide.job import Job
from millrace_kit.simulation import PLATFORM
from retention_story import DATASETS, GRACE, JOBS, MODELS, RUNS, folder, six_versions, version_folder
from retention_worlds import KEEP, NAMESPACE, Namespace, is_true


@pytest.fixture
def space() -> Namespace:
    """Six versions, runs and Models; three of each are kept."""
    return six_versions()


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


# --- who is to be forgotten

ALICE = f"0f7a41c2-{'a' * 64}"
LISTED = of_list("customer", [ALICE])


def forgets(space: Namespace, *holders: int) -> None:
    """Alice is to be forgotten; these versions have rows of hers."""
    space.content = "v6"
    fields = [{"name": "customer", "type": "String", "role": "Id"}]
    erasure = {"field": "customer", "keyRef": {"name": "key"}, "ids": {ALICE: "DSR-1"}}
    space.dataset(KEEP, schema={"mode": "Strict", "fields": fields}, erasure=erasure)
    space.settle_looks()
    versions = [{"folder": version_folder(one).split("/")[-2], "trained": True, "gone": False} for one in holders]
    known = {"listDigest": LISTED, "carriedOut": LISTED, "ids": 1, "heldIds": 1, "versions": versions}
    space.touch(DATASETS, "churn", status={**space.status, "erasure": known})


@pytest.mark.parametrize("holders,left", [((1, 2), 0), ((2, 6), 1)])
def test_versions_whose_files_went_hold_nobody_any_more_though_the_source_is_not_read_again(
    holders: tuple[int, ...], left: int, space: Namespace
) -> None:
    forgets(space, *holders)
    space.settle()
    known = space.typed().status.erasure
    assert known is not None
    assert [one.gone for one in known.versions] == [one <= 3 for one in holders]
    assert known.held_ids == left


def test_a_look_that_is_lost_to_erasing_forgets_nobody_who_is_to_be_forgotten(space: Namespace) -> None:
    """What is known of them is as true as before."""
    forgets(space, 1)
    found = snapshot.lost(Job(name="look", uid="u", state="Succeeded"), space.typed(), space.now)
    assert found.erasure == space.typed().status.erasure is not None


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


def test_a_pod_that_erases_and_is_forbidden_is_shown_its_namespace_and_not_its_quotas(space: Namespace) -> None:
    job = Job(name="erase", uid="u", refusal='pods "x" is forbidden: violates PodSecurity "restricted:latest"')
    about = pruned.erasing(space.typed(), Deletion(started_time=space.now), job)
    assert about.message.endswith(f"Next: kubectl describe namespace {NAMESPACE}")


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
