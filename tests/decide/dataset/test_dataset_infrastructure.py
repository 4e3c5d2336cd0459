"""What keeps a look from going on: said within seconds, in the API server's words, and over by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dataset_worlds import NOW, after, frozen, looked, make_dataset, truth, world
from job_stories import lost
from millrace.decide import dataset as decisions
from millrace.decide.dataset import Observation
from millrace.decide.job import Job, Pod

QUOTA = "pods churn-snapshot-1 is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=1, limited: cpu=1"


def looking(seen: Observation, **job: object) -> Observation:
    """The look goes on; its Job is as said."""
    name = str(seen.dataset.status.job_name)
    fields = {"name": name, "uid": f"uid-{name}", "created": seen.now, **job}
    return seen.model_copy(update={"jobs": (Job.model_validate(fields),)})


def test_a_pod_that_a_quota_refuses_is_said_with_the_quota_and_an_event() -> None:
    refused = looking(after(world(make_dataset())), refusal=QUOTA)
    plan = decisions.decide(refused)
    told = after(refused)
    assert truth(told, "Ready") == ("False", "PodRefused")
    assert truth(told, "Reconciling") == ("True", "PodRefused")
    assert QUOTA in (told.dataset.status.message or "")
    assert (told.dataset.status.message or "").endswith(" Next: kubectl -n ml describe resourcequotas,limitranges")
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "PodRefused")]
    assert decisions.decide(told.model_copy(update={"jobs": refused.jobs})).events == ()


def test_a_pod_that_pod_security_refuses_is_shown_its_namespace() -> None:
    forbidden = 'pods churn-snapshot-1 is forbidden: violates PodSecurity "restricted:latest"'
    told = after(looking(after(world(make_dataset())), refusal=forbidden))
    assert truth(told, "Reconciling") == ("True", "PodRefused")
    assert (told.dataset.status.message or "").endswith(" Next: kubectl describe namespace ml")


def test_a_dataset_with_a_version_says_so_too() -> None:
    due = looked(frozen(), interval="10m").model_copy(update={"jobs": (), "now": NOW + timedelta(minutes=10)})
    told = after(looking(after(due), refusal=QUOTA))
    assert truth(told, "Ready") == ("True", "PodRefused"), "the version before is as good as it was"
    assert QUOTA in (told.dataset.status.message or "")


def test_a_job_without_a_pod_is_asked_about_after_five_seconds_and_then_every_half_minute() -> None:
    young = looking(after(world(make_dataset())))
    assert decisions.decide(young).wake_after == 5
    assert decisions.decide(young.model_copy(update={"now": NOW + timedelta(seconds=9)})).wake_after == 30
    pod = Pod(name="p", phase="Pending", created=NOW)
    assert decisions.decide(looking(after(world(make_dataset())), pods=(pod,))).wake_after is None


def test_a_look_waits_for_its_turn_and_says_so() -> None:
    seen = world(make_dataset()).model_copy(update={"has_turn": False})
    plan = decisions.decide(seen)
    assert plan.children == ()
    assert plan.wake_after == 60
    told = after(seen)
    assert truth(told, "Reconciling") == ("True", "LookQueued")
    assert told.dataset.status.job_name is not None, "it stands in line"
    (job,) = decisions.decide(told.model_copy(update={"has_turn": True})).children
    assert job["metadata"]["name"] == told.dataset.status.job_name


def test_a_version_stays_ready_while_the_next_look_waits_for_its_turn() -> None:
    due = looked(frozen(), interval="10m").model_copy(
        update={"jobs": (), "now": NOW + timedelta(minutes=10), "has_turn": False}
    )
    told = after(due)
    assert (truth(told, "Ready")[0], truth(told, "Reconciling")[0]) == ("True", "False")


@pytest.mark.parametrize("ended", lost("snapshot").values(), ids=lost("snapshot"))
def test_a_snapshot_whose_pod_was_taken_away_has_not_crashed_and_looks_again_by_itself(ended: Pod) -> None:
    seen = after(world(make_dataset()))
    gone = looking(seen, state="Failed", reason="BackoffLimitExceeded", finished=NOW, pods=(ended,))
    told = after(gone)
    assert truth(told, "Ready") == ("False", "SnapshotLost")
    assert truth(told, "Reconciling") == ("True", "SnapshotLost")
    assert (ended.message or ended.containers[-1].message) in (told.dataset.status.message or "")
    assert told.dataset.status.next_check_time == NOW + timedelta(minutes=5)


def test_what_kept_a_look_from_starting_until_its_deadline_is_still_said_after_it() -> None:
    seen = after(world(make_dataset()))
    full = "0/3 nodes are available: 3 Insufficient cpu."
    waits = Pod(name="p", phase="Pending", reason="Unschedulable", message=full)
    held = after(looking(seen, pods=(waits,)))
    over = after(looking(held, state="Failed", reason="DeadlineExceeded", finished=NOW))
    assert truth(over, "Reconciling") == ("True", "DeadlineExceeded")
    told = over.dataset.status.message or ""
    assert told.startswith("The snapshot did not end within an hour. The pod that reads the source cannot start: ")
    assert f"{full} The source is looked at again by itself." in told
