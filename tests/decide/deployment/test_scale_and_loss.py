"""What an autoscaler counts, and what is left when the Model that serves and its servers are deleted."""

from __future__ import annotations

import pytest

from millrace.api import conditions, keys
from millrace_kit.simulation import SimulatedCluster, make_model

STEPS = [{"setWeight": 50}, {"pause": {"duration": "1h"}}]


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves with four servers."""
    cluster = SimulatedCluster()
    cluster.change(replicas=4, strategy={"canary": {"steps": STEPS}})
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    assert cluster.status.stable is not None
    return cluster


def selected(cluster: SimulatedCluster) -> list[str]:
    """The models whose pods the selector of the scale subresource selects."""
    wanted = dict(pair.split("=") for pair in (cluster.status.selector or "").split(","))
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for (kind, _), one in cluster.objects.items()
        if kind == "Deployment"
    ]
    return [one[keys.MODEL] for one in labels if wanted.items() <= one.items()]


def condition(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = conditions.find(cluster.status.conditions, kind)
    assert found is not None
    return found.status, found.reason


def forget(cluster: SimulatedCluster, version: int) -> None:
    """Somebody deletes the Model and its workload together."""
    model = cluster.models.pop(f"churn-{version}")
    for key, found in list(cluster.objects.items()):
        if found["metadata"]["labels"].get(keys.MODEL) == model.metadata.name:
            del cluster.objects[key]
            cluster.ready.pop(found["metadata"]["labels"][keys.REVISION], None)


def test_an_autoscaler_counts_the_pods_of_stable_alone(serving: SimulatedCluster) -> None:
    assert (selected(serving), serving.status.replicas, serving.status.ready_replicas) == (["churn-1"], 4, 4)
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.canary is not None
    assert serving.status.canary.ready_replicas == 2
    assert (selected(serving), serving.status.replicas, serving.status.ready_replicas) == (["churn-1"], 4, 4)


def test_a_retiring_revision_is_not_counted(serving: SimulatedCluster) -> None:
    serving.change(strategy=None)
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.retiring
    assert (selected(serving), serving.status.replicas) == (["churn-2"], 4)


def test_the_first_model_is_counted_before_it_is_stable_and_before_it_nothing() -> None:
    cluster = SimulatedCluster()
    cluster.change(replicas=2)
    cluster.pass_once()
    assert (selected(cluster), cluster.status.replicas) == ([], 0)
    cluster.slow.add(f"sha256:{1:064x}")
    cluster.add(make_model("churn", 1))
    cluster.settle(2)
    assert (selected(cluster), cluster.status.replicas) == (["churn-1"], 2)


def test_a_model_that_is_deleted_with_its_servers_leaves_no_weight_on_nothing(serving: SimulatedCluster) -> None:
    forget(serving, 1)
    serving.settle(3)
    assert serving.status.stable is None
    assert serving.routers[0].weights == {}
    assert condition(serving, "Ready") == ("False", "NoApprovedModel")
    assert serving.status.history[0].outcome == "Gone"
    (event,) = [one for one in serving.events if one.reason == "StableGone"]
    assert (event.type, event.message.startswith("Model churn-1 and its servers were deleted")) == ("Warning", True)
    assert serving.pending() == []


def test_an_approved_version_takes_over_from_what_is_gone(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.change(strategy=None)
    serving.settle(30)
    forget(serving, 2)
    serving.settle(8)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-1", "there is nothing newer to fall behind"


def test_a_canary_that_answers_gets_everything_when_stable_is_gone(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.settle(5)
    canary = serving.status.canary
    assert canary is not None
    forget(serving, 1)
    serving.settle(2)
    assert serving.routers[0].weights == {canary.revision: 100}
    serving.settle(6)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


def test_a_model_that_is_deleted_alone_keeps_serving(serving: SimulatedCluster) -> None:
    serving.models.clear()
    serving.settle(4)
    assert serving.status.stable is not None
    assert serving.routers[0].weights == {serving.status.stable.revision: 100}
