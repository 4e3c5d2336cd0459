"""What goes, and in which order: named first, then the objects, then their files."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.contract import places
from retention_story import ALL, GRACE, JOBS, MODELS, RUNS, folder, six_versions, version_folder
from retention_worlds import KEEP, Namespace


@pytest.fixture
def space() -> Namespace:
    """Six versions, runs and Models; three of each are kept."""
    return six_versions()


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
