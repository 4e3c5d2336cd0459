"""Fifty versions, runs and models, of which three of each are kept: what is served, approved or referenced stays too.

All but one are made cheaply: what their Jobs would have written, objects, statuses and files, is written here. One
version, one run, one model and what serves it are real, and everything that deletes is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from millrace_demo import crash, data, marker, objects, release, sources, traffic
from millrace_demo.kubectl import Kubectl, Manifest, condition, is_true

NAME = "keeps"
MANY, KEPT = 50, 3
REAL, NEWEST = 50, 53
"""The number of the version and of the model that are real, and that of the newest model."""
APPROVED, REJECTED, PINNED, CLONED = 7, 9, 5, 11
PATIENCE = 400.0
LIMITS = {
    "versionHistoryLimit": KEPT,
    "modelHistoryLimit": KEPT,
    "successfulRunsHistoryLimit": KEPT,
    "failedRunsHistoryLimit": 0,
}
BEFORE = "2026-01-01T00:{minute:02d}:00Z"
STAYS = {f"{NAME}-{number}" for number in (APPROVED, REJECTED, PINNED, REAL, NEWEST - 2, NEWEST - 1, NEWEST)}
"""Models: decided about, pinned, served, and the newest three."""
KEPT_RUNS = (APPROVED, REJECTED, PINNED, CLONED, NEWEST - 2, NEWEST - 1, NEWEST)
"""Those that such Models came out of, and the one that a Deployment clones."""


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True)
class Past:
    """Writes what the operator and its Jobs would have left; `operator` is a kubectl that acts as the operator."""

    kubectl: Kubectl
    operator: Kubectl
    store: sources.Sources

    def upload(self, folder: str, *names: str) -> None:
        key = folder.removeprefix(f"s3://{sources.BUCKET}/").rstrip("/")
        for name in names:
            self.store.client.put_object(Bucket=sources.BUCKET, Key=f"{key}/{name}", Body=name.encode())

    def said(self, kind: str, name: str, status: Manifest) -> None:
        self.operator.run(
            "patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )

    def version(self, number: int) -> Manifest:
        """A version of before, with its files."""
        made = digest(f"version {number}")
        uri = f"s3://{sources.BUCKET}/datasets/{self.kubectl.namespace}/{NAME}/sha256-{made[7:23]}/"
        self.upload(uri, "manifest.json", "train.parquet")
        return {"version": number, "digest": made, "uri": uri}

    def versions(self) -> None:
        """The only version of the Dataset is its fiftieth, and those before are known."""
        older = [self.version(number) for number in range(MANY - 1, 0, -1)]
        whole = [{**one, "rows": 1000, "bytes": 20, "createdTime": BEFORE.format(minute=0)} for one in older[:19]]
        found = self.kubectl.get("mds", NAME)
        assert found is not None
        real = {**found["status"]["current"], "version": REAL}
        self.said("mds", NAME, {"current": real, "versions": [real, *whole], "olderVersions": older[19:]})

    def run(self, number: int) -> Manifest:
        """A run of before. Its Dataset is not there yet, so that it does not start before its end is written."""
        made = objects.training_run(f"{NAME}-r-{number}", NAME, NAME, self.kubectl.whoami(), required=1)
        self.kubectl.create(made)
        found = self.kubectl.get("mtr", made["metadata"]["name"])
        assert found is not None
        self.upload(self.folder(found), "model.onnx", "golden.json", "profile.json", "card.html", "report.json")
        moment = BEFORE.format(minute=number)
        marks = [
            {"type": kind, "status": truth, "reason": "ModelRegistered", "message": "", "lastTransitionTime": moment}
            for kind, truth in (("Complete", "True"), ("Failed", "False"), ("Ready", "True"), ("Stalled", "False"))
        ]
        version = digest(f"version {min(number, MANY - 1)}")
        uri = f"s3://{sources.BUCKET}/datasets/{self.kubectl.namespace}/{NAME}/sha256-{version[7:23]}/"
        dataset = {"name": NAME, "version": min(number, MANY - 1), "digest": version}
        status = {
            "observedGeneration": 1, "completionTime": moment, "conditions": marks,
            "resolved": {"dataset": dataset, "datasetUri": uri}, "modelRef": {"name": f"{NAME}-{number}"},
        }  # fmt: skip
        self.said("mtr", made["metadata"]["name"], status)
        return found

    def folder(self, run: Manifest) -> str:
        return f"s3://{sources.BUCKET}/models/{self.kubectl.namespace}/{NAME}/{run['metadata']['uid']}"

    def model(self, number: int, run: Manifest) -> Manifest:
        """The Model of such a run, as the operator registers one: it waits for approval."""
        folder, version = self.folder(run), min(number, MANY - 1)
        tensor = {"name": "numeric", "datatype": "FP32", "shape": [-1, len(data.FEATURES)]}
        spec: Manifest = {
            "modelName": NAME,
            "version": str(number),
            "artifact": {"storageUri": f"{folder}/model.onnx", "digest": digest(f"model {number}")},
            "signature": {"inputs": [tensor], "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}]},
            "provenance": {
                "trainingRunRef": {"name": run["metadata"]["name"]},
                "author": run["spec"]["author"],
                "dataset": {"name": NAME, "version": version, "digest": digest(f"version {version}")},
            },
            "goldenSetUri": f"{folder}/golden.json",
            "referenceProfileUri": f"{folder}/profile.json",
        }
        labels = {"millrace.dev/training-run-uid": run["metadata"]["uid"], "millrace.dev/model-name": NAME}
        metadata = {"name": f"{NAME}-{number}", "labels": labels}
        return {"apiVersion": objects.API_VERSION, "kind": "Model", "metadata": metadata, "spec": spec}


def decided(kubectl: Kubectl, number: int, decision: str) -> None:
    """Somebody other than the author says so."""
    other = dataclasses.replace(kubectl, extra=("--as", "second@example.com", "--as-group", "system:masters"))
    entry = {"user": "second@example.com", "decision": decision, "digest": digest(f"model {number}")}
    other.run("patch", "mmd", f"{NAME}-{number}", "--type=merge", "-p", json.dumps({"spec": {"approvals": [entry]}}))


def retention(mode: str) -> Manifest:
    return {"spec": {"retention": {"mode": mode, "gracePeriod": "1m", "autoApproved": "Keep", **LIMITS}}}


@pytest.fixture(scope="module")
def past(
    installed: release.Release, kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]
) -> Iterator[Past]:
    """Runs first, then the Dataset with its real version and those before, a real run and what serves its model."""
    account = f"system:serviceaccount:{marker.home(kubectl.namespace)}:millrace-operator"
    made = Past(kubectl, dataclasses.replace(kubectl, extra=("--as", account)), store)
    runs = {number: made.run(number) for number in range(1, NEWEST + 1) if number != REAL}
    made.operator.create(*(made.model(number, runs[number]) for number in range(1, MANY)))
    decided(kubectl, APPROVED, "Approve")
    decided(kubectl, REJECTED, "Reject")
    uri = store.put(f"sources/{NAME}/a.csv", slices[0].csv).rsplit("/", 1)[0] + "/"
    kubectl.apply(objects.dataset(NAME, uri, interval=None))
    kubectl.until("mds", NAME, lambda item: is_true(item, "Ready"), PATIENCE, "Ready")
    made.versions()
    kubectl.apply(objects.training_run(f"{NAME}-real", NAME, NAME, kubectl.whoami()))
    kubectl.until("mmd", f"{NAME}-{REAL}", lambda item: is_true(item, "Approved"), PATIENCE, "Approved")
    pinned = {"modelRef": {"name": f"{NAME}-{PINNED}"}}
    clones = objects.deployment(NAME, NAME, f"{NAME}-r-{CLONED}")
    kubectl.apply(clones, {**clones, "metadata": {"name": f"{NAME}-pinned"}, "spec": pinned})
    kubectl.until("mdep", NAME, lambda item: is_true(item, "Ready"), PATIENCE, "Ready")
    made.operator.create(*(made.model(number, runs[number]) for number in range(REAL + 1, NEWEST + 1)))
    for number in range(1, NEWEST + 1):
        kubectl.until("mmd", f"{NAME}-{number}", lambda item: bool(condition(item, "Approved")), PATIENCE, "judged")
    yield made
    kubectl.run("delete", "mdep", "--ignore-not-found", NAME, f"{NAME}-pinned")


def names(kubectl: Kubectl, kind: str) -> set[str]:
    """Of the objects of this story."""
    return {name for one in kubectl.list(kind) if (name := one["metadata"]["name"]).startswith(f"{NAME}-")}


def folders(past: Past) -> set[str]:
    """Folders of versions and runs in the store."""
    found = set()
    for part in ("datasets", "models"):
        prefix = f"{part}/{past.kubectl.namespace}/{NAME}/"
        pages = past.store.client.get_paginator("list_objects_v2").paginate(Bucket=sources.BUCKET, Prefix=prefix)
        found |= {one["Key"].split("/")[3] for page in pages for one in page.get("Contents", ())}
    return found


def looked(item: Manifest) -> datetime:
    """When the source was looked at last."""
    return datetime.fromisoformat(item["status"]["lastCheckTime"])


def is_told(reason: str) -> Callable[[Manifest], bool]:
    return lambda item: condition(item, "Pruned").get("reason") == reason


def test_a_dry_run_says_what_would_go_and_touches_nothing(past: Past) -> None:
    kubectl = past.kubectl
    before = {kind: names(kubectl, kind) for kind in ("mmd", "mtr")} | {"store": folders(past)}
    assert len(before["mmd"]) == NEWEST
    kubectl.run("patch", "mds", NAME, "--type=merge", "-p", json.dumps(retention("DryRun")))
    seen = kubectl.until("mds", NAME, is_told("WouldDelete"), PATIENCE, "WouldDelete")
    told: dict[str, Any] = seen["status"]["retention"]
    planned = {one["name"] for one in told["planned"]}
    assert f"{NAME}-1" in planned
    assert not planned & STAYS
    assert len(planned) + told["unplanned"] == (NEWEST - len(STAYS)) + (NEWEST - len(STAYS) - 1) + (MANY - 7)
    assert {one["reason"] for one in told["held"]} >= {"Served", "Approved", "Rejected"}
    over = max(datetime.fromisoformat(one["since"]) for one in told["planned"]) + timedelta(minutes=1)
    kubectl.run("patch", "mds", NAME, "--type=merge", "-p", '{"spec":{"refresh":{"interval":"5s"}}}')
    kubectl.until("mds", NAME, lambda item: looked(item) > over, PATIENCE, "a pass after the grace period")
    kubectl.run("patch", "mds", NAME, "--type=merge", "-p", '{"spec":{"refresh":null}}')
    assert {kind: names(kubectl, kind) for kind in ("mmd", "mtr")} | {"store": folders(past)} == before


def test_the_rest_goes_from_cluster_and_store_although_the_operator_is_killed_meanwhile(
    installed: release.Release, past: Past, slices: tuple[data.Slice, data.Slice]
) -> None:
    kubectl = past.kubectl
    with (
        kubectl.port_forward(f"svc/{NAME}", 80) as url,
        traffic.Caller(url, NAME, slices[0].rows, rate=20.0) as caller,
    ):
        kubectl.run("patch", "mds", NAME, "--type=merge", "-p", json.dumps(retention("Delete")))
        for state in (is_deleting, is_erasing):
            kubectl.until("mds", NAME, state, PATIENCE, state.__name__)
            crash.kill(installed)
        done = kubectl.until("mds", NAME, is_told("WithinLimits"), PATIENCE, "WithinLimits")
    assert caller.tally.failures == {}
    assert caller.tally.answered > 0

    runs = {*(f"{NAME}-r-{number}" for number in KEPT_RUNS), f"{NAME}-real"}
    assert (names(kubectl, "mmd"), names(kubectl, "mtr")) == (STAYS, runs)
    status = done["status"]
    versions = [one for part in ("versions", "olderVersions") for one in status.get(part, ())]
    assert sorted(one["version"] for one in versions) == [PINNED, APPROVED, REJECTED, CLONED, MANY - 2, MANY - 1, REAL]
    gone = {"versions": MANY - len(versions), "models": NEWEST - len(STAYS), "runs": NEWEST - len(runs)}
    told = status["retention"]
    assert told["deleted"] == gone
    assert told["kept"] == {"versions": len(versions), "models": len(STAYS), "runs": len(runs)}
    assert told["bytesFreed"] > 0

    uids = {one["metadata"]["uid"] for one in kubectl.list("mtr") if one["metadata"]["name"] in runs}
    assert folders(past) == {*uids, *(one["uri"].split("/")[-2] for one in versions)}
    jobs = kubectl.list("job", f"millrace.dev/component=retention,millrace.dev/dataset={NAME}")
    assert jobs == []


def is_deleting(item: Manifest) -> bool:
    return bool(item["status"]["retention"].get("deletion"))


def is_erasing(item: Manifest) -> bool:
    return "jobName" in (item["status"]["retention"].get("deletion") or {})
