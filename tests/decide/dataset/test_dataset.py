"""What a Dataset decides: when it looks, and what a look changes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import job_stories
from dataset_worlds import (
    NOW,
    PLATFORM,
    A,
    B,
    after,
    finished,
    frozen,
    looked,
    make_dataset,
    refused,
    second_look,
    truth,
    world,
)
from job_stories import texts
from millrace.contract.report import FailedRule, SnapshotOutcome, SnapshotReport
from millrace.decide import dataset as decisions
from millrace.decide.dataset import Observation
from millrace.decide.job import Job
from millrace.decide.plan import Plan


def test_a_new_dataset_is_looked_at_once() -> None:
    plan = decisions.decide(world(make_dataset()))
    (job,) = plan.children
    assert plan.status is not None
    assert plan.status["jobName"] == job["metadata"]["name"]
    assert plan.wake_after is None


def test_a_crash_between_the_job_and_the_status_finds_the_same_job_again() -> None:
    first = decisions.decide(world(make_dataset())).children[0]
    again = decisions.decide(world(make_dataset(), now=NOW + timedelta(minutes=7))).children[0]
    assert first == again


def test_a_job_whose_answer_came_before_the_status_was_written_still_counts() -> None:
    name = decisions.decide(world(make_dataset())).children[0]["metadata"]["name"]
    plan = decisions.decide(world(make_dataset(), finished(name, frozen())))
    assert plan.status is not None
    assert plan.status["current"]["version"] == 1
    assert not plan.deletes


def test_a_running_job_is_left_alone() -> None:
    looking = after(world(make_dataset()))
    running = looking.model_copy(update={"jobs": (Job(name=str(looking.dataset.status.job_name), uid="j"),)})
    plan = decisions.decide(running)
    assert plan.children == ()
    assert plan.deletes == ()
    assert plan.status == looking.dataset.status.wire()


def test_a_frozen_report_becomes_version_1_and_says_so_once() -> None:
    looking = after(world(make_dataset()))
    job = finished(str(looking.dataset.status.job_name), frozen())
    plan = decisions.decide(looking.model_copy(update={"jobs": (job,)}))
    assert [event.reason for event in plan.events] == ["VersionFrozen"]
    assert "frozen" in plan.events[0].message
    seen = looked(frozen())
    assert seen.dataset.status.current is not None
    assert seen.dataset.status.current.digest == A
    assert truth(seen, "Ready") == ("True", "VersionAvailable")
    assert truth(seen, "Reconciling")[0] == truth(seen, "Stalled")[0] == "False"
    assert truth(seen, "Valid") == ("True", "RulesPassed")
    assert seen.dataset.status.job_name is None
    assert decisions.decide(seen).events == ()


def test_the_job_goes_in_the_pass_after_its_answer_has_landed() -> None:
    looking = after(world(make_dataset()))
    job = finished(str(looking.dataset.status.job_name), frozen())
    landing = looking.model_copy(update={"jobs": (job,)})
    assert decisions.decide(landing).deletes == ()
    (delete,) = decisions.decide(after(landing, job)).deletes
    assert (delete.name, delete.uid) == (job.name, job.uid)


def test_without_an_interval_a_dataset_is_not_looked_at_again() -> None:
    seen = looked(frozen()).model_copy(update={"now": NOW + timedelta(days=365), "jobs": ()})
    plan = decisions.decide(seen)
    assert plan.children == ()
    assert plan.wake_after is None


def test_the_next_look_is_due_one_interval_after_the_last() -> None:
    seen = looked(frozen(), interval="10m").model_copy(update={"jobs": ()})
    assert seen.dataset.status.next_check_time == NOW + timedelta(minutes=10)
    assert decisions.decide(seen).wake_after == 600
    assert decisions.decide(seen).children == ()
    due = decisions.decide(seen.model_copy(update={"now": NOW + timedelta(minutes=10)}))
    (job,) = due.children
    spec = json.loads(job["spec"]["template"]["metadata"]["annotations"]["millrace.dev/task"])
    assert spec["previous"]["digest"] == A


def test_a_clock_that_was_set_back_does_not_put_the_next_look_off() -> None:
    earlier = NOW - timedelta(hours=1)
    seen = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": earlier})
    assert decisions.decide(seen).wake_after == 600
    assert after(seen).dataset.status.next_check_time == earlier + timedelta(minutes=10)


def test_without_an_interval_a_clock_that_was_set_back_changes_nothing() -> None:
    seen = looked(frozen()).model_copy(update={"jobs": (), "now": NOW - timedelta(hours=1)})
    assert after(seen).dataset.status == seen.dataset.status


def test_a_routine_look_does_not_make_a_ready_dataset_unready() -> None:
    seen = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": NOW + timedelta(minutes=10)})
    looking = after(seen)
    assert truth(looking, "Ready")[0] == "True"
    assert truth(looking, "Reconciling")[0] == "False"
    assert looking.dataset.status.phase == "Ready"
    told = {one.type: one.message for one in looking.dataset.status.conditions}
    assert told["Reconciling"] == "Version 1 stays as it is while the source is read again."


def test_while_the_source_is_read_no_time_of_the_next_look_is_told() -> None:
    seen = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": NOW + timedelta(minutes=10)})
    looking = after(seen)
    assert looking.dataset.status.next_check_time is None
    landed = after(looking.model_copy(update={"jobs": (finished(str(looking.dataset.status.job_name), frozen()),)}))
    assert landed.dataset.status.next_check_time == NOW + timedelta(minutes=10), "the look had ended at NOW"


def test_the_first_look_and_a_look_at_a_changed_spec_are_what_is_checked() -> None:
    assert after(world(make_dataset())).dataset.status.phase == "Checking"
    changed = looked(frozen()).dataset
    dataset = changed.model_copy(update={"metadata": changed.metadata.model_copy(update={"generation": 2})})
    assert after(world(dataset)).dataset.status.phase == "Checking"


def test_an_unchanged_source_moves_only_the_times() -> None:
    seen = second_look(frozen(A))
    assert [version.version for version in seen.dataset.status.versions] == [1]
    assert seen.dataset.status.last_check_time == NOW + timedelta(minutes=10)


def test_a_changed_source_becomes_version_2() -> None:
    seen = second_look(frozen(B, rows=200))
    assert seen.dataset.status.current is not None
    assert (seen.dataset.status.current.version, seen.dataset.status.current.digest) == (2, B)
    assert [version.version for version in seen.dataset.status.versions] == [2, 1]


def test_unchanged_without_a_version_is_a_report_that_cannot_be() -> None:
    seen = looked(SnapshotReport(SnapshotOutcome.UNCHANGED, digest=A))
    assert truth(seen, "Stalled") == ("True", "MalformedReport")


def test_a_refused_version_leaves_the_old_one_current() -> None:
    rule = FailedRule("enough-rows", observed="3", message="at least 10 rows")
    report = SnapshotReport(SnapshotOutcome.REJECTED, "RuleViolated", "1 of 1 rules do not hold", failed_rules=(rule,))
    seen = second_look(report)
    assert seen.dataset.status.current is not None
    assert seen.dataset.status.current.version == 1
    assert truth(seen, "Ready") == ("True", "VersionAvailable")
    assert truth(seen, "Valid") == ("False", "RuleViolated")
    assert truth(seen, "Stalled")[0] == "False"
    assert seen.dataset.status.failed_rules[0].name == "enough-rows"
    assert "added none" in str(seen.dataset.status.message)


@pytest.mark.parametrize(
    "reason", ["SourceNotFound", "SourceEmpty", "SourceMalformed", "SchemaMismatch", "RuleViolated", "StoreDenied"]
)
def test_a_first_source_with_a_fault_stalls_with_a_command(reason: str) -> None:
    seen = looked(refused(reason))
    assert truth(seen, "Stalled") == ("True", reason)
    assert truth(seen, "Ready") == ("False", reason)
    assert "Next: " in str(seen.dataset.status.message)
    assert "kubectl" in str(seen.dataset.status.message)
    later = seen.model_copy(update={"now": NOW + timedelta(days=9), "jobs": ()})
    assert decisions.decide(later).children == ()


def test_a_changed_spec_is_looked_at_at_once_and_replaces_the_look_in_progress() -> None:
    looking = after(world(make_dataset()))
    old = Job(name=str(looking.dataset.status.job_name), uid="old")
    dataset = looking.dataset.model_copy(
        update={"metadata": looking.dataset.metadata.model_copy(update={"generation": 2})}
    )
    plan = decisions.decide(looking.model_copy(update={"dataset": dataset, "jobs": (old,)}))
    assert plan.children[0]["metadata"]["name"] != old.name
    assert [delete.uid for delete in plan.deletes] == ["old"]


def test_a_stalled_dataset_recovers_when_its_spec_changes() -> None:
    stalled = looked(refused("SourceNotFound"))
    dataset = stalled.dataset.model_copy(
        update={"metadata": stalled.dataset.metadata.model_copy(update={"generation": 2})}
    )
    looking = after(stalled.model_copy(update={"dataset": dataset, "jobs": ()}))
    assert truth(looking, "Stalled")[0] == "False"
    assert truth(looking, "Reconciling") == ("True", "LookingAtSource")


def test_an_error_of_the_operator_does_not_hide_a_spec_that_nobody_looked_at() -> None:
    """`controller.failures` writes observedGeneration too."""
    seen = looked(frozen())
    dataset = seen.dataset.model_copy(
        update={
            "metadata": seen.dataset.metadata.model_copy(update={"generation": 2}),
            "status": seen.dataset.status.model_copy(update={"observed_generation": 2}),
        }
    )
    assert decisions.decide(seen.model_copy(update={"dataset": dataset, "jobs": ()})).children


def test_a_job_that_is_being_deleted_is_made_again() -> None:
    looking = after(world(make_dataset()))
    job = Job(name=str(looking.dataset.status.job_name), uid="j", is_going=True)
    assert decisions.decide(looking.model_copy(update={"jobs": (job,)})).children


def test_a_dataset_that_is_being_deleted_is_left_alone() -> None:
    dataset = make_dataset()
    going = dataset.model_copy(update={"metadata": dataset.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert decisions.decide(world(going)) == Plan()


def test_at_most_twenty_versions_are_kept() -> None:
    seen = looked(frozen(), interval="10s")
    for turn in range(1, 30):
        now = seen.now + timedelta(seconds=10)
        looking = after(seen.model_copy(update={"jobs": (), "now": now}))
        job = finished(str(looking.dataset.status.job_name), frozen(f"sha256:{turn:064x}"), at=now)
        seen = after(looking.model_copy(update={"jobs": (job,)}), job)
    assert [version.version for version in seen.dataset.status.versions] == list(range(30, 10, -1))


reports = st.builds(
    SnapshotReport,
    outcome=st.sampled_from(SnapshotOutcome),
    reason=st.sampled_from(["", "RuleViolated", "StoreUnavailable", "SourceNotFound", "?"]) | texts,
    message=texts,
    digest=st.sampled_from([A, B, "", "x"]),
    uri=st.sampled_from(["s3://millrace/a", "", "ftp://x"]),
    rows=st.integers(-1, 10**9),
    bytes=st.integers(-1, 10**9),
    failed_rules=st.lists(st.builds(FailedRule, name=texts, observed=texts, message=texts), max_size=3).map(tuple),
)
messages = reports.map(lambda report: report.to_json()) | texts | st.just("")
endings = job_stories.jobs(["snapshot"], messages, st.none() | st.just(NOW))
steps = st.lists(st.tuples(endings, st.booleans(), st.sampled_from([0, 1, 10, 300, 86400]), st.booleans()), max_size=8)


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from([None, "10s", "1h", "999999h"]))
def test_whatever_the_jobs_say_a_dataset_decides_once_and_rests(
    story: list[tuple[Job, bool, int, bool]], interval: str | None
) -> None:
    """Laws: total, deterministic, quiescent; a version is never lost; exactly one thing is true of a Dataset."""
    seen = world(make_dataset(interval=interval))
    for job, is_ours, seconds, is_new_spec in story:
        name = seen.dataset.status.job_name if is_ours and seen.dataset.status.job_name else job.name
        metadata = seen.dataset.metadata
        generation = metadata.generation + (1 if is_new_spec else 0)
        dataset = seen.dataset.model_copy(update={"metadata": metadata.model_copy(update={"generation": generation})})
        seen = Observation(
            now=seen.now + timedelta(seconds=seconds),
            dataset=dataset,
            jobs=(job.model_copy(update={"name": name}),),
            platform=PLATFORM,
        )
        plan = decisions.decide(seen)
        assert plan == decisions.decide(seen)
        before, told = seen.dataset.status, after(seen, *seen.jobs).dataset.status
        assert told.observed_generation == generation
        assert len(told.versions) >= len(before.versions)
        assert before.current is None or told.current is not None
        holds = {one.type for one in told.conditions if one.status == "True"}
        assert holds & {"Ready", "Reconciling", "Stalled"}
        assert not {"Stalled", "Ready"} <= holds
        assert all(len(one.message) <= 1024 for one in told.conditions)
        rested = after(seen, *seen.jobs)
        again = decisions.decide(rested)
        if told.job_name is not None or told.next_check_time is None or told.next_check_time > seen.now:
            assert again.status == rested.dataset.status.wire()
            assert again.events == ()
        seen = rested
