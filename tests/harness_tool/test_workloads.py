"""The workloads themselves: undisturbed, in virtual time, on the model of the API server."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from millrace_harness import ending, run
from millrace_harness.workloads import WORKLOADS, Is, Wanted
from millrace_harness.workloads.wanted import at

CLOSED_LOOP = "drift-retrains"
SAMPLE = ("run-makes-model", "canary-promotes", "deployment-recreated", CLOSED_LOOP)
"""`python tests/harness` tells all of them undisturbed first, and says what is wrong."""


@cache
def told(name: str) -> run.Told:
    return run.tell(name)


@pytest.mark.parametrize("name", SAMPLE)
def test_an_undisturbed_workload_comes_to_the_end_it_wants_and_breaks_no_law(name: str) -> None:
    assert told(name).findings == []


@pytest.mark.parametrize("name", SAMPLE)
def test_a_workload_that_runs_again_ends_the_same(name: str) -> None:
    again = run.tell(name)
    assert ending.differences(again.end, told(name).end) == []
    assert len(again.history.changes) == len(told(name).history.changes)


def test_there_are_workloads_of_every_kind_of_object() -> None:
    kinds = {one.kind for workload in WORKLOADS.values() for one in workload.wanted.objects}
    assert kinds == {"Dataset", "TrainingRun", "Model", "Deployment"}
    assert len(WORKLOADS) >= 16
    assert all(workload.about for workload in WORKLOADS.values())


def manifest(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    group = "v1" if kind in ("Pod", "Service", "ConfigMap") else "millrace.dev/v1alpha1"
    metadata = {"name": name, "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, **rest}


def a_model(**status: Any) -> dict[str, Any]:
    approved = {"type": "Approved", "status": "True", "reason": "QuorumReached"}
    return manifest("Model", "churn-1", status={"observedGeneration": 1, "conditions": [approved], **status})


WANTED = Wanted((Is("Model", "churn-1", {"Approved": "True/QuorumReached"}, {"status.aliases": ["champion"]}),))


def test_the_end_that_is_wanted_has_no_findings() -> None:
    assert WANTED.findings([a_model(aliases=["champion"])]) == []


@pytest.mark.parametrize(
    "found, finding",
    [
        ([], "Model churn-1 is there 0 times, not once"),
        ([a_model()], "Model churn-1: status.aliases is None, not ['champion']"),
        ([a_model(aliases=["champion"], observedGeneration=0)], "the status is about generation 0, not 1"),
        ([a_model(aliases=["champion"]), manifest("Model", "churn-2")], "Model churn-2 should not be there"),
        ([a_model(aliases=["champion"], conditions=[])], "Approved is absent/, not True/QuorumReached"),
    ],
)
def test_an_end_that_is_not_wanted_is_reported(found: list[dict[str, Any]], finding: str) -> None:
    assert finding in "; ".join(WANTED.findings(found))


def test_what_nobody_owns_any_more_is_left_over() -> None:
    orphan = manifest("Service", "churn")
    orphan["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "churn", "uid": "gone"}]
    going = manifest("Pod", "churn-1-0")
    going["metadata"]["deletionTimestamp"] = "2026-11-21T08:00:00Z"
    findings = Wanted().findings([orphan, going])
    assert "Service churn belongs to Deployment churn, which is not there" in findings
    assert "Pod churn-1-0 is being deleted and still there" in findings


def test_servers_that_nobody_wants_are_reported() -> None:
    labels = {"millrace.dev/component": "server", "millrace.dev/deployment": "churn", "millrace.dev/model": "churn-1"}
    pod = manifest("Pod", "churn-1-0")
    pod["metadata"]["labels"] = labels
    two = [copy.deepcopy(pod), copy.deepcopy(pod)]
    wanted = Wanted(servers={"churn": {"churn-1": 1}})
    assert "pods of servers are there of {('churn', 'churn-1'): 2}" in "; ".join(wanted.findings(two))


@pytest.mark.parametrize(
    "path, value",
    [("status.a", 1), ("status.list.#", 2), ("status.list.1.b", 3), ("status.list.7.b", None), ("x.y", None)],
)
def test_facts_are_found_by_path(path: str, value: Any) -> None:
    assert at({"status": {"a": 1, "list": [{}, {"b": 3}]}}, path) == value


def test_the_closed_loop_tells_of_every_step() -> None:
    changes = [(change.name.kind, change.name.name) for change in told(CLOSED_LOOP).history.changes]
    clones = {name for kind, name in changes if kind == "trainingruns" and name.startswith("churn-drift-")}
    assert len(clones) == 1
