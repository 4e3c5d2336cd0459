"""Every command that a message can print is run as it stands, by a shell, against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from apiserver_kit import planes, shell

from millrace.api import keys
from millrace.api.model import Model
from millrace.render import roles
from millrace_cluster.control_plane import ControlPlane
from millrace_kit import commands
from millrace_kit.simulation import make_model

NAMESPACE = commands.FIELDS["namespace"]
RUN = {
    "author": "ada",
    "datasetRef": {"name": "churn"},
    "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
    "evaluation": {"metrics": ["roc_auc"]},
    "output": {"modelName": "churn"},
}
SERVED = {"modelSelector": {"modelName": "churn"}, "strategy": {"canary": {"steps": [{"setWeight": 50}]}}}
POD = {"restartPolicy": "Never", "containers": [{"name": "train", "image": "i"}]}
WATCHES = ("--watch", "logs -f")
UNREAD = ("logs ",)
"""Commands that a kubelet answers, which there is none of here: they are run up to its refusal."""


def manifest(kind: str, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, **more}
    return {"apiVersion": keys.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def a_model() -> Model:
    return make_model("churn", 1)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The objects that the commands name, and admin as the caller."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as started:
        planes.define(started)
        job = {"backoffLimit": 0, "template": {"spec": POD}}
        labels = {"app.kubernetes.io/component": "operator"}
        pods = {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
        operator = {**pods, "template": {**pods["template"], "spec": {"containers": POD["containers"]}}}
        apps = {"name": "millrace-operator", "namespace": NAMESPACE, "labels": labels}
        made: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            manifest("Dataset", "churn", {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}),
            manifest("TrainingRun", "churn-gb", RUN),
            manifest("Model", "churn-1", a_model().spec.wire(), labels={keys.MODEL_NAME: "churn"}),
            manifest("Deployment", "churn", SERVED),
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": commands.FIELDS["job"], "namespace": NAMESPACE},
                "spec": job,
            },
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": apps, "spec": operator},
        ]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made))
        selector = of_job(started)["spec"]["selector"]["matchLabels"]
        beside = [a_pod("operator", labels), a_pod("trains", selector)]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(beside))
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([*roles.cluster_roles(), *planes.policies()]))
        yield started


def of_job(plane: ControlPlane) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        plane.kubectl("-n", NAMESPACE, "get", "job", commands.FIELDS["job"], "-o", "json").stdout
    )
    return found


def a_pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """No controller makes any here, and `kubectl logs` waits 20 s for the first pod of what it is given."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": POD}


def of_reasons() -> list[Any]:
    """One for each distinct command, called by the first reason that prints it."""
    distinct: dict[str, str] = {}
    for reason, command in commands.every(a_model()).items():
        distinct.setdefault(command, reason)
    return [pytest.param(command, id=reason) for command, reason in distinct.items()]


@pytest.mark.parametrize("command", of_reasons())
def test_a_printed_command_works_as_it_stands(plane: ControlPlane, command: str) -> None:
    watches = any(word in command for word in WATCHES)
    ended = shell.run(plane, command, seconds=4 if watches else 120)
    if any(word in command for word in UNREAD):
        # The API server has found what is meant; the words it cannot get are a kubelet's.
        assert "unknown" not in ended.err
        assert "not found" not in ended.err.replace("pods not found", "")
        return
    assert ended.code in ((0, None) if watches else (0,)), f"{command}\n{ended.err}"
    assert "error" not in ended.err.lower().replace("--show-events", ""), ended.err


def changed(plane: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    found = json.loads(plane.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json").stdout)
    spec: dict[str, Any] = found["spec"]
    return spec


def test_a_printed_command_that_changes_something_changes_what_it_says(plane: ControlPlane) -> None:
    every = commands.every(a_model())
    served = ("DeploymentReason.Quarantined", "DeploymentReason.NoTraffic", "DeploymentReason.SignatureChanged",
              "DeploymentReason.DriftDetected")  # fmt: skip
    for reason in ("DatasetReason.SourceNotFound", "ModelReason.PendingApproval", *served):
        assert shell.run(plane, every[reason]).code == 0
    assert changed(plane, "mds", "churn")["refresh"] == {"interval": "5m"}
    (approval,) = changed(plane, "mmd", "churn-1")["approvals"][-1:]
    assert (approval["user"], approval["decision"]) == ("admin", "Approve"), "whoever runs it"
    asked = {"revision": "aabbccdd", "reason": commands.FIELDS["asked"]}
    churn = changed(plane, "mdep", "churn")
    assert churn["actions"]["unquarantine"] == asked
    assert churn["strategy"]["canary"]["disableDefaults"] == ["ErrorRate"]
    assert churn["strategy"]["allowSignatureChange"] == "churn-1"
    alarm = {"revision": "aabbccdd", "evaluatedTime": commands.FIELDS["time"]}
    assert churn["actions"]["acknowledgeDrift"] == alarm
