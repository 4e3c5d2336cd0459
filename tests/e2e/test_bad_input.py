"""Every way a source or a trainer can be wrong ends in a named reason with the next command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace_demo import data, marker, objects, sources
from millrace_demo.kubectl import Kubectl, condition, is_true

Manifest = dict[str, Any]


def reason_of(item: Manifest) -> str:
    """Why the object does not go on."""
    stalled = condition(item, "Stalled")
    return str(stalled["reason"]) if stalled.get("status") == "True" else ""


SOURCES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda _: None, "SourceNotFound"),
    "empty": (lambda _: b"", "SourceEmpty"),
    "header-only": (lambda csv: csv.split(b"\n", 1)[0] + b"\n", "SourceEmpty"),
    "malformed": (lambda csv: csv[:5000] + b'\n"an open quote, 1, 2\n' + csv[5000:9000], "SourceMalformed"),
    "other-columns": (lambda csv: csv.replace(b"disea", b"illness", 1), "SchemaMismatch"),
    "words-for-numbers": (lambda csv: csv.replace(b"\n", b"\nplenty", 1), "SchemaMismatch"),
    "too-few-rows": (lambda csv: b"\n".join(csv.split(b"\n")[:200]) + b"\n", "RuleViolated"),
}


@pytest.fixture(scope="module")
def bad_sources(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]) -> None:
    """All bad Datasets at once: they are looked at side by side."""
    for case, (spoil, _) in SOURCES.items():
        body = spoil(slices[0].csv)
        uri = f"s3://{sources.BUCKET}/sources/{kubectl.namespace}/bad-{case}/rows.csv"
        if body is not None:
            store.put(f"sources/bad-{case}/rows.csv", body)
        kubectl.apply(objects.dataset(f"bad-{case}", uri, interval=None))


@pytest.mark.usefixtures("bad_sources")
@pytest.mark.parametrize("case", SOURCES)
def test_a_bad_source_is_named(kubectl: Kubectl, case: str) -> None:
    want = SOURCES[case][1]
    seen = kubectl.until("mds", f"bad-{case}", lambda item: reason_of(item) != "", 240, "a reason")
    assert reason_of(seen) == want
    assert "kubectl" in condition(seen, "Stalled")["message"]
    assert "Traceback" not in str(seen["status"])
    assert "current" not in seen["status"]


def test_a_bad_version_is_refused_and_the_old_one_stays(
    kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]
) -> None:
    uri = store.put("sources/turns-bad/a.csv", slices[0].csv).rsplit("/", 1)[0] + "/"
    kubectl.apply(objects.dataset("turns-bad", uri, interval="5s"))
    good = kubectl.until("mds", "turns-bad", lambda item: is_true(item, "Ready"), 120, "Ready")
    store.put("sources/turns-bad/b.csv", slices[1].csv.replace(b"disea", b"illness", 1))
    refused = kubectl.until(
        "mds", "turns-bad", lambda item: condition(item, "Valid").get("status") == "False", 120, "refused"
    )
    assert condition(refused, "Valid")["reason"] == "SchemaMismatch"
    assert refused["status"]["current"] == good["status"]["current"]
    assert condition(refused, "Ready")["status"] == "True"
    kubectl.delete("mds", "turns-bad")


RUNS: dict[str, tuple[Manifest, str]] = {
    "hangs": ({"parameters": {"n_estimators": "1000000"}, "activeDeadlineSeconds": 20}, "DeadlineExceeded"),
    "starved": (
        {
            "trainer": {
                "builtin": {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "task": "Classification"},
                "resourcesPerNode": {"limits": {"memory": "60Mi"}},
            },
            "backoffLimit": 0,
        },
        "TrainerOutOfMemory",
    ),
    "misspelt": ({"parameters": {"n_trees": "10"}}, "UnknownParameter"),
    "absurd": ({"parameters": {"n_estimators": "-3"}, "backoffLimit": 0}, "UnknownParameter"),
    "unknown": (
        {"trainer": {"builtin": {"estimator": "sklearn.ensemble.StackingClassifier", "task": "Classification"}}},
        "UnknownEstimator",
    ),
    "too-weak": (
        {
            "evaluation": {
                "metrics": ["roc_auc"],
                "gates": [{"name": "impossible", "metric": "roc_auc", "threshold": {"min": 0.999}}],
            }
        },
        "GatesFailed",
    ),
}


@pytest.fixture(scope="module")
def bad_runs(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]) -> None:
    """All bad TrainingRuns at once, over one good Dataset."""
    uri = store.put("sources/for-bad-runs/a.csv", slices[0].csv)
    kubectl.apply(objects.dataset("for-bad-runs", uri, interval=None))
    kubectl.until("mds", "for-bad-runs", lambda item: is_true(item, "Ready"), 120, "Ready")
    author = kubectl.whoami()
    for case, (changes, _) in RUNS.items():
        kubectl.apply(objects.training_run(f"bad-{case}", "for-bad-runs", f"bad-{case}", author, **changes))


@pytest.mark.usefixtures("bad_runs")
@pytest.mark.parametrize("case", RUNS)
def test_a_bad_run_is_named_and_makes_no_model(kubectl: Kubectl, case: str) -> None:
    want = RUNS[case][1]
    seen = kubectl.until("mtr", f"bad-{case}", lambda item: is_true(item, "Failed"), 300, "Failed")
    assert reason_of(seen) == want
    assert "kubectl" in condition(seen, "Stalled")["message"]
    assert "Traceback" not in str(seen["status"])
    assert kubectl.list("mmd", f"millrace.dev/model-name=bad-{case}") == []
    if case == "hangs":
        assert "raining" in condition(seen, "Stalled")["message"]


TRAINERS: dict[str, tuple[str, str]] = {
    "writes-nothing": ("pass", "NoModelWritten"),
    "not-onnx": (
        (
            "import pathlib; folder = pathlib.Path('/work/model'); folder.mkdir(exist_ok=True); "
            "(folder / 'model.onnx').write_bytes(b'a pickle, perhaps')"
        ),
        "NotOnnx",
    ),
    "dies-silently": ("raise SystemExit(7)", "TrainerCrashed"),
}


POLICIES = "mutatingadmissionpolicybindings,mutatingadmissionpolicies"


def other_trainer(case: str, program: str, namespace: str) -> list[Manifest]:
    """Puts `program` in the place of one run's trainer as its Job is created; the platform around it is untouched.

    A policy is the whole cluster's: this one leaves all Jobs of other namespaces alone.
    """
    name = f"{namespace}-{case}"
    patch = f"""[JSONPatch{{
        op: "replace",
        path: "/spec/template/spec/initContainers/1/command",
        value: ["python", "-c", {program!r}]
    }}]"""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {marker.LABEL: namespace}},
                "objectSelector": {"matchLabels": {"millrace.dev/training-run": f"bad-{case}"}},
                "resourceRules": [
                    {
                        "apiGroups": ["batch"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["jobs"],
                    }
                ],
            },
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    return [marker.labelled(policy, namespace), marker.labelled(binding, namespace)]


@pytest.fixture(scope="module")
def other_trainers(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]) -> Iterator[None]:
    """Runs whose trainer leaves something else behind than a model."""
    uri = store.put("sources/for-trainers/a.csv", slices[0].csv)
    kubectl.apply(objects.dataset("for-trainers", uri, interval=None))
    release = kubectl.namespace
    ours = ("delete", POLICIES, "-l", f"{marker.LABEL}={release}")
    kubectl.run(*ours)  # what a run that was killed has left
    kubectl.create(*(one for case, (program, _) in TRAINERS.items() for one in other_trainer(case, program, release)))
    kubectl.until("mds", "for-trainers", lambda item: is_true(item, "Ready"), 120, "Ready")
    time.sleep(2)  # the API server reads new admission policies once a second
    author = kubectl.whoami()
    for case in TRAINERS:
        run = objects.training_run(f"bad-{case}", "for-trainers", f"bad-{case}", author, backoffLimit=0)
        kubectl.apply(run)
    yield
    kubectl.run(*ours)


@pytest.mark.usefixtures("other_trainers")
@pytest.mark.parametrize("case", TRAINERS)
def test_a_trainer_that_leaves_no_model_is_named(kubectl: Kubectl, case: str) -> None:
    want = TRAINERS[case][1]
    seen = kubectl.until("mtr", f"bad-{case}", lambda item: is_true(item, "Failed"), 240, "Failed")
    assert reason_of(seen) == want
    assert "kubectl" in condition(seen, "Stalled")["message"]
    assert kubectl.list("mmd", f"millrace.dev/model-name=bad-{case}") == []
