"""How a look fails: each way has a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dataset_worlds import (
    NOW,
    after,
    finished,
    frozen,
    looked,
    make_dataset,
    truth,
    world,
)
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import dataset as decisions
from millrace.decide.job import Container, Job, Pod


def test_an_unavailable_store_is_tried_again_by_itself() -> None:
    report = SnapshotReport(SnapshotOutcome.FAILED, "StoreUnavailable", "no answer")
    seen = looked(report, exit_code=1, reason="BackoffLimitExceeded")
    assert truth(seen, "Reconciling") == ("True", "StoreUnavailable")
    assert seen.dataset.status.next_check_time == NOW + timedelta(minutes=5)
    again = seen.model_copy(update={"now": NOW + timedelta(minutes=5), "jobs": ()})
    assert decisions.decide(again).children


@pytest.mark.parametrize(
    "job, reason",
    [
        (finished("j", None, exit_code=137), "SnapshotCrashed"),
        (finished("j", None, exit_code=1, reason="DeadlineExceeded"), "DeadlineExceeded"),
        (finished("j", "{}"), "MalformedReport"),
        (finished("j", None), "SnapshotLost"),
        (Job(name="j", uid="u", state="Failed", finished=NOW), "SnapshotLost"),
        (
            Job(
                name="j",
                uid="u",
                state="Failed",
                pods=(Pod(name="p", phase="Failed", reason="Evicted", message="disk"),),
            ),
            "SnapshotLost",
        ),
        (
            Job(
                name="j",
                uid="u",
                state="Failed",
                pods=(Pod(name="p", containers=(Container(name="snapshot", state="Terminated", reason="OOMKilled"),)),),
            ),
            "SnapshotOutOfMemory",
        ),
        (finished("j", frozen(digest="nonsense")), "MalformedReport"),
        (finished("j", SnapshotReport(SnapshotOutcome.FAILED, "not a reason!", "?")), "SnapshotCrashed"),
        (finished("j", SnapshotReport(SnapshotOutcome.FAILED, "InvalidTask", "?")), "InvalidTask"),
    ],
    ids=[
        "crash",
        "deadline",
        "malformed",
        "silent",
        "no-pod",
        "evicted",
        "memory",
        "digest",
        "odd-reason",
        "other-reason",
    ],
)
def test_a_snapshot_that_fails_has_a_reason(job: Job, reason: str) -> None:
    looking = after(world(make_dataset()))
    job = job.model_copy(update={"name": looking.dataset.status.job_name})
    seen = after(looking.model_copy(update={"jobs": (job,)}), job)
    assert truth(seen, "Ingested") == ("False", reason)
    assert truth(seen, "Ready")[0] == "False"


def test_a_pod_that_cannot_start_says_why() -> None:
    looking = after(world(make_dataset()))
    waiting = Container(name="snapshot", reason="CreateContainerConfigError", message='secret "lake" not found')
    job = Job(
        name=str(looking.dataset.status.job_name),
        uid="j",
        pods=(Pod(name="p", phase="Pending", containers=(waiting,)),),
    )
    seen = after(looking.model_copy(update={"jobs": (job,)}), job)
    assert truth(seen, "Reconciling") == ("True", "PodNotStarted")
    assert 'secret "lake" not found' in str(seen.dataset.status.message)
