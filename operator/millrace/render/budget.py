"""PodDisruptionBudgets: an eviction, as a drained node asks for, may take one router and one server at a time.

A single pod gets no budget: it would only block the drain.
"""

from __future__ import annotations

from typing import Any

from millrace.api.base import ObjectMeta
from millrace.render import metadata, router_workload, server

Manifest = dict[str, Any]


def budgets(owner: ObjectMeta, replicas: int, stable: str | None) -> list[Manifest]:
    """For a Deployment of so many servers, whose stable revision is `stable`.

    A canary has none, because stable answers for it. Neither has a revision that retires: nobody calls it, and while
    pods outlive their workload Kubernetes lets none of a budget's pods go.
    """
    if replicas < 2:
        return []
    found = [_budget(owner, "router", router_workload.selector(owner.name))]
    return found + ([_budget(owner, "server", server.selector(owner.name, stable))] if stable is not None else [])


def _budget(owner: ObjectMeta, component: metadata.Component, selected: dict[str, str]) -> Manifest:
    labels = metadata.labels(component, deployment=owner.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata.child(server.KIND, owner, f"{owner.name}-{component}", labels),
        "spec": {
            "maxUnavailable": 1,
            # One that is not ready serves nobody: it must not keep its node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selected},
        },
    }
