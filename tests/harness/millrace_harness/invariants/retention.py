"""What retention may take, read from the API alone: part of I11, and I15."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace.api import keys
from millrace.contract.removal import EraseTask
from millrace_harness.envoy import task_of
from millrace_harness.history import Change, History, Manifest, World

from . import finding
from .finding import Finding


def faults(change: Change, before: World) -> Iterator[str]:
    """Why the operator may not delete this object of a user: sentences."""
    gone = change.present
    what = f"{change.sender} deleted {change.name}"
    if change.name.kind not in ("models", "trainingruns"):
        yield f"{what}, which is a user's"
    elif not _is_announced(gone, before):
        yield f"{what}, which no Dataset says it deletes"
    elif change.name.kind == "models":
        yield from (f"{what}, {why}" for why in _needs_model(gone, before))
    else:
        yield from (f"{what}, {why}" for why in _needs_run(gone, before))


def _is_announced(gone: Manifest, before: World) -> bool:
    namespace = gone["metadata"]["namespace"]
    kept = [one for one in before.of("datasets", namespace) if _retention(one).get("mode") == "Delete"]
    deletions = [(finding.status_of(one).get("retention") or {}).get("deletion") or {} for one in kept]
    return any(item.get("uid") == finding.uid(gone) for one in deletions for item in one.get("items") or ())


def _retention(dataset: Manifest) -> dict[str, Any]:
    return finding.spec_of(dataset).get("retention") or {}


def _needs_model(model: Manifest, before: World) -> Iterator[str]:
    name, spec = model["metadata"]["name"], finding.spec_of(model)
    said = {one["user"]: one["decision"] for one in spec.get("approvals") or ()}
    if {"Approve", "Reject"} & set(said.values()):
        yield "about which somebody decided"
    if not (spec.get("provenance") or {}).get("trainingRunRef"):
        yield "which somebody imported"
    for one in before.of("deployments", model["metadata"]["namespace"]):
        named = {(finding.spec_of(one).get("modelRef") or {}).get("name")}
        named |= {(finding.status_of(one).get(role) or {}).get("model") for role in ("stable", "canary")}
        if name in named:
            yield f"which {one['metadata']['name']} serves or names"


def _needs_run(run: Manifest, before: World) -> Iterator[str]:
    name = run["metadata"]["name"]
    if not finding.says(run, "Complete") and not finding.says(run, "Failed"):
        yield "which is under way"
    for model in before.of("models", run["metadata"]["namespace"]):
        claimed = ((finding.spec_of(model).get("provenance") or {}).get("trainingRunRef") or {}).get("name")
        if claimed == name:
            yield f"of which {model['metadata']['name']} is"


def files_go_last(history: History) -> Iterator[Finding]:
    """I15: a Job that erases is made only of folders that no Model, run or version names any more."""
    for change, before, _ in history.walk():
        if change.name.kind != "jobs" or change.before is not None or not change.is_ours:
            continue
        if (change.present["metadata"].get("labels") or {}).get(keys.COMPONENT) != "retention":
            continue
        told = EraseTask.from_json(task_of({"metadata": change.present["spec"]["template"]["metadata"]}))
        named = {uri.rstrip("/") + "/" for uri in _named(before, change.name.namespace)}
        runs = {finding.uid(one) for one in before.of("trainingruns", change.name.namespace)}
        for folder in told.folders:
            is_of_run = folder.rstrip("/").rpartition("/")[2] in runs
            if is_of_run or any(uri.startswith(folder.rstrip("/") + "/") for uri in named):
                yield Finding("I15", change.at, f"{change.sender} has {folder} erased, which something names")


def _named(before: World, namespace: str) -> Iterator[str]:
    for model in before.of("models", namespace):
        spec = finding.spec_of(model)
        yield from (spec["artifact"]["storageUri"], spec["goldenSetUri"], spec["referenceProfileUri"])
    for run in before.of("trainingruns", namespace):
        yield str((finding.status_of(run).get("resolved") or {}).get("datasetUri") or "")
    for dataset in before.of("datasets", namespace):
        known = finding.status_of(dataset)
        yield from (one["uri"] for part in ("versions", "olderVersions") for one in known.get(part) or ())
