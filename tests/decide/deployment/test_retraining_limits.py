"""Limits of retraining at their edges, and over more runs and other clocks than one expects."""

from __future__ import annotations

from datetime import timedelta

from millrace.api.deployment_status import MOST_RUNS_PER_DAY, RetrainingStatus
from millrace.render import names
from millrace_kit.simulation import SimulatedCluster
from retraining_worlds import dataset, drifting, end_runs, told

ONE_A_DAY = {"cooldown": "1h", "maxRunsPerDay": 1}
MANY = {"cooldown": "1s", "maxRunsPerDay": MOST_RUNS_PER_DAY}


def memory(cluster: SimulatedCluster) -> RetrainingStatus:
    assert cluster.status.retraining is not None
    return cluster.status.retraining


def test_what_failed_of_infrastructure_more_often_than_is_remembered_is_tried_again_all_the_same() -> None:
    """The 101st run of a cause had the name of the 100th: it was never made, and called started for ever after."""
    cluster = drifting(limits=MANY)
    cluster.settle(40)
    (first,) = memory(cluster).starts
    cause = first.cause
    starts = tuple(
        first.model_copy(
            update={
                "name": names.clone("churn", "uid-churn", "drifted", cause, number),
                "time": first.time - timedelta(days=2),
            }
        )
        for number in range(1, MOST_RUNS_PER_DAY + 1)
    )
    (run,) = cluster.runs
    cluster.runs = [run.model_copy(update={"metadata": run.metadata.model_copy(update={"name": starts[-1].name})})]
    known = memory(cluster).model_copy(update={"starts": starts})
    cluster.deployment = cluster.deployment.model_copy(
        update={"status": cluster.status.model_copy(update={"retraining": known})}
    )
    for _ in range(3):
        end_runs(cluster, reason="StoreUnavailable")
        cluster.settle(4)
    assert len(memory(cluster).starts) == MOST_RUNS_PER_DAY
    assert len(cluster.created) == 1 + 3
    assert [run.metadata.name for run in cluster.runs[-3:]] == [one.name for one in memory(cluster).starts[-3:]]


def test_a_full_day_is_told_with_its_end_whether_or_not_a_trigger_asks() -> None:
    cluster = drifting(limits=ONE_A_DAY)
    cluster.settle(70)
    end_runs(cluster)
    cluster.dataset = dataset(3)
    cluster.settle(3, seconds=3600)
    (start,) = memory(cluster).starts
    end = start.time + timedelta(hours=24)
    assert told(cluster).startswith("1 runs were started within 24 hours")
    assert (memory(cluster).state, memory(cluster).next_allowed_time) == ("Cooldown", end)
    cluster.drift = None
    cluster.change(monitoring={"drift": {"interval": "10s", "margin": 0.1}})
    cluster.settle(1)
    assert told(cluster).endswith("(limits.maxRunsPerDay). Next: kubectl -n ml get mtr")
    assert (memory(cluster).state, memory(cluster).next_allowed_time) == ("Cooldown", end)
    cluster.now = end
    plan = cluster.pass_once()
    assert memory(cluster).state == "Idle"
    assert plan.wake_after is None


def test_a_run_starts_in_the_second_in_which_the_day_has_room_and_not_before() -> None:
    cluster = drifting(limits=ONE_A_DAY)
    cluster.settle(70)
    end_runs(cluster)
    cluster.dataset = dataset(3)
    end = memory(cluster).starts[0].time + timedelta(hours=24)
    cluster.now = end - timedelta(seconds=1)
    plan = cluster.pass_once()
    assert plan.wake_after == 1
    assert len(memory(cluster).starts) == 1
    cluster.now = end
    cluster.pass_once()
    assert len(memory(cluster).starts) == 2


def test_a_clock_that_was_a_year_ahead_ends_no_retraining_for_a_year() -> None:
    cluster = drifting(limits={"cooldown": "10m"})
    cluster.now += timedelta(days=365)
    cluster.settle(70)
    end_runs(cluster)
    cluster.now -= timedelta(days=365)
    cluster.dataset = dataset(3)
    cluster.settle(2)
    assert len(cluster.created) == 1
    cluster.settle(3, seconds=601)
    assert len(cluster.created) == 2, "the cooldown counts from when the clock was right"
