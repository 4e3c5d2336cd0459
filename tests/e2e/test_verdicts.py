"""Right verdicts, as people see them.

A model is held for another signature, rolled back without an analysis, still in quarantine after all was deleted. What
is not its fault is said in the words of whoever refuses it, waited for, and gone on with once it is there.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from millrace_demo import data, imports, objects, release, sources, traffic
from millrace_demo.kubectl import Kubectl, condition, is_true

RATE = 100.0
UNWRITTEN = {"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "5s"}}, {"setWeight": 50}]}}
"""A canary without an analysis."""


@pytest.fixture(autouse=True)
def room_for_one(kubectl: Kubectl) -> Iterator[None]:
    """What one test served must not hold the CPU that the next one's pods ask for."""
    yield
    kubectl.run("delete", "mdep", "--all", "--wait=false")


def serves(kubectl: Kubectl, name: str, model: str) -> dict[str, Any]:
    """Wait until `model` is stable and no rollout is under way."""

    def rests(item: dict[str, Any]) -> bool:
        status = item.get("status", {})
        return status.get("stable", {}).get("model") == model and "canary" not in status

    return kubectl.until("mdep", name, rests, 150, f"{model} stable")


def start(kubectl: Kubectl, importer: Any, name: str, strategy: dict[str, Any] | None) -> dict[str, Any]:
    """Serve the first version of a model of the same name; the Deployment as it was applied."""
    importer.approved(name, 1, imports.logistic(1.0))
    applied = objects.deployment(name, name, None)
    applied["spec"] |= {"strategy": strategy} if strategy is not None else {}
    if strategy is None:
        del applied["spec"]["strategy"]
    kubectl.apply(applied)
    serves(kubectl, name, f"{name}-1")
    return applied


def test_a_model_of_other_inputs_is_held_until_a_person_allows_it(kubectl: Kubectl, importer: Any) -> None:
    name = "wider"
    start(kubectl, importer, name, None)
    signature = copy.deepcopy(imports.SIGNATURE)
    signature["inputs"][0]["shape"][1] += 2
    importer.approved(name, 2, imports.logistic(2.0), signature=signature)
    held = kubectl.until(
        "mdep", name, lambda item: condition(item, "Stalled")["reason"] == "SignatureChanged", 60, "held"
    )
    assert held["status"]["stable"]["model"] == f"{name}-1"
    assert "canary" not in held["status"]
    message = held["status"]["message"]
    assert f"input numeric is FP32 [-1, {len(data.FEATURES) + 2}], not FP32 [-1, {len(data.FEATURES)}]" in message
    assert f'"allowSignatureChange":"{name}-2"' in message
    patch = json.dumps({"spec": {"strategy": {"allowSignatureChange": f"{name}-2"}}})
    kubectl.run("patch", "mdep", name, "--type=merge", "-p", patch)
    serves(kubectl, name, f"{name}-2")


def test_a_canary_without_an_analysis_that_answers_errors_goes_back_and_stays_out_of_a_new_deployment(
    kubectl: Kubectl, importer: Any, slices: tuple[data.Slice, data.Slice]
) -> None:
    name = "unwritten"
    applied = start(kubectl, importer, name, UNWRITTEN)
    with kubectl.port_forward(f"svc/{name}", 80) as url, traffic.Caller(url, name, slices[1].rows, RATE) as caller:
        digest = importer.approved(name, 2, imports.lookup(5))
        kubectl.until(
            "mdep", name, lambda item: item["status"].get("rollout", {}).get("lastVerdict") == "RolledBack", 120, "back"
        )
    assert caller.tally.failures == {}
    kubectl.run("delete", "mdep", name, "--wait=true")
    kubectl.apply(applied)
    again = serves(kubectl, name, f"{name}-1")
    assert [one["digest"] for one in again["status"]["quarantined"]] == [digest]
    model = kubectl.get("mmd", f"{name}-2")
    assert model is not None
    assert condition(model, "Quarantined")["status"] == "True"


# --- what is not the model's fault


