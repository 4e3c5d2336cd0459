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
