"""A Job goes once its answer has stood in the status for a while, and never before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import job_stories
from millrace.api import resources
from millrace.decide import training_run as decisions
from millrace.decide.job import Job
from millrace.decide.training_run import Observation
from millrace_kit import commands
from run_worlds import (
    FLOOR,
    NOW,
    after,
    failed,
    make_run,
    measured,
    message,
    pod,
    ready_to_register,
    registered,
    resolved,
    succeeded,
    truth,
)

DAY = timedelta(days=1)


@pytest.fixture
def complete() -> Observation:
    """It made a Model; its Job is still there."""
    return after(ready_to_register(registered(5), live=True))


@pytest.fixture
def crashed() -> Observation:
    """Its trainer crashed; the message says how to read why."""
    seen = resolved()
    job = failed(seen, pod(fetch=0, train=1, message="boom", phase="Failed"))
    return after(seen.model_copy(update={"job": job}), job=job)


def later(seen: Observation, passed: timedelta) -> Observation:
    return seen.model_copy(update={"now": NOW + passed})


def test_the_job_stays_for_as_long_as_was_asked(complete: Observation) -> None:
    plan = decisions.decide(later(complete, DAY - timedelta(seconds=1)))
    assert (plan.deletes, plan.status, plan.wake_after) == ((), None, 1.0)


def test_then_it_goes_by_its_uid_and_the_status_names_it_no_more(complete: Observation) -> None:
    plan = decisions.decide(later(complete, DAY))
    (delete,) = plan.deletes
    assert (delete.resource, delete.name, delete.uid) == (resources.JOBS, complete.run.status.job_name, "job-uid")
    assert plan.status is not None
    assert "jobName" not in plan.status
    assert plan.events == ()
    rest = after(later(complete, DAY), job=None)
    assert decisions.decide(rest).status is None
    assert (truth(rest, "Complete"), truth(rest, "Ready")) == (truth(complete, "Complete"), truth(complete, "Ready"))
    assert rest.run.status.metrics == complete.run.status.metrics


def test_a_crash_between_the_job_and_the_status_ends_the_same(complete: Observation) -> None:
    gone = later(complete, DAY).model_copy(update={"job": None})
    assert decisions.decide(gone).deletes == ()
    assert decisions.decide(gone).status == decisions.decide(later(complete, DAY)).status


def test_however_long_the_operator_was_away_an_answer_that_nobody_read_is_read_first() -> None:
    seen = resolved()
    job = succeeded(seen, measured()).model_copy(update={"finished": NOW})
    back = seen.model_copy(update={"job": job, "now": NOW + timedelta(days=400), "models_are_live": True})
    plan = decisions.decide(back)
    assert plan.deletes == ()
    assert [one["kind"] for one in plan.creates] == ["Model"]


def test_a_failure_that_is_written_in_this_pass_keeps_its_job() -> None:
    seen = resolved(gates=[FLOOR])
    job = succeeded(seen, measured("0.5"))
    plan = decisions.decide(seen.model_copy(update={"job": job, "now": NOW + timedelta(days=400)}))
    assert plan.deletes == ()
    assert plan.status is not None


def test_what_was_refused_to_go_is_still_named(complete: Observation) -> None:
    plan = decisions.decide(later(complete, DAY))
    assert {claim.field for claim in plan.claims} == {"jobName", "message", "conditions"}
    assert all(claim.kinds == {resources.JOBS} for claim in plan.claims)


def test_no_message_points_at_a_job_that_is_gone(crashed: Observation) -> None:
    assert "logs job/" in message(crashed)
    gone = after(later(crashed, DAY), job=None)
    texts = [message(gone), *(one.message for one in gone.run.status.conditions)]
    assert not [text for text in texts if "logs job/" in text]
    assert "boom" in message(gone)
    assert "Its Job and logs are gone" in message(gone)
    assert not [text for text in texts if commands.fault(text)]
    assert (truth(gone, "Failed"), truth(gone, "Stalled")) == (truth(crashed, "Failed"), truth(crashed, "Stalled"))


def test_a_message_that_is_not_about_the_job_stays(complete: Observation) -> None:
    assert message(after(later(complete, DAY), job=None)) == message(complete)


def test_zero_seconds_are_one_pass(complete: Observation) -> None:
    at_once = complete.run.spec.model_copy(update={"ttl_seconds_after_finished": 0})
    seen = complete.model_copy(update={"run": complete.run.model_copy(update={"spec": at_once})})
    assert len(decisions.decide(seen).deletes) == 1


def test_a_job_that_is_going_is_not_deleted_again(complete: Observation) -> None:
    assert complete.job is not None
    going = complete.model_copy(update={"job": complete.job.model_copy(update={"is_going": True})})
    assert decisions.decide(later(going, DAY)).deletes == ()


def test_a_job_that_has_not_ended_is_left_to_its_deadline(complete: Observation) -> None:
    assert complete.job is not None
    running = complete.job.model_copy(update={"state": "Active", "finished": None})
    plan = decisions.decide(later(complete.model_copy(update={"job": running}), 9 * DAY))
    assert plan == plan.model_copy(update={"deletes": (), "status": None})


def test_a_clock_that_was_set_back_keeps_the_job_no_longer_than_asked_from_then(complete: Observation) -> None:
    assert decisions.decide(later(complete, -9 * DAY)).wake_after == DAY.total_seconds()


jobs = job_stories.jobs(("fetch", "train", "evaluate"), job_stories.texts, st.none() | st.just(NOW))


@given(st.none() | jobs, st.timedeltas(-400 * DAY, 400 * DAY), st.integers(0, 31536000), st.booleans())
def test_whatever_is_left_of_a_run_only_its_ended_job_goes_and_only_when_it_is_time(
    job: Job | None, passed: timedelta, ttl: int, is_ended: bool
) -> None:
    status: dict[str, Any] = {"jobName": "stray", "completionTime": "2026-11-21T08:00:00Z"}
    if is_ended:
        mark = {"type": "Failed", "status": "True", "reason": "PodLost", "lastTransitionTime": "2026-11-21T08:00:00Z"}
        status["conditions"] = [mark]
    run = make_run(**status)
    run = run.model_copy(update={"spec": run.spec.model_copy(update={"ttl_seconds_after_finished": ttl})})
    seen = Observation.model_validate({"now": NOW + passed, "run": run, "job": job, "platform": resolved().platform})
    plan = decisions.decide(seen)
    for delete in plan.deletes:
        assert is_ended
        assert job is not None
        assert (delete.uid, job.is_finished) == (job.uid, True)
        assert seen.now >= NOW + timedelta(seconds=ttl)