def held_up(kubectl: Kubectl, name: str, reason: str, words: str) -> dict[str, Any]:
    """Wait until the rollout says why its servers are not there; what serves goes on, and nobody is condemned."""

    def says(item: dict[str, Any]) -> bool:
        return condition(item, "Progressing").get("reason") == reason and words in item["status"]["message"]

    held = kubectl.until("mdep", name, says, 60, f"{reason}: {words}")
    status = held["status"]
    assert (status["stable"]["model"], status["stable"]["weight"]) == (f"{name}-1", 100)
    assert (status["canary"]["model"], status["canary"]["weight"]) == (f"{name}-2", 0)
    assert is_true(held, "Ready")
    assert status.get("quarantined", []) == []
    return held


def told(kubectl: Kubectl, kind: str, name: str, reason: str) -> str:
    """What an Event of that reason says about an object, as `kubectl describe` shows it."""
    about = f"involvedObject.kind={kind},involvedObject.name={name},reason={reason}"
    deadline = time.monotonic() + 15
    while not (found := json.loads(kubectl.run("get", "events", f"--field-selector={about}", "-o", "json"))["items"]):
        assert time.monotonic() < deadline, f"no Event {reason} of {kind} {name}"
        time.sleep(0.3)
    return str(found[-1]["message"])


def test_a_model_whose_file_is_missing_is_waited_for(kubectl: Kubectl, importer: Any, store: sources.Sources) -> None:
    name, model = "lost", imports.logistic(2.0)
    start(kubectl, importer, name, None)
    digest = importer.imported(name, 2, model)
    file = f"imports/{name}/2/model.onnx"
    store.delete(file)
    importer.approve(name, 2, digest)
    held = held_up(kubectl, name, "PodNotStarted", f"{store.key(file)} does not exist")
    assert " Next: kubectl " in held["status"]["message"]
    store.put(file, model)
    serves(kubectl, name, f"{name}-2")


@pytest.fixture
def full(kubectl: Kubectl) -> Iterator[None]:
    """The namespace has no room for another pod, until the test or its end makes some."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}}}
    kubectl.create(quota)
    kubectl.until("resourcequota", "full", lambda item: "used" in item.get("status", {}), 30, "it counts")
    yield
    kubectl.delete("resourcequota", "full")


def test_a_quota_is_named_within_seconds_and_the_rollout_goes_on_once_there_is_room(
    request: pytest.FixtureRequest,
    kubectl: Kubectl,
    importer: Any,
    store: sources.Sources,
    slices: tuple[data.Slice, data.Slice],
) -> None:
    name = "crowded"
    start(kubectl, importer, name, None)
    uri = store.put(f"sources/{name}/a.csv", slices[0].csv)
    digest = importer.imported(name, 2, imports.logistic(2.0))
    request.getfixturevalue("full")
    kubectl.apply(objects.dataset(name, uri, interval=None))
    importer.approve(name, 2, digest)
    held_up(kubectl, name, "PodRefused", "exceeded quota: full")
    reads = kubectl.until(
        "mds", name, lambda item: "exceeded quota: full" in item.get("status", {}).get("message", ""), 60, "the quota"
    )
    assert condition(reads, "Reconciling")["reason"] == "PodRefused"
    assert all("exceeded quota: full" in told(kubectl, kind, name, "PodRefused") for kind in ("Deployment", "Dataset"))
    kubectl.delete("resourcequota", "full")
    serves(kubectl, name, f"{name}-2")


@pytest.mark.timeout(400)
def test_a_chart_with_another_server_image_starts_no_canary_and_an_image_that_nobody_has_holds_the_next_rollout(
    installed: release.Release, kubectl: Kubectl, importer: Any, current: Any
) -> None:
    name, missing = "pictured", "nobody-made-this"
    start(kubectl, importer, name, None)
    digest = importer.imported(name, 2, imports.logistic(2.0))
    before = kubectl.get("mdep", name)
    assert before is not None
    servers = f"millrace.dev/component=server,millrace.dev/deployment={name}"
    pods = {one["metadata"]["uid"] for one in kubectl.list("pods", servers)}
    try:
        installed.upgrade({**current.values, "images.server.tag": missing})
        importer.approve(name, 2, digest)
        held = held_up(kubectl, name, "PodNotStarted", missing)
        assert [one["to"] for one in held["status"]["history"] if "to" in one] == [], "nothing else was rolled out"
        assert held["status"]["stable"] == before["status"]["stable"], "the revision, and the image that it runs"
        assert pods <= {one["metadata"]["uid"] for one in kubectl.list("pods", servers)}, "and the very pods"
    finally:
        installed.upgrade(current.values)
    serves(kubectl, name, f"{name}-2")
