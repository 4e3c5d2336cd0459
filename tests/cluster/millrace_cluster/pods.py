"""The last words of the pods of one namespace, and what Kubernetes warned of there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from millrace_cluster import evidence

EVENTS = 20
_COLUMNS = "AT:.lastTimestamp,OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message"

Run = Callable[..., str]
"""kubectl, bound to the cluster and the namespace: takes arguments, gives what it printed, raises with its words."""


def last_words(kubectl: Run) -> dict[str, str]:
    """Title -> text: each pod with its phase and restarts, those that are well first; then the newest warnings."""
    items = json.loads(kubectl("get", "pods", "--output=json"))["items"]
    found = {_title(pod): _logs(kubectl, pod) for pod in sorted(items, key=_trouble)}
    warnings = kubectl("get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp",
                       f"--output=custom-columns={_COLUMNS}", "--no-headers").splitlines()  # fmt: skip
    return {**found, "Warning events": "\n".join(warnings[-EVENTS:])}


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _restarts(pod: dict[str, Any]) -> int:
    return sum(int(container.get("restartCount", 0)) for container in _containers(pod))


def _trouble(pod: dict[str, Any]) -> tuple[bool, int, str]:
    ready = all(container.get("ready") for container in pod.get("status", {}).get("containerStatuses", [{}]))
    well = pod["status"].get("phase") == "Succeeded" or ready
    return not well, _restarts(pod), str(pod["metadata"]["name"])


def _title(pod: dict[str, Any]) -> str:
    restarts = f", {count} restarts" if (count := _restarts(pod)) else ""
    return f"pod {pod['metadata']['name']} ({pod['status'].get('phase', 'Unknown')}{restarts})"


def _logs(kubectl: Run, pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    texts = [_log(kubectl, name, "--previous")] if _restarts(pod) else []
    waiting = [f"{container['name']}: {state.get('reason', '')} {state.get('message', '')}".rstrip()
               for container in _containers(pod) if (state := container.get("state", {}).get("waiting"))]  # fmt: skip
    unmet = [f"{condition['type']}: {condition['message']}" for condition in pod["status"].get("conditions", [])
             if condition.get("status") == "False" and condition.get("message")]  # fmt: skip
    return "\n".join([*texts, _log(kubectl, name), *waiting, *unmet])


def _log(kubectl: Run, name: str, *options: str) -> str:
    """A container that never started has no log; kubectl's words for that are worth reading too."""
    try:
        return kubectl("logs", name, "--all-containers", "--prefix", f"--tail={evidence.LINES}", *options).rstrip()
    except Exception as error:  # noqa: BLE001  whatever the caller's kubectl raises has its words
        return str(error)
