"""Kubernetes Events: one object a message, counted instead of repeated.

An Event's name is a hash of whom it regards, its reason and its message, so writing the same Event again finds the
first one and raises its count. An Event that cannot be written is logged and dropped, never retried: nothing depends on
it.
"""

from __future__ import annotations

import hashlib

from millrace import errors
from millrace.api import resources
from millrace.api.base import rfc3339
from millrace.clients.clock import Clock
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.decide.plan import Event
from millrace.telemetry import Log

log = Log(__name__)

LONGEST_MESSAGE = 1024
LONGEST_NAME = 200


class Recorder:
    """Writes core/v1 Events as component ``millrace``."""

    def __init__(self, kube: Kube, clock: Clock, identity: str) -> None:
        self._kube = kube
        self._clock = clock
        self._identity = identity

    async def record(self, regarding: Manifest, event: Event) -> None:
        """Create the Event, or raise its count if it exists. Raises NotLeader only."""
        manifest = self._manifest(regarding, event)
        metadata = manifest["metadata"]
        try:
            try:
                await self._kube.create(resources.EVENTS, manifest)
            except errors.AlreadyExists:
                await self._again(metadata["namespace"], metadata["name"], manifest["lastTimestamp"])
        except errors.ApiError as error:
            log.warning("an event could not be written", reason=event.reason, why=str(error))

    async def _again(self, namespace: str, name: str, now: str) -> None:
        """Raise the count. The operator may patch Events but not read them, so the count is taken from the answer to a
        first patch.
        """
        known = await self._kube.patch(resources.EVENTS, namespace, name, {"lastTimestamp": now})
        again = {"count": int(known.get("count") or 1) + 1}
        await self._kube.patch(resources.EVENTS, namespace, name, again)

    def _manifest(self, regarding: Manifest, event: Event) -> Manifest:
        metadata, message = regarding["metadata"], event.message[:LONGEST_MESSAGE]
        text = "\0".join((metadata["uid"], event.type, event.reason, message))
        suffix = hashlib.sha256(text.encode()).hexdigest()[:16]
        now = rfc3339(self._clock.now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:LONGEST_NAME]}.{suffix}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "millrace", "host": self._identity},
            "reportingComponent": "millrace",
            "reportingInstance": self._identity,
        }
