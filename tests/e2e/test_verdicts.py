"""Right verdicts, as people see them: held, rolled back, and still in quarantine after everything was deleted."""

from __future__ import annotations

import copy
import json
from typing import Any

from millrace_demo import data, imports, objects, traffic
from millrace_demo.kubectl import Kubectl, condition

RATE = 100.0
UNWRITTEN = {"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "5s"}}, {"setWeight": 50}]}}
"""A canary without an analysis."""


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
