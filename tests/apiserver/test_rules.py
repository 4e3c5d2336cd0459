"""Every CEL rule refuses what it is there for, says so at its field, and refuses nothing else of the sample."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver_kit import erasures, limits, splits

from millrace.api import crds

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
REMOVED = object()
SAMPLES = {
    name: yaml.safe_load((ROOT / f"manifests/samples/{name}.yaml").read_text())
    for name in ("dataset", "training-run", "training-run-regression", "model", "deployment", "deployment-minimal")
}
DIGEST = SAMPLES["model"]["spec"]["artifact"]["digest"]
OTHER_DIGEST = "sha256:" + "0" * 64


def approval(decision: str = "Approve", digest: str = DIGEST, **more: str) -> Manifest:
    return {"user": "maker", "decision": decision, "digest": digest, **more}


@dataclass(frozen=True)
class Case:
    """Changes to a sample that break the rule at `where` whose message begins with `says`, reported at `path`.

    With `before` the object is created so changed and then updated: the rule is about a transition.
    """

    sample: str
    where: str
    says: str
    path: str
    changes: dict[str, Any]
    before: dict[str, Any] | None = None
    id: str = field(default="")


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy with values set, or removed, at paths such as `spec.gates[0].name`."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]
        place: Any = result
        for part in parents:
            place = place[part] if isinstance(place, list) else place.setdefault(part, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return result


def names(sample: str, longest: int) -> list[Case]:
    long = "a" * (longest + 1)
    return [
        Case(sample, "", f"metadata.name must be at most {longest} characters", "<nil>", {"metadata.name": long}),
        Case(sample, "", "metadata.name must be an RFC 1035 label", "<nil>", {"metadata.name": "7days"}),
        Case(sample, "", "metadata.name must be an RFC 1035 label", "<nil>", {"metadata.name": "a.b"}),
    ]


def resources(sample: str, where: str) -> list[Case]:
    too_much = {f"{where}.requests": {"memory": "3Gi"}, f"{where}.limits": {"memory": "2048Mi"}}
    kind = "a resource is cpu, memory"
    return [
        Case(sample, where, "a request must not exceed its limit", f"{where}.requests", too_much),
        Case(sample, where, kind, where, {f"{where}.requests": {"memroy": "1Gi"}}),
        Case(sample, where, kind, where, {f"{where}.limits": {"gpu": "1"}}),
        *(
            Case(sample, where, kind, where, {f"{where}.limits": {name: "1"}})
            for name in ("nvidia.com/", "/gpu", "a/b/c", "NVIDIA.com/gpu", "requests.nvidia.com/gpu")
        ),
        Case(sample, where, "an extended resource such as nvidia.com/gpu is counted", f"{where}.limits",
             {f"{where}.limits": {"nvidia.com/gpu": "500m"}}),
        Case(sample, where, "an extended resource such as nvidia.com/gpu has equal", f"{where}.requests",
             {f"{where}.requests": {"nvidia.com/gpu": "1"}, f"{where}.limits": {"memory": "2Gi"}}),
        Case(sample, where, "an extended resource such as nvidia.com/gpu has equal", f"{where}.requests",
             {f"{where}.requests": {"nvidia.com/gpu": "1"}, f"{where}.limits": {"nvidia.com/gpu": "2"}}),
    ]  # fmt: skip


DATASET = [
    *names("dataset", 52),
    Case(
        "dataset", "spec.schema", "Strict and AllowNewFields need fields", "spec.schema",
        {"spec.schema.fields": REMOVED},
    ),
    Case(
        "dataset", "spec.schema", "Strict and AllowNewFields need fields", "spec.schema",
        {"spec.schema": {"mode": "AllowNewFields"}},
    ),
    Case(
        "dataset", "spec.schema", "at most one field may have role Label", "spec.schema.fields",
        {"spec.schema.fields[2].role": "Label"},
    ),
    Case(
        "dataset", "spec.schema.fields[]", "minimum and maximum are for", "spec.schema.fields[4].type",
        {"spec.schema.fields[4].minimum": 1},
    ),
    Case(
        "dataset", "spec.schema.fields[]", "minimum must not exceed maximum", "spec.schema.fields[2].minimum",
        {"spec.schema.fields[2].minimum": 1200.5},
    ),
    Case(
        "dataset", "spec.refresh", "interval must be at least 5s", "spec.refresh.interval",
        {"spec.refresh.interval": "4s999ms"},
    ),
    Case(
        "dataset", "spec.validation.rules[]", "exactly one of rowCount", "spec.validation.rules[0]",
        {"spec.validation.rules[0]": {"name": "empty"}},
    ),
    Case(
        "dataset", "spec.validation.rules[]", "exactly one of rowCount", "spec.validation.rules[0]",
        {"spec.validation.rules[0].unique": {"fields": ["plan"]}},
    ),
    Case(
        "dataset", "spec.validation.rules[].rowCount", "set min, max or both", "spec.validation.rules[0].rowCount",
        {"spec.validation.rules[0].rowCount": {}},
    ),
    Case(
        "dataset", "spec.validation.rules[].rowCount", "min must not exceed max",
        "spec.validation.rules[0].rowCount.min",
        {"spec.validation.rules[0].rowCount": {"min": 2, "max": 1}},
    ),
    Case("dataset", "spec.split", "Stratified needs field", "spec.split.field", {"spec.split.field": REMOVED}),
    *resources("dataset", "spec.worker.resources"),
    *(Case("dataset", *case) for case in (*splits.REFUSED, *splits.UNREADABLE)),
    *(Case("dataset", *case) for case in (*erasures.REFUSED, *limits.REFUSED)),
    *(Case("dataset", where, says, path, changes, before={}) for where, says, path, changes in erasures.TAKEN_BACK),
]  # fmt: skip

GATE = "spec.evaluation.gates[0]"
TRAINING_RUN = [
    *names("training-run", 52),
    *(
        Case(
            "training-run", "spec", "a TrainingRun is immutable", "spec", {path: value}, before={},
        )
        for path, value in {
            "spec.seed": 43,
            "spec.author": "mallory",
            "spec.parameters": REMOVED,
            "spec.trainer.resourcesPerNode": REMOVED,
            "spec.output.approvalPolicy": {"required": 0},
            "spec.evaluation.gates": REMOVED,
        }.items()
    ),
    Case(
        "training-run", "spec", "evaluation.metrics must suit trainer.builtin.task", "spec.evaluation.metrics",
        {"spec.trainer.builtin.task": "Regression"},
    ),
    Case(
        "training-run-regression", "spec", "evaluation.metrics must suit trainer.builtin.task",
        "spec.evaluation.metrics", {"spec.evaluation.metrics": ["rmse", "mae", "r2", "accuracy"]},
    ),
    *resources("training-run", "spec.trainer.resourcesPerNode"),
    *resources("training-run", "spec.worker.resources"),
    Case(
        "training-run", "spec.evaluation", "every gate's metric must be listed", "spec.evaluation.gates",
        {"spec.evaluation.metrics": ["roc_auc", "log_loss"]},
    ),
    Case("training-run", "spec.evaluation.gates[]", "exactly one of threshold", GATE, {f"{GATE}.threshold": REMOVED}),
    Case(
        "training-run", "spec.evaluation.gates[]", "exactly one of threshold", GATE,
        {f"{GATE}.baseline": {"maxRegression": 0}},
    ),
    Case(
        "training-run", "spec.evaluation.gates[].threshold", "set min, max or both", f"{GATE}.threshold",
        {f"{GATE}.threshold": {}},
    ),
    Case(
        "training-run", "spec.evaluation.gates[].threshold", "min must not exceed max", f"{GATE}.threshold.min",
        {f"{GATE}.threshold": {"min": 0.9, "max": 0.8}},
    ),
    Case(
        "training-run", "spec.evaluation.gates[].baseline", "exactly one of maxRegression",
        "spec.evaluation.gates[2].baseline", {"spec.evaluation.gates[2].baseline.minImprovement": 0.1},
    ),
    Case(
        "training-run", "spec.evaluation.gates[].baseline", "exactly one of maxRegression",
        "spec.evaluation.gates[2].baseline", {"spec.evaluation.gates[2].baseline": {"alias": "champion"}},
    ),
]  # fmt: skip

APPROVED = {"spec.approvals": [approval(comment="yes"), approval("Revoke")]}
ONLY_APPEND = "approvals are append-only"
MODEL = [
    *names("model", 63),
    Case("model", "", "metadata.name must be <modelName>-<version>", "<nil>", {"metadata.name": "churn-8"}),
    *(
        Case("model", "spec", f"{name} is immutable", f"spec.{name}", {f"spec.{path}": value}, before={})
        for name, path, value in (
            ("modelName", "modelName", "other"),
            ("version", "version", "8"),
            ("artifact", "artifact.storageUri", "s3://mallory/model.onnx"),
            ("artifact", "artifact.sizeBytes", REMOVED),
            ("signature", "signature.inputs[0].shape", [-1, 3]),
            ("provenance", "provenance", REMOVED),
            ("provenance", "provenance.author", "bob"),
            ("provenance", "provenance.dataset", REMOVED),
            ("goldenSetUri", "goldenSetUri", "s3://mallory/golden.json"),
            ("referenceProfileUri", "referenceProfileUri", "s3://mallory/profile.json"),
        )
    ),
    *(
        Case("model", "spec", ONLY_APPEND, "spec.approvals", {"spec.approvals": now}, before=APPROVED, id=how)
        for how, now in (
            ("removed", REMOVED),
            ("emptied", []),
            ("one less", [approval(comment="yes")]),
            ("changed", [approval(comment="no"), approval("Revoke")]),
            ("moved: the approval would count again", [approval("Revoke"), approval(comment="yes")]),
            ("inserted before", [approval("Reject"), approval(comment="yes"), approval("Revoke")]),
        )
    ),
    Case(
        "model", "spec", "an approval must name this artifact's digest", "spec.approvals",
        {"spec.approvals": [approval(digest=OTHER_DIGEST)]},
    ),
]  # fmt: skip

CANARY = "spec.strategy.canary"
DEPLOYMENT = [
    *names("deployment", 45),
    Case("deployment", "spec", "exactly one of modelRef", "spec", {"spec.modelRef": {"name": "churn-7"}}),
    Case("deployment-minimal", "spec", "exactly one of modelRef", "spec", {"spec.modelRef": REMOVED}),
    Case(
        "deployment", "spec", "a drift trigger needs monitoring.drift", "spec.retraining.triggers",
        {"spec.monitoring": REMOVED},
    ),
    Case(
        "deployment", "spec", "retraining needs modelSelector", "spec.retraining",
        {"spec.modelSelector": REMOVED, "spec.modelRef": {"name": "churn-7"}},
    ),
    *resources("deployment", "spec.server.resources"),
    Case(
        "deployment", CANARY, "an analysis step needs a setWeight above 0", f"{CANARY}.steps",
        {f"{CANARY}.steps[0]": {"setWeight": 0}, f"{CANARY}.steps[2]": {"pause": {"duration": "1m"}}},
    ),
    Case(
        "deployment", CANARY, "an analysis step needs a setWeight above 0", f"{CANARY}.steps",
        {f"{CANARY}.steps[0]": {"pause": {"duration": "1m"}}},
    ),
    Case(
        "deployment", f"{CANARY}.steps[]", "exactly one of setWeight", f"{CANARY}.steps[0]",
        {f"{CANARY}.steps[0].pause": {"duration": "1m"}},
    ),
    Case(
        "deployment", f"{CANARY}.steps[]", "exactly one of setWeight", f"{CANARY}.steps[2]",
        {f"{CANARY}.steps[2]": {}},
    ),
    Case(
        "deployment", f"{CANARY}.steps[].analysis", "maxDuration must be at least 1s",
        f"{CANARY}.steps[1].analysis.maxDuration", {f"{CANARY}.steps[1].analysis.maxDuration": "999ms"},
    ),
    Case(
        "deployment", f"{CANARY}.steps[].analysis.metrics[]", "an ErrorRate is a fraction",
        f"{CANARY}.steps[1].analysis.metrics[0].thresholdRange.max",
        {f"{CANARY}.steps[1].analysis.metrics[0].thresholdRange.max": 1},
    ),
    Case(
        "deployment", f"{CANARY}.steps[].analysis.metrics[]", "exactly one of thresholdRange, compare",
        f"{CANARY}.steps[1].analysis.metrics[0]", {f"{CANARY}.steps[1].analysis.metrics[0].compare": {}},
    ),
    Case(
        "deployment", f"{CANARY}.steps[].analysis.metrics[]", "compare is for ErrorRate",
        f"{CANARY}.steps[1].analysis.metrics[0].compare",
        {f"{CANARY}.steps[1].analysis.metrics[0]": {"name": "slow", "builtin": "LatencyP95", "compare": {}}},
    ),
    Case(
        "deployment", f"{CANARY}.analysis.metrics[]", "exactly one of thresholdRange, compare",
        f"{CANARY}.analysis.metrics[0]", {f"{CANARY}.analysis.metrics[0].thresholdRange": REMOVED},
    ),
    Case(
        "deployment", f"{CANARY}.analysis.metrics[]", "compare is for ErrorRate",
        f"{CANARY}.analysis.metrics[2].compare", {f"{CANARY}.analysis.metrics[2].builtin": "LatencyP95"},
    ),
    Case(
        "deployment", CANARY, "a canary is compared with stable", f"{CANARY}.steps",
        {f"{CANARY}.disableDefaults": REMOVED, f"{CANARY}.steps[0]": {"setWeight": 100}},
    ),
    Case(
        "deployment", f"{CANARY}.analysis", "maxDuration must be at least 1s", f"{CANARY}.analysis.maxDuration",
        {f"{CANARY}.analysis.maxDuration": "0h"},
    ),
    Case(
        "deployment", f"{CANARY}.analysis.metrics[]", "an ErrorRate is a fraction",
        f"{CANARY}.analysis.metrics[0].thresholdRange.max", {f"{CANARY}.analysis.metrics[0].thresholdRange.max": 5},
    ),
    Case(
        "deployment", "spec.strategy", "progressDeadline must be at least 1s", "spec.strategy.progressDeadline",
        {"spec.strategy.progressDeadline": "999ms"},
    ),
    Case(
        "deployment", "spec.monitoring.drift", "interval must be at least 1s", "spec.monitoring.drift.interval",
        {"spec.monitoring.drift.interval": "0m0s"},
    ),
]  # fmt: skip

CASES = [*DATASET, *TRAINING_RUN, *MODEL, *DEPLOYMENT]


def named(case: Case) -> str:
    return f"{case.sample}-{case.path}-{case.says}-{case.id or ','.join(case.changes)}"


@pytest.mark.parametrize("case", CASES, ids=[named(case) for case in CASES])
def test_a_rule_refuses_what_breaks_it_at_its_field(case: Case, api: Any, made: Any) -> None:
    base = SAMPLES[case.sample]
    if case.before is None:
        answer = api.create(changed(base, case.changes), dry_run=True)
    else:
        stored = made(changed(base, case.before))
        answer = api.replace(changed(stored, case.changes))
    assert answer.code == 422, f"{answer.code} {answer.message}"
    causes = {(cause["field"], cause["message"].split(": ", 1)[-1]) for cause in answer.body["details"]["causes"]}
    assert any(path == case.path and message.startswith(case.says) for path, message in causes), answer.message


def rules() -> Iterator[tuple[str, str, str]]:
    """(kind, where, message) of every rule of every CRD."""

    def below(schema: Manifest, where: str) -> Iterator[tuple[str, str]]:
        for rule in schema.get("x-kubernetes-validations", ()):
            yield where, rule["message"]
        for name, node in schema.get("properties", {}).items():
            yield from below(node, f"{where}.{name}".removeprefix("."))
        if "items" in schema:
            yield from below(schema["items"], f"{where}[]")

    for crd in crds.render_all().values():
        root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for where, message in below(root, ""):
            yield crd["spec"]["names"]["kind"], where, message


TIMES = "time must be a time"
"""Broken by what CEL cannot even read: see the test below."""


def test_every_rule_has_a_case_that_breaks_it() -> None:
    unproven = [
        (kind, where, message)
        for kind, where, message in rules()
        if not message.startswith(TIMES)
        and not any(
            SAMPLES[case.sample]["kind"] == kind and case.where == where and message.startswith(case.says)
            for case in CASES
        )
    ]
    assert unproven == []


@pytest.mark.parametrize("time", [["a"], ["2026-11-20T09:00:00Z"], []])
def test_a_list_in_place_of_a_time_is_refused_although_the_schema_lets_it_pass(time: list[str], api: Any) -> None:
    """To an object with one no status could ever be applied again."""
    decided = {"spec.approvals": [{**approval(), "time": time}]}
    answer = api.create(changed(SAMPLES["model"], decided), dry_run=True)
    assert answer.code == 422, f"{answer.code} {answer.message}"
    assert "spec.approvals[0]" in answer.message
    assert TIMES in answer.message


def test_decisions_may_be_added_at_the_end(api: Any, made: Any) -> None:
    stored = made(changed(SAMPLES["model"], APPROVED))
    answer = api.replace(changed(stored, {"spec.approvals": [*APPROVED["spec.approvals"], approval(comment="yes")]}))
    assert answer.ok, answer.message


def test_what_is_not_immutable_may_change(api: Any, made: Any) -> None:
    model = made(SAMPLES["model"])
    answer = api.patch(model, {"metadata": {"labels": {"team": "growth"}}, "spec": {"approvalPolicy": {"required": 2}}})
    assert answer.ok, answer.message
    assert api.patch(made(SAMPLES["training-run"]), {"metadata": {"annotations": {"note": "kept"}}}).ok
    dataset = made(SAMPLES["dataset"])
    assert api.patch(dataset, {"spec": {"refresh": {"interval": "1h"}}}).ok


@pytest.mark.parametrize("interval", ["5s", "5000ms", "1m0s", "999999h"])
def test_durations_at_the_edge_are_accepted(interval: str, api: Any) -> None:
    answer = api.create(changed(SAMPLES["dataset"], {"spec.refresh.interval": interval}), dry_run=True)
    assert answer.ok, answer.message


@pytest.mark.parametrize("changes", splits.ACCEPTED)
def test_a_split_by_columns_that_there_are_or_may_be_is_accepted(changes: dict[str, Any], api: Any) -> None:
    answer = api.create(changed(SAMPLES["dataset"], changes), dry_run=True)
    assert answer.ok, answer.message
