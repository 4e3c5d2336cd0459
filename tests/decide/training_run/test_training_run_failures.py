"""How a TrainingRun fails: each way is named, ends once, and says what to do next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import job_stories
from job_stories import texts
from millrace.api import resources
from millrace.api.training_run import TrainingRunStatus
from millrace.contract.report import StageFailure, TrainingOutcome, TrainingReport
from millrace.decide import training_run as decisions
from millrace.decide.job import Pod
from millrace.decide.plan import Plan
from millrace.decide.training_run import ModelView, attempt
from run_worlds import (
    FLOOR,
    NOW,
    A,
    C,
    after,
    failed,
    make_dataset,
    make_job,
    make_run,
    measured,
    message,
    pod,
    resolved,
    succeeded,
    truth,
    world,
)

WORDS = StageFailure("train", "UnknownParameter", "LogisticRegression has no parameter depth.").to_json()
NOT_ONNX = TrainingReport(TrainingOutcome.FAILED, "NotOnnx", "It is a pickle.").to_json()


@pytest.mark.parametrize(
    "end, reason, words",
    [
        (pod(train=2, message=WORDS, phase="Failed"), "UnknownParameter", "no parameter depth"),
        (pod(train=137, reason="OOMKilled", phase="Failed"), "TrainerOutOfMemory", "memory"),
        (pod(train=0, evaluate=137, reason="OOMKilled", phase="Failed"), "StageOutOfMemory", "evaluate"),
        (
            pod(train=1, message="Traceback ...\nZeroDivisionError: x", phase="Failed"),
            "TrainerCrashed",
            "code 1: ZeroDivisionError: x, 3",
        ),
        (pod(train=9, phase="Failed"), "TrainerCrashed", "exit code 9"),
        (pod(fetch=1, phase="Failed"), "FetchFailed", "fetch"),
        (pod(train=0, evaluate=1, phase="Failed"), "EvaluationFailed", "evaluate"),
        (pod(train=0, evaluate=2, message=NOT_ONNX, phase="Failed"), "NotOnnx", "pickle"),
        (Pod(name="p", phase="Failed", reason="Evicted", message="disk"), "PodLost", "Evicted: disk"),
        (
            pod(train=1, message=StageFailure("train", "what's this", "?").to_json(), phase="Failed"),
            "TrainerCrashed",
            "?",
        ),
    ],
    ids=[
        "verdict",
        "train-memory",
        "evaluate-memory",
        "crash",
        "silent",
        "fetch",
        "evaluate",
        "not-onnx",
        "evicted",
        "odd",
    ],
)
def test_a_failed_job_has_a_reason_and_a_next_command(end: Pod, reason: str, words: str) -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, end)}))
    assert truth(seen, "Failed") == ("True", reason)
    assert truth(seen, "Stalled") == ("True", reason)
    assert truth(seen, "Ready") == ("False", reason)
    assert words in message(seen)
    assert "Next: kubectl -n ml" in message(seen)
    assert "Traceback" not in message(seen)


def test_the_logs_to_read_are_those_of_the_container_that_failed() -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, pod(train=1, phase="Failed"))}))
    assert f"kubectl -n ml logs job/{seen.run.status.job_name} -c train" in message(seen)


@pytest.mark.parametrize(
    "message, reason",
    [(NOT_ONNX, "NotOnnx"), ("{}", "MalformedReport"), ("", "PodLost"), (measured(digest="?"), "MalformedReport")],
)
def test_a_job_that_succeeds_without_a_model_has_failed(message: str, reason: str) -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": succeeded(seen, message)}))
    assert truth(seen, "Failed") == ("True", reason)


def test_a_run_that_hangs_names_the_stage_and_how_long_although_its_pod_is_gone() -> None:
    seen = resolved(now=NOW + timedelta(seconds=20))
    seen = after(seen.model_copy(update={"job": make_job(seen, pod(train=...))}))
    dead = make_job(seen, state="Failed", reason="DeadlineExceeded", finished=NOW + timedelta(seconds=600))
    seen = after(seen.model_copy(update={"job": dead}))
    assert truth(seen, "Failed") == ("True", "DeadlineExceeded")
    assert "did not end within 600 s; it hung in stage Training for 580 s" in message(seen)
    assert seen.run.status.stage == "Training"


def test_a_run_whose_pod_never_started_says_so_when_its_time_is_up() -> None:
    seen = resolved()
    waiting = Pod(name="p", phase="Pending", reason="Unschedulable", message="0/1 nodes: Insufficient memory")
    seen = after(seen.model_copy(update={"job": make_job(seen, waiting)}))
    assert truth(seen, "Reconciling") == ("True", "PodNotStarted")
    dead = make_job(seen, state="Failed", reason="DeadlineExceeded")
    seen = after(seen.model_copy(update={"job": dead}))
    assert "Insufficient memory" in message(seen)


def test_a_failed_job_without_pods_says_what_the_job_says() -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, message="quota")}))
    assert truth(seen, "Failed") == ("True", "PodLost")
    assert "quota" in message(seen)


def test_a_job_that_is_deleted_on_the_way_is_made_again() -> None:
    seen = resolved()
    going = seen.model_copy(update={"job": make_job(seen, is_going=True)})
    assert decisions.decide(going).children


def test_a_name_that_cannot_be_a_label_fails_at_once() -> None:
    seen = after(world(make_run(name="Run.1")))
    assert truth(seen, "Failed") == ("True", "NameNotUsable")


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    run = make_run()
    going = run.model_copy(update={"metadata": run.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert decisions.decide(world(going, dataset=make_dataset())) == Plan()


def test_a_run_that_lost_its_own_job_name_finds_it_again() -> None:
    seen = resolved()
    name = seen.run.status.job_name
    forgot = seen.run.model_copy(
        update={"status": seen.run.status.model_copy(update={"job_name": None, "stage": None})}
    )
    (job,) = decisions.decide(seen.model_copy(update={"run": forgot})).children
    assert job["metadata"]["name"] == name


messages = st.sampled_from([measured(), measured("0.1"), measured(digest="?"), WORDS, NOT_ONNX, "", "{}"]) | texts
jobs = job_stories.jobs(["fetch", "train", "evaluate", "stranger"], messages, st.none() | st.just(NOW))
views = st.builds(
    ModelView,
    name=st.sampled_from(["churn-1", "churn-999999999", "churn-x", "churn-", "A.b"]) | texts,
    model_name=st.sampled_from(["churn", "other"]),
    version=st.integers(0, 999_999_999),
    digest=st.sampled_from([A, C, ""]),
    storage_uri=st.sampled_from(["s3://millrace/x", "?"]),
    aliases=st.sampled_from([(), ("champion",), ("challenger",)]),
    run_uid=st.sampled_from(["", "run-uid", "other"]),
)
steps = st.lists(
    st.tuples(
        st.none() | jobs,
        st.sampled_from([None, make_dataset(), make_dataset(None)]),
        st.lists(views, max_size=3).map(tuple),
        st.booleans(),
        st.integers(0, 5000),
    ),
    max_size=8,
)


def verdict(told: TrainingRunStatus) -> Any:
    """What a run came to, without what is said of its Job."""
    plain = told.model_dump(exclude={"message", "job_name", "conditions"})
    return plain, [(one.type, one.status, one.reason, one.last_transition_time) for one in told.conditions]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_happens_a_run_decides_once_and_ends_once(story: list[tuple[Any, ...]]) -> None:
    """Laws: total, deterministic, quiescent; one Model at most a pass; the end is final; what was pinned stays."""
    seen = world(make_run(gates=[FLOOR]))
    for job, dataset, models, live, passed in story:
        now = seen.now + timedelta(seconds=passed)
        change = {"job": job, "dataset": dataset, "models": models, "models_are_live": live, "now": now}
        seen = seen.model_copy(update=change)
        plan = decisions.decide(seen)
        assert plan == decisions.decide(seen)
        assert len(plan.creates) + len(plan.children) <= 1
        rested = after(seen)
        before, told = seen.run.status, rested.run.status
        if decisions.is_over(seen.run):
            assert (plan.creates, plan.children, plan.events) == ((), (), ())
            assert {one.resource for one in plan.deletes} <= {resources.JOBS}
            assert verdict(told) == verdict(before), "only its Job goes"
        assert before.resolved is None or told.resolved == before.resolved
        if plan.status is not None:
            holds = [
                one.type
                for one in told.conditions
                if one.status == "True" and one.type in ("Ready", "Reconciling", "Stalled")
            ]
            assert len(holds) == 1
            caught_up = after(rested)  # the pass after pinning may find a Job
            again = decisions.decide(caught_up)
            assert again.status is None or again.status == caught_up.run.status.wire()
            assert again.events == ()
        seen = rested


def test_a_container_that_is_not_ours_leaves_the_stage_that_was_seen() -> None:
    foreign = attempt.Failure(reason="TrainerCrashed", container="stranger")
    assert attempt.last_stage(foreign, TrainingRunStatus(stage="Training")) == "Training"
    assert attempt.last_stage(foreign, TrainingRunStatus()) == "Fetching"
