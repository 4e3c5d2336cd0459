"""What retention may take: each thing that is wrong in a bad history is found, and a good one has no findings."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.contract import task
from millrace.contract.removal import EraseTask
from millrace_harness import invariants
from millrace_harness.history import History
from millrace_harness.wire import Request

STORE = "s3://millrace"
FOLDER = f"{STORE}/models/ml/churn/uid-run-1"
VERSION = f"{STORE}/datasets/ml/churn/sha256-1/"
Manifest = dict[str, Any]


def thing(kind: str, name: str, *, api: str = "millrace.dev/v1alpha1", **more: Any) -> Manifest:
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": "1", "generation": 1}
    return {"apiVersion": api, "kind": kind, "metadata": metadata | more.pop("metadata", {}), **more}


def model(**spec: Any) -> Manifest:
    filled = {
        "artifact": {"digest": "sha256:1", "storageUri": f"{FOLDER}/model.onnx"},
        "goldenSetUri": f"{FOLDER}/golden.json",
        "referenceProfileUri": f"{FOLDER}/profile.json",
        "provenance": {"trainingRunRef": {"name": "run-1"}},
    }
    return thing("Model", "churn-1", spec={**filled, **spec})


def run(ended: str = "Complete") -> Manifest:
    return thing("TrainingRun", "run-1", status={"conditions": [{"type": ended, "status": "True"}]})


def dataset(mode: str = "Delete", *going: Manifest, versions: tuple[Manifest, ...] = ()) -> Manifest:
    items = [{"kind": one["kind"], "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]} for one in going]
    status = {"retention": {"deletion": {"items": items}}, "versions": list(versions)}
    return thing("Dataset", "churn", spec={"retention": {"mode": mode}}, status=status)


def deleted(gone: Manifest, *around: Manifest) -> set[str]:
    """The laws that are broken when the operator deletes this while the others are there."""
    history = History()
    for one in around:
        history.add(1, "user", None, one)
    plural = {"Model": "models", "TrainingRun": "trainingruns", "Deployment": "deployments"}[gone["kind"]]
    body = {"preconditions": {"uid": gone["metadata"]["uid"], "resourceVersion": "1"}}
    path = f"/apis/millrace.dev/v1alpha1/namespaces/ml/{plural}/{gone['metadata']['name']}"
    history.add(2, "operator-1", gone, None, Request("operator-1", "DELETE", path, {}, body))
    return {one.law for one in invariants.check(history)}


def test_what_a_dataset_says_it_deletes_may_go() -> None:
    assert deleted(model(), dataset("Delete", model())) == set()
    assert deleted(run(), dataset("Delete", run())) == set()


OTHER = {**model(), "metadata": {"name": "churn-1", "uid": "another"}}
STABLE = thing("Deployment", "d", status={"stable": {"model": "churn-1", "weight": 0}})
BOB = {"user": "bob", "digest": "sha256:1"}
WRONG: dict[str, tuple[Manifest, tuple[Manifest, ...]]] = {
    "nobody said so": (model(), (dataset("Delete"),)),
    "another of the name was meant": (model(), (dataset("Delete", OTHER),)),
    "it is a dry run": (model(), (dataset("DryRun", model()),)),
    "it is approved": (model(approvals=[{**BOB, "decision": "Approve"}]), (dataset("Delete", model()),)),
    "it is rejected": (model(approvals=[{**BOB, "decision": "Reject"}]), (dataset("Delete", model()),)),
    "it was imported": (model(provenance={}), (dataset("Delete", model()),)),
    "it is stable": (
        model(), (dataset("Delete", model()), STABLE),
    ),
    "it is pinned": (
        model(), (dataset("Delete", model()), thing("Deployment", "d", spec={"modelRef": {"name": "churn-1"}})),
    ),
    "the run is under way": (run("Reconciling"), (dataset("Delete", run()),)),
    "the run's model is there": (run(), (dataset("Delete", run()), model())),
    "it is neither": (thing("Deployment", "d"), (dataset("Delete", thing("Deployment", "d")),)),
}  # fmt: skip


@pytest.mark.parametrize("why", WRONG)
def test_i11_what_must_not_go_is_found_if(why: str) -> None:
    gone, around = WRONG[why]
    assert "I11" in deleted(gone, *around)


def erasing(*folders: str) -> Manifest:
    told = EraseTask("ml", "churn", STORE, folders)
    template = {"metadata": {"annotations": {task.ANNOTATION: task.pack(told.to_json())}}}
    labels = {"millrace.dev/component": "retention"}
    return thing("Job", "churn-erase-1", api="batch/v1", metadata={"labels": labels}, spec={"template": template})


PINNED = thing("TrainingRun", "run-2", status={"resolved": {"datasetUri": VERSION}})
NAMED: dict[str, tuple[str, Manifest]] = {
    "a model": (FOLDER, model()),
    "a run": (FOLDER, run()),
    "a run that is pinned to it": (VERSION, PINNED),
    "a version": (VERSION, dataset("Delete", versions=({"uri": VERSION},))),
}


@pytest.mark.parametrize("who", NAMED)
def test_i15_files_that_something_still_names_are_found_of(who: str) -> None:
    folder, namer = NAMED[who]
    history = History()
    history.add(1, "user", None, namer)
    history.add(2, "operator-1", None, erasing(folder))
    assert {one.law for one in invariants.check(history)} == {"I15"}


def test_i15_files_that_nothing_names_may_go() -> None:
    history = History()
    history.add(1, "user", None, model(artifact={"digest": "sha256:2", "storageUri": f"{FOLDER}1/model.onnx"},
                                       goldenSetUri=f"{FOLDER}1/g", referenceProfileUri=f"{FOLDER}1/p"))  # fmt: skip
    history.add(2, "operator-1", None, erasing(FOLDER, VERSION))
    assert {one.law for one in invariants.check(history)} == set()
