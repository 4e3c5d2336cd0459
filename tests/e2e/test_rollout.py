"""What callers notice of a rollout: nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from millrace_demo import data, imports, objects, traffic
from millrace_demo.kubectl import Kubectl, condition, is_true

RATE = 100.0


def stable_model(item: dict[str, Any]) -> str:
    """The model that is stable now."""
    return str(item.get("status", {}).get("stable", {}).get("model", ""))


def serves(kubectl: Kubectl, name: str, model: str, timeout: float = 120) -> dict[str, Any]:
    """Wait until `model` is stable at 100 % and no rollout is under way."""
    return kubectl.until(
        "mdep",
        name,
        lambda item: (
            stable_model(item) == model
            and item["status"]["stable"]["weight"] == 100
            and "canary" not in item["status"]
            and is_true(item, "Ready")
        ),
        timeout,
        f"{model} stable at 100 %",
    )


def start(kubectl: Kubectl, importer: Any, name: str, **spec: Any) -> None:
    """Serve the first version of a model of the same name."""
    importer.approved(name, 1, imports.logistic(1.0))
    kubectl.apply(objects.deployment(name, name, None, **spec))
    serves(kubectl, name, f"{name}-1")


def ends(kubectl: Kubectl, name: str, verdict: str) -> dict[str, Any]:
    """Wait until the rollout has ended like that."""
    return kubectl.until(
        "mdep", name, lambda item: item["status"].get("rollout", {}).get("lastVerdict") == verdict, 120, verdict
    )


def at_20_percent(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """Wait until the canary has that weight."""
    return kubectl.until("mdep", name, lambda item: item["status"].get("canary", {}).get("weight") == 20, 90, "at 20 %")


def test_a_good_canary_is_promoted_and_no_request_fails(
    kubectl: Kubectl, importer: Any, slices: tuple[data.Slice, data.Slice]
) -> None:
    start(kubectl, importer, "good")
    with (
        kubectl.port_forward("svc/good", 80) as url,
        traffic.Caller(url, "good", slices[0].rows, RATE) as caller,
    ):
        importer.approved("good", 2, imports.logistic(2.0))
        serves(kubectl, "good", "good-2")
        time.sleep(3)
    assert caller.tally.failures == {}
    assert caller.tally.answered == caller.tally.sent > 1000
    assert set(caller.tally.versions) == {"1", "2"}


def test_a_canary_that_answers_errors_is_rolled_back_and_quarantined_and_no_request_fails(
    kubectl: Kubectl, importer: Any, slices: tuple[data.Slice, data.Slice]
) -> None:
    start(kubectl, importer, "bad")
    with (
        kubectl.port_forward("svc/bad", 80) as url,
        traffic.Caller(url, "bad", slices[1].rows, RATE) as caller,
    ):
        digest = importer.approved("bad", 2, imports.lookup(5))
        rolled_back = ends(kubectl, "bad", "RolledBack")
        time.sleep(3)
    assert caller.tally.failures == {}
    assert caller.tally.answered == caller.tally.sent
    assert [entry["digest"] for entry in rolled_back["status"]["quarantined"]] == [digest]
    after = kubectl.get("mdep", "bad")
    assert after is not None
    assert stable_model(after) == "bad-1"
    assert after["status"]["stable"]["weight"] == 100
    assert after["status"].get("canary", {"weight": 0})["weight"] == 0


def test_a_newer_approval_supersedes_the_canary_without_quarantine(kubectl: Kubectl, importer: Any) -> None:
    steps = [{"setWeight": 20}, {"pause": {"duration": "10m"}}]
    start(kubectl, importer, "newer", strategy={"canary": {"steps": steps}})
    importer.approved("newer", 2, imports.logistic(2.0))
    at_20_percent(kubectl, "newer")
    importer.approved("newer", 3, imports.logistic(3.0))
    restarted = kubectl.until(
        "mdep",
        "newer",
        lambda item: item["status"].get("canary", {}).get("model") == "newer-3",
        90,
        "the newer canary",
    )
    assert restarted["status"]["rollout"]["lastVerdict"] == "Superseded"
    assert restarted["status"].get("quarantined", []) == []
    assert restarted["status"]["canary"]["weight"] in (0, 20)


def test_a_person_aborts_a_canary_and_brings_it_back(kubectl: Kubectl, importer: Any) -> None:
    steps = [{"setWeight": 20}, {"pause": {"duration": "20s"}}]
    start(kubectl, importer, "held", strategy={"canary": {"steps": steps, "disableDefaults": ["ErrorRate"]}})
    importer.approved("held", 2, imports.logistic(2.0))
    revision = at_20_percent(kubectl, "held")["status"]["canary"]["revision"]
    patch_actions(kubectl, "held", {"abort": {"revision": revision, "reason": "a hunch"}})
    assert stable_model(ends(kubectl, "held", "Aborted")) == "held-1"
    patch_actions(kubectl, "held", {"abort": None, "retry": {"revision": revision}})
    serves(kubectl, "held", "held-2", 150)


def patch_actions(kubectl: Kubectl, name: str, actions: dict[str, Any]) -> None:
    """Ask for something as a person does."""
    kubectl.run("patch", "mdep", name, "--type=merge", "-p", json.dumps({"spec": {"actions": actions}}))


@pytest.mark.parametrize(
    "case, reason",
    [("garbage", "ModelNotLoadable"), ("other-answers", "GoldenSetMismatch"), ("other-bytes", "DigestMismatch")],
)
def test_a_model_that_cannot_serve_is_named_and_the_last_good_one_keeps_serving(
    kubectl: Kubectl, importer: Any, store: Any, slices: tuple[data.Slice, data.Slice], case: str, reason: str
) -> None:
    name = f"cannot-{case}"
    start(kubectl, importer, name)
    good, other = imports.logistic(2.0), imports.logistic(5.0)
    answers = imports.golden_set(good, slices[0].rows[:16])
    model = {"garbage": b"not an ONNX file", "other-answers": other, "other-bytes": good}[case]
    importer.approved(name, 2, model, golden=answers)
    if case == "other-bytes":
        store.put(f"imports/{name}/2/model.onnx", other)
    seen = ends(kubectl, name, "RolledBack")
    assert reason in seen["status"]["rollout"]["lastVerdictReason"]
    assert stable_model(seen) == f"{name}-1"
    assert condition(seen, "Ready")["status"] == "True"
