"""What an operator that has just started does to routers that carry traffic: nothing, until they have answered."""

from __future__ import annotations

from millrace.decide import deployment as decision
from millrace.decide.deployment.observation import Observation, Router
from millrace_kit.simulation import SimulatedCluster, make_model


def serving() -> Observation:
    """churn-1 serves behind one router that has answered."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    seen = cluster.observe()
    assert [router.asked for router in seen.routers] != [None]
    return seen


def kinds(seen: Observation) -> list[str]:
    return [child["kind"] for child in decision.decide(seen).children]


def test_the_files_of_a_router_that_has_not_answered_this_process_stay_as_they_are() -> None:
    seen = serving()
    silent = tuple(Router(pod=router.pod) for router in seen.routers)
    restarted = seen.model_copy(update={"routers": silent})
    assert "ConfigMap" not in kinds(restarted)
    assert decision.decide(restarted).nudges == ()


def test_the_files_are_written_once_a_router_has_answered_and_when_there_is_none() -> None:
    seen = serving()
    assert "ConfigMap" in kinds(seen)
    assert "ConfigMap" in kinds(seen.model_copy(update={"routers": ()}))


def test_weights_that_the_files_cannot_be_given_yet_are_not_claimed() -> None:
    """A person stopped the canary while nobody operated: once a router has answered, files and status say so."""
    cluster = SimulatedCluster()
    cluster.change(strategy={"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "1h"}}]}})
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    cluster.add(make_model("churn", 2))
    cluster.settle(5)
    canary = cluster.status.canary
    assert canary is not None
    assert canary.weight == 25
    cluster.change(actions={"abort": {"revision": canary.revision}})
    cluster.scraped = []
    plan = cluster.pass_once()
    assert plan.records == ()
    assert cluster.status.canary is not None
    assert cluster.status.canary.weight == 25
    assert cluster.routers[0].weights[canary.revision] == 25
    cluster.settle(2)
    assert cluster.status.canary is None
    assert canary.revision not in cluster.routers[0].weights
