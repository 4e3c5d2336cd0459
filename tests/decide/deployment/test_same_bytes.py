"""Two Models of the same bytes are one revision: nothing is rolled out, and what serves is called as the spec wants."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.api.deployment_status import RevisionStatus
from millrace_kit.simulation import SimulatedCluster, make_model
from retraining_worlds import drifting, end_runs, told

FIRST = f"sha256:{1:064x}"


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    return cluster


def stable(cluster: SimulatedCluster) -> RevisionStatus:
    assert cluster.status.stable is not None
    return cluster.status.stable


def takes_over_by_name(cluster: SimulatedCluster, **spec: Any) -> None:
    before = stable(cluster)
    cluster.add(make_model("churn", 2, digest=FIRST))
    cluster.change(**spec)
    plan = cluster.pass_once()
    after = stable(cluster)
    assert (after.model, after.version, after.revision, after.weight) == ("churn-2", 2, before.revision, 100)
    assert [event.message for event in plan.events if event.reason == "Promoted"] == [
        f"churn-2 has the bytes that serve (revision {before.revision}), and stands for churn-1 now"
    ]
    assert [(one.model, one.outcome) for one in cluster.status.history] == [("churn-2", "Serving")]
    assert cluster.status.canary is None
    cluster.settle(2)
    assert cluster.pending() == []


def test_the_newest_version_takes_over_by_name_alone(serving: SimulatedCluster) -> None:
    takes_over_by_name(serving)


def test_a_model_that_the_spec_names_does_too(serving: SimulatedCluster) -> None:
    takes_over_by_name(serving, modelSelector=None, modelRef={"name": "churn-2"})


def test_what_serves_is_not_said_to_be_gone_because_its_older_name_is(serving: SimulatedCluster) -> None:
    """`churn-1 is gone and keeps serving until another version is approved`, for ever: churn-2 was."""
    takes_over_by_name(serving)
    del serving.models["churn-1"]
    serving.settle(2)
    assert serving.status.message == "churn-2 serves; 1 of 1 servers gave the known answers to its golden set"


def test_a_name_that_is_not_approved_takes_nothing_over(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2, digest=FIRST, approved=False))
    serving.settle(2)
    assert stable(serving).model == "churn-1"


def test_a_canary_keeps_its_name_until_it_serves(serving: SimulatedCluster) -> None:
    steps = {"canary": {"steps": [{"setWeight": 25}], "disableDefaults": ["ErrorRate"]}}
    serving.change(strategy=steps)
    serving.add(make_model("churn", 2))
    serving.settle(2)
    serving.add(make_model("churn", 3, digest=f"sha256:{2:064x}"))
    serving.settle(1)
    assert serving.status.canary is not None
    assert serving.status.canary.model == "churn-2"
    serving.settle(8)
    assert stable(serving).model == "churn-3"
    assert [one.reason for one in serving.events].count("RolloutStarted") == 2, "churn-1 and churn-2"


def test_a_run_that_makes_the_same_bytes_again_is_not_waited_for() -> None:
    cluster = drifting()
    cluster.settle(70)
    end_runs(cluster, "Complete", modelRef={"name": "churn-2"})
    cluster.add(make_model("churn", 2, digest=FIRST))
    cluster.settle(5)
    assert stable(cluster).model == "churn-2"
    assert "made churn-2, which serves" in told(cluster)
