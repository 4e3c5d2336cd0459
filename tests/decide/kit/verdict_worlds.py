"""Worlds of a canary that is judged: what tests of verdicts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_kit.simulation import SimulatedCluster, make_model

STEPS: list[dict[str, Any]] = [{"setWeight": 25}, {"pause": {"duration": "10s"}}, {"setWeight": 50}]


def canary(steps: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {"canary": {"steps": steps or STEPS, **more}}


def serving_cluster() -> SimulatedCluster:
    """churn-1, of two inputs, serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


def until(cluster: SimulatedCluster, reached: Callable[[], bool], requests: int = 0, **answers: float) -> None:
    for _ in range(300):
        if reached():
            return
        cluster.settle(1)
        cluster.serve(requests, **answers)
    raise AssertionError(cluster.status.message)


def stable(cluster: SimulatedCluster) -> str:
    return cluster.status.stable.model if cluster.status.stable is not None else ""


def condition(cluster: SimulatedCluster, kind: str) -> tuple[str, str, str]:
    found = next(one for one in cluster.status.conditions if one.type == kind)
    return found.status, found.reason, found.message


def rolled_back(cluster: SimulatedCluster) -> bool:
    return bool(cluster.status.quarantined)
