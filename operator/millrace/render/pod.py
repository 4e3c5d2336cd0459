"""Pods as Pod Security `restricted` wants them: no root, no privileges, no API token, a read-only root file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from millrace.api.base import Frozen
from millrace.api.training_run import ResourceRequirements
from millrace.contract import environment, task

Part = dict[str, Any]
USER = 65532
REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "256Mi"}
"""What a container is sure to get where nobody says otherwise.

Without requests it gets nothing on a full node, is killed first, and is refused where a quota asks for them.
"""
TMP = "/tmp"  # noqa: S108 - a volume of the pod's own
TMP_VOLUME = "tmp"
TASK_VOLUME = "task"


class Platform(Frozen):
    """What the installation decides for every pod; equal in name to the operator's settings."""

    trainer_image: str
    server_image: str
    router_image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    store_uri: str
    store_secret: str
    erase_secret: str = ""
    """The Secret of the store that may erase; empty: `store_secret`."""
    log_level: str = "INFO"


def container(
    name: str,
    image: str,
    command: Sequence[str],
    *,
    platform: Platform,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[Part] = (),
    mounts: Mapping[str, str] | None = None,
    resources: ResourceRequirements | None = None,
    **more: Any,
) -> Part:
    """One restricted container; `mounts` maps volume names to paths. /tmp is always writable, and the same folder for
    all containers of the pod, unless a mount says otherwise.

    `more` are further fields of the container in Kubernetes' own names (`ports`, `readinessProbe`, ...).
    """
    variables = {"HOME": TMP, **(env or {})}
    places = dict(mounts or {})
    if TMP not in places.values():
        places = {TMP_VOLUME: TMP, **places}
    part: Part = {
        "name": name,
        "image": image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": list(command),
        "env": [{"name": variable, "value": value} for variable, value in sorted(variables.items())],
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in places.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # A container that dies without a word leaves the end of its log instead.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }
    if secrets:
        part["envFrom"] = list(secrets)
    part["resources"] = requested(resources)
    return part


def requested(resources: ResourceRequirements | None) -> Part:
    """A container's `resources`: as stated, and `REQUESTS` of what nothing is stated about."""
    stated = resources.wire() if resources is not None else {}
    said = {*stated.get("requests", ()), *stated.get("limits", ())}
    added = {name: amount for name, amount in REQUESTS.items() if name not in said}
    return {**stated, "requests": {**added, **stated.get("requests", {})}} if added else stated


def stated(resources: Mapping[str, Any]) -> Part:
    """What was stated about the `resources` of a container that `requested` made."""
    limits = resources.get("limits", {})
    requests = {
        name: amount
        for name, amount in resources.get("requests", {}).items()
        if name in limits or REQUESTS.get(name) != amount
    }
    rest = {name: value for name, value in resources.items() if name != "requests"}
    return {**rest, "requests": requests} if requests else rest


def secret(name: str, prefix: str = "") -> Part:
    """An `envFrom` entry: every key of a Secret as a variable. The operator itself never reads it."""
    found: Part = {"secretRef": {"name": name}}
    return {"prefix": prefix, **found} if prefix else found


def told(platform: Platform) -> dict[str, str]:
    """Variables of a container that does a task: it says as much as the operator does, and imports nothing from the
    folder it happens to start in.
    """
    return {environment.LOG_LEVEL: platform.log_level, "PYTHONSAFEPATH": "1", **environment.PROTECTIVE}


def task_volume() -> Part:
    """The volume with the task, which the kubelet writes from the pod's annotation."""
    source = {"path": task.FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{task.ANNOTATION}']"}}
    return {"name": TASK_VOLUME, "downwardAPI": {"items": [source]}}


def spec(
    containers: Sequence[Part],
    *,
    init: Sequence[Part] = (),
    volumes: Sequence[str] = (),
    configured: Sequence[Part] = (),
    restart: Literal["Always", "Never"] = "Always",
    grace_seconds: int = 30,
) -> Part:
    """A restricted pod spec. `volumes` are emptyDirs (/tmp is one already), `configured` are volumes as manifests."""
    part: Part = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": [*({"name": name, "emptyDir": {}} for name in (TMP_VOLUME, *volumes)), *configured],
    }
    if init:
        part["initContainers"] = list(init)
    return part
