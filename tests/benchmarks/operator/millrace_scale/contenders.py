"""Who is measured: how each operator starts, what is created for it, and which of its writes are children."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace_kit.simulation import make_model
from millrace_kit.widgets import WIDGETS, make_widget
from millrace_scale import builds
from millrace_scale.plane import BURST, QPS, Plane

ROLLOUTS = ResourceType(group="argoproj.io", version="v1alpha1", plural="rollouts", kind="Rollout")
Manifest = dict[str, Any]
WORKERS = 8


@dataclass(frozen=True)
class Contender:
    """An operator. `make(number, namespace)` is the object whose children are counted."""

    name: str
    title: str
    resource: ResourceType
    make: Callable[[int, str], Manifest]
    start: Callable[[Plane, str], tuple[list[str | Path], dict[str, str]]]
    before: Callable[[int, str], Manifest] | None = None
    """An object that is there, and has been dealt with, before the one that counts."""
    before_kind: ResourceType | None = None


def object_name(number: int) -> str:
    """Names are as long as each other and none begins another."""
    return f"o{number:05d}"


def _ours(role: str) -> Callable[[Plane, str], tuple[list[str | Path], dict[str, str]]]:
    def start(plane: Plane, namespace: str) -> tuple[list[str | Path], dict[str, str]]:
        user = "millrace" if role == "whole" else "kernel"
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KUBECONFIG": str(plane.control.kubeconfig_for(user)),
            "MILLRACE_NAMESPACE": namespace,
            "MILLRACE_TRAINER_IMAGE": "trainer:1",
            "MILLRACE_SERVER_IMAGE": "server:1",
            "MILLRACE_ROUTER_IMAGE": "router:1",
            "MILLRACE_METRICS_PORT": "0",
            "MILLRACE_LOG_LEVEL": "WARNING",
            "MILLRACE_WORKERS": str(WORKERS),
            "PYTHONUNBUFFERED": "1",
        }
        return [sys.executable, "-m", "millrace_scale.process", role], environment

    return start


def _twin(plane: Plane, namespace: str) -> tuple[list[str | Path], dict[str, str]]:
    client = [f"--kubeconfig={plane.control.kubeconfig_for('twin')}", f"--qps={QPS}", f"--burst={BURST}"]
    command: list[str | Path] = [builds.ensure("twin"), *client, f"--namespace={namespace}", f"--workers={WORKERS}"]
    return command, {"HOME": os.environ.get("HOME", "/")}


def _rollouts(plane: Plane, namespace: str) -> tuple[list[str | Path], dict[str, str]]:
    client = [f"--kubeconfig={plane.control.kubeconfig_for('rollouts')}", f"--qps={QPS}", f"--burst={BURST}"]
    quiet = ["--loglevel=error", "--metricsPort=0", "--healthzPort=0"]
    command: list[str | Path] = [builds.ensure("rollouts"), *client, *quiet, "--namespaced", f"--namespace={namespace}"]
    return command, {"HOME": os.environ.get("HOME", "/"), "POD_NAMESPACE": namespace}


def model(number: int, namespace: str) -> Manifest:
    """A Model that is approved by its gates alone."""
    made = make_model(object_name(number), 1).wire()
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "Model",
        "metadata": {"name": made["metadata"]["name"], "namespace": namespace,
                     "labels": {keys.MODEL_NAME: object_name(number)}},
        "spec": {**made["spec"], "approvalPolicy": {"required": 0}},
    }  # fmt: skip


def deployment(number: int, namespace: str) -> Manifest:
    """A Deployment that follows a model of its own."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "Deployment",
        "metadata": {"name": object_name(number), "namespace": namespace},
        "spec": {"modelSelector": {"modelName": object_name(number)}},
    }


def rollout(number: int, namespace: str) -> Manifest:
    """A Rollout with one replica and a canary step."""
    labels = {"app": object_name(number)}
    container = {"name": "server", "image": "server:1"}
    return {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "metadata": {"name": object_name(number), "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"canary": {"steps": [{"setWeight": 50}]}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def widget(number: int, namespace: str) -> Manifest:
    """A Widget, which is to have a ConfigMap."""
    return make_widget(object_name(number), namespace=namespace)


ALL = (
    Contender("millrace", "Millrace (Deployments)", resources.DEPLOYMENTS, deployment, _ours("whole"),
              model, resources.MODELS),
    Contender("kernel", "Millrace's kernel (the twin's work)", WIDGETS, widget, _ours("kernel")),
    Contender("twin", "Go twin (controller-runtime)", WIDGETS, widget, _twin),
    Contender("rollouts", "Argo Rollouts 1.10.1", ROLLOUTS, rollout, _rollouts),
)  # fmt: skip
