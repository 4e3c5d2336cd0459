"""What keeps an eviction from taking two pods at once."""

from __future__ import annotations

import pytest

from millrace.api import keys
from millrace_kit.simulation import SimulatedCluster, make_model


@pytest.fixture
def cluster() -> SimulatedCluster:
    """churn-1 serves with one server."""
    made = SimulatedCluster()
    made.add(make_model("churn", 1))
    made.settle(5)
    return made


def budgets(cluster: SimulatedCluster) -> list[str]:
    return sorted(name for kind, name in cluster.objects if kind == "PodDisruptionBudget")


def test_there_are_budgets_as_long_as_a_pod_can_be_spared(cluster: SimulatedCluster) -> None:
    assert budgets(cluster) == []
    cluster.change(replicas=2)
    cluster.settle(5)
    assert budgets(cluster) == ["churn-router", "churn-server"]
    assert cluster.pending() == []
    cluster.change(replicas=1)
    cluster.settle(5)
    assert budgets(cluster) == []
    assert cluster.pending() == []


def test_the_servers_budget_follows_what_is_stable(cluster: SimulatedCluster) -> None:
    cluster.change(replicas=2)
    for version in (1, 2):
        cluster.add(make_model("churn", version))
        cluster.settle(40)
        assert cluster.status.stable is not None
        assert cluster.status.stable.version == version
        selected = cluster.objects["PodDisruptionBudget", "churn-server"]["spec"]["selector"]["matchLabels"]
        assert selected[keys.REVISION] == cluster.status.stable.revision
