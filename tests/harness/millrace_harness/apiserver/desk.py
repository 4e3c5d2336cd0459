"""What every controller needs: to be told of changes, to write, and to look again later."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from millrace.api.resources import ResourceType
from millrace_harness.wire import MERGE, Request

from .server import ApiServer
from .storage import Manifest

SENDER: Final = "controllers"


class Desk:
    """A controller's place: one queue of keys, each looked at once a while after it was asked for."""

    def __init__(self, server: ApiServer, delay: float, sync: Callable[[ResourceType, str, str], None]) -> None:
        self.server = server
        self._delay = delay
        self._sync = sync
        self._pending: set[tuple[ResourceType, str, str]] = set()
        self._context = contextvars.Context()

    def soon(self, resource: ResourceType, namespace: str, name: str) -> None:
        """Look at this object in a moment; many askings are one."""
        key = (resource, namespace, name)
        if key not in self._pending:
            self._pending.add(key)
            self.server.loop.call_later(self._delay, self._run, key, context=self._context)

    def after(self, seconds: float, resource: ResourceType, namespace: str, name: str) -> None:
        """Look at this object, if it is still there, in so many seconds."""
        self.server.loop.call_later(max(0.0, seconds), self.soon, resource, namespace, name, context=self._context)

    def _run(self, key: tuple[ResourceType, str, str]) -> None:
        self._pending.discard(key)
        self._sync(*key)

    def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest | None:
        found = self.server.storage.get(resource, (namespace, name))
        return found.manifest if found is not None else None

    def owned(self, resource: ResourceType, owner: Manifest) -> list[Manifest]:
        """Objects of a kind controlled by this one, by name."""
        metadata = owner["metadata"]
        found = self.server.storage.list(resource, metadata["namespace"])
        return [one for one in found if controller_uid(one) == metadata["uid"]]

    def create(self, resource: ResourceType, manifest: Manifest) -> bool:
        path = resource.path(manifest["metadata"]["namespace"])
        return self._send("POST", path, manifest)

    def patch(self, resource: ResourceType, known: Manifest, body: Manifest, subresource: str = "") -> bool:
        """Merge patch of that very version."""
        metadata = known["metadata"]
        fixed = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        body = {**body, "metadata": {**body.get("metadata", {}), **fixed}}
        return self._send("PATCH", resource.path(metadata["namespace"], metadata["name"], subresource), body, MERGE)

    def status(self, resource: ResourceType, known: Manifest, status: Manifest) -> None:
        """Write these fields of the status, if they say something new."""
        held = known.get("status") or {}
        if any(held.get(name) != value for name, value in status.items()):
            self.patch(resource, known, {"status": status}, "status")

    def delete(self, resource: ResourceType, known: Manifest, propagation: str = "Background") -> bool:
        metadata = known["metadata"]
        body = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": propagation}
        return self._send("DELETE", resource.path(metadata["namespace"], metadata["name"]), body)

    def _send(self, method: str, path: str, body: Manifest, content: str = "application/json") -> bool:
        """False if somebody was faster; whoever was makes an event."""
        answer = self.server.handle(Request(SENDER, method, path, {}, body, content))
        if answer.status in {404, 409}:
            return False
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {json.dumps(answer.body)}")
        return True


def controller_of(manifest: Manifest) -> Manifest | None:
    """The reference to the controlling owner."""
    references: Iterable[Manifest] = manifest["metadata"].get("ownerReferences") or ()
    return next((one for one in references if one.get("controller")), None)


def controller_uid(manifest: Manifest) -> str:
    owner = controller_of(manifest)
    return str(owner["uid"]) if owner is not None else ""


def reference(resource: ResourceType, owner: Manifest) -> Manifest:
    """A controlling ownerReference."""
    metadata = owner["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_going(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def condition(kind: str, now: datetime, reason: str, message: str = "", status: str = "True") -> dict[str, Any]:
    """A condition as controllers write it."""
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**said, "lastTransitionTime": time}
