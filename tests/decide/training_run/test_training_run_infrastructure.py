"""A run that is kept from its work waits, says for what, and has not failed before its deadline."""

from __future__ import annotations

from datetime import timedelta

import pytest

from job_stories import lost
from millrace.contract.report import EXIT_INFRASTRUCTURE, StageFailure, TrainingOutcome, TrainingReport
from millrace.decide import training_run as decisions
from millrace.decide.job import Pod
from millrace.decide.training_run import attempt
from run_worlds import NOW, after, failed, make_job, message, pod, resolved, truth

SILENT = "the store did not serve s3://millrace/d/manifest.json: connection refused"
FETCH = StageFailure("fetch", "StoreUnavailable", f"{SILENT}.").to_json()
EVALUATE = TrainingReport(TrainingOutcome.FAILED, "StoreUnavailable", f"{SILENT}.").to_json()
QUOTA = "pods churn-gb-1 is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=1, limited: cpu=1"


@pytest.mark.parametrize(
    "ended",
    [
        pod(fetch=EXIT_INFRASTRUCTURE, message=FETCH, phase="Failed"),
        pod(train=0, evaluate=EXIT_INFRASTRUCTURE, message=EVALUATE, phase="Failed"),
    ],
    ids=["fetch", "evaluate"],
)
def test_a_silent_store_is_waited_for_and_said(ended: Pod) -> None:
    seen = resolved()
    told = after(seen.model_copy(update={"job": make_job(seen, ended)}))
    assert truth(told, "Reconciling") == ("True", "StoreUnavailable")
    assert SILENT in message(told)
    assert "The Job tries again until spec.activeDeadlineSeconds have passed" in message(told)
    assert not decisions.is_over(told.run)


def test_the_job_counts_no_attempt_that_the_store_ended() -> None:
    (job,) = decisions.decide(resolved()).children
    ignored = [one for one in job["spec"]["podFailurePolicy"]["rules"] if one["action"] == "Ignore"]
    codes = [one["onExitCodes"]["values"] for one in ignored if "onExitCodes" in one]
    assert codes == [[EXIT_INFRASTRUCTURE]]


def test_an_attempt_that_comes_further_is_told_as_it_is() -> None:
    seen = resolved()
    ended = pod(fetch=EXIT_INFRASTRUCTURE, message=FETCH, phase="Failed")
    same = after(seen.model_copy(update={"job": make_job(seen, ended, pod(fetch=...))}))
    assert truth(same, "Reconciling") == ("True", "StoreUnavailable"), "it may find the store silent again"
    further = after(seen.model_copy(update={"job": make_job(seen, ended, pod(fetch=0, train=...))}))
    assert truth(further, "Reconciling") == ("True", "Training")


def test_a_store_that_stays_silent_until_the_deadline_is_what_the_run_failed_of() -> None:
    seen = resolved()
    ended = pod(fetch=EXIT_INFRASTRUCTURE, message=FETCH, phase="Failed")
    waiting = after(seen.model_copy(update={"job": make_job(seen, ended)}))
    late = NOW + timedelta(seconds=600)
    over = failed(waiting, reason="DeadlineExceeded", finished=late)
    told = after(waiting.model_copy(update={"job": over, "now": late}))
    assert truth(told, "Failed") == ("True", "StoreUnavailable")
    assert "did not end within 600 s" in message(told)
    assert SILENT in message(told)
    assert "again" not in message(told), "it is not tried again"
    assert attempt.is_no_verdict(told.run)


def test_a_pod_that_a_quota_refuses_is_said_with_the_quota_and_an_event() -> None:
    seen = resolved()
    refused = seen.model_copy(update={"job": make_job(seen, refusal=QUOTA)})
    plan, told = decisions.decide(refused), after(refused)
    assert truth(told, "Reconciling") == ("True", "PodRefused")
    assert QUOTA in message(told)
    assert message(told).endswith(" Next: kubectl -n ml describe resourcequotas,limitranges")
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "PodRefused")]


def test_a_job_without_a_pod_is_asked_about() -> None:
    seen = resolved()
    young = seen.model_copy(update={"job": make_job(seen, created=NOW)})
    assert decisions.decide(young).wake_after == 5


@pytest.mark.parametrize(
    ("end", "is_one"),
    [
        (pod(train=2, message=StageFailure("train", "UnknownParameter", "?").to_json(), phase="Failed"), True),
        (pod(train=1, message="ZeroDivisionError", phase="Failed"), True),
        (Pod(name="p", phase="Failed", reason="Evicted", message="disk"), False),
        (pod(fetch=2, message=StageFailure("fetch", "StoreDenied", "?").to_json(), phase="Failed"), False),
    ],
    ids=["parameter", "crash", "evicted", "credentials"],
)
def test_only_data_trainer_and_model_give_a_verdict(end: Pod, is_one: bool) -> None:
    seen = resolved()
    told = after(seen.model_copy(update={"job": failed(seen, end)}))
    assert decisions.is_over(told.run)
    assert attempt.is_no_verdict(told.run) is not is_one


@pytest.mark.parametrize("ended", lost("train", "fetch").values(), ids=lost("train"))
def test_a_trainer_whose_pod_was_taken_away_has_not_crashed(ended: Pod) -> None:
    seen = resolved()
    told = after(seen.model_copy(update={"job": failed(seen, ended)}))
    assert truth(told, "Failed") == ("True", "PodLost")
    assert decisions.is_no_verdict(told.run), "retraining tries again"
    said = ended.message or ended.containers[-1].message
    assert said in message(told)


def test_a_trainer_that_kills_itself_or_runs_out_of_memory_has() -> None:
    seen = resolved()
    for reason, named in (("Error", "TrainerCrashed"), ("OOMKilled", "TrainerOutOfMemory")):
        ended = pod(train=137, reason=reason, phase="Failed")
        told = after(seen.model_copy(update={"job": failed(seen, ended)}))
        assert truth(told, "Failed") == ("True", named)
        assert not decisions.is_no_verdict(told.run)


def test_a_pod_that_pod_security_refuses_is_shown_its_namespace() -> None:
    seen = resolved()
    forbidden = 'pods churn-gb-1 is forbidden: violates PodSecurity "restricted:latest"'
    told = after(seen.model_copy(update={"job": make_job(seen, refusal=forbidden, created=NOW)}))
    assert truth(told, "Reconciling") == ("True", "PodRefused")
    assert message(told).endswith(" Next: kubectl describe namespace ml")
