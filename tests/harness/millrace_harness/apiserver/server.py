"""A deterministic model of the API server: one process, no sockets, every request at one moment of virtual time.

`exchange` takes a little time each way, as a network does; `handle` takes none. What `handle` answers with is shared:
copy it before changing it (`replica.SimKube` does). Differences from the real one are tested in
`tests/apiserver/test_model_of_the_apiserver.py`.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace_harness.virtual import VirtualClock, VirtualLoop
from millrace_harness.wire import Event, Request, Response

from . import admission, answers, storage
from .storage import Change, Manifest, Selector, Storage, Subscriber
from .writes import Writes, clone

LATENCY_SECONDS: Final = 0.001
"""Of a request, each way; and of a watch event."""
REPLICA_SETS: Final = ResourceType(group="apps", version="v1", plural="replicasets", kind="ReplicaSet")
SECRETS: Final = ResourceType(group="", version="v1", plural="secrets", kind="Secret")
_OTHERS: Final = (*resources.WITNESSED, REPLICA_SETS, SECRETS)
SERVED: Final = {(one.api_version, one.plural): one for one in (*resources.ALL, *_OTHERS)}


class ApiServer:
    """The API server and its etcd."""

    def __init__(self, loop: VirtualLoop, latency: float = LATENCY_SECONDS) -> None:
        self.loop = loop
        self.latency = latency
        self.clock = VirtualClock(loop)
        self.storage = Storage()
        self.oldest = 0
        """Watches from before this revision are answered 410."""
        self._writes = Writes(self.storage, self._now)

    @property
    def changes(self) -> list[Change]:
        """Everything that was committed, in order."""
        return self.storage.changes

    def subscribe(self, subscriber: Subscriber) -> None:
        """Be told of every change at the moment it is committed."""
        self.storage.subscribers.append(subscriber)

    def objects(self) -> list[Manifest]:
        """Copies of all objects there are, by kind and name."""
        return [clone(manifest) for _, manifest in self.storage.everything()]

    async def exchange(self, request: Request) -> Response:
        """A `wire.Exchange`."""
        await asyncio.sleep(self.latency)
        response = self.handle(request)
        await asyncio.sleep(self.latency)
        return response

    def handle(self, request: Request) -> Response:
        """Answer at once. An open watch is answered with 200 and an empty body; its events come from `watch`."""
        resource = SERVED.get((request.api_version, request.resource))
        try:
            if resource is None:
                return _discover(request.path)
            if request.method != "GET":
                return self._writes.carry_out(resource, request)
            if request.verb == "get":
                return self._get(resource, request)
            if request.verb == "watch":
                return self._open(request)
            return self._list(resource, request)
        except answers.Refused as refused:
            return refused.response()

    async def watch(self, request: Request) -> AsyncIterator[Event]:
        """The events of a watch that was opened, in order, each `latency` after it happened. Ends by being closed."""
        resource = SERVED[request.api_version, request.resource]
        selects = storage.selector(request.params.get("labelSelector", ""))
        version = int(request.params.get("resourceVersion") or 0)
        backlog: collections.deque[Change] = collections.deque(self.storage.since(version))
        news = asyncio.Event()

        def learn(change: Change) -> None:
            backlog.append(change)
            news.set()

        self.storage.subscribers.append(learn)
        try:
            while True:
                while backlog:
                    change = backlog.popleft()
                    if change.resource is resource and change.namespace == (request.namespace or change.namespace):
                        event = _event(change, selects)
                        if event is not None:
                            await self._travel(change)
                            yield event
                news.clear()
                await news.wait()
        finally:
            self.storage.subscribers.remove(learn)

    async def _travel(self, change: Change) -> None:
        wait = change.at + self.latency - self.loop.time()
        if wait > 0:
            await asyncio.sleep(wait)

    def _now(self) -> tuple[float, datetime]:
        return self.loop.time(), self.clock.now()

    def _get(self, resource: ResourceType, request: Request) -> Response:
        if resource in resources.WITNESSED:
            return Response(200, admission.guard(resource, request.name))
        found = self.storage.get(resource, (request.namespace, request.name))
        if found is None:
            raise answers.not_found(resource, request.name)
        return Response(200, found.manifest)

    def _open(self, request: Request) -> Response:
        version = int(request.params.get("resourceVersion") or 0)
        if 0 < version < self.oldest:
            raise answers.expired()
        return Response(200, {})

    def _list(self, resource: ResourceType, request: Request) -> Response:
        version, found = self.storage.version, self.storage.list(resource, request.namespace)
        if request.params.get("resourceVersionMatch") == "Exact":
            version = int(request.params["resourceVersion"])
            if version < self.oldest:
                raise answers.expired()
            found = self.storage.list_at(resource, version, request.namespace)
        selects = storage.selector(request.params.get("labelSelector", ""))
        items = [one for one in found if selects(one["metadata"].get("labels") or {})]
        fields = [pair.split("=", 1) for pair in request.params.get("fieldSelector", "").split(",") if pair]
        items = [one for one in items if all(_field(one, path) == value for path, value in fields)]
        identity = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        if "PartialObjectMetadataList" in request.headers.get("Accept", ""):
            items = [{"metadata": one["metadata"]} for one in items]
            identity = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return Response(200, {**identity, "metadata": {"resourceVersion": str(version)}, "items": items})


def _field(manifest: Manifest, path: str) -> Any:
    found: Any = manifest
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _event(change: Change, selects: Selector) -> dict[str, Any] | None:
    """How a watch with this selector shows a change: what leaves the selection is deleted, what enters is added."""
    was = change.before is not None and selects(change.before["metadata"].get("labels") or {})
    is_now = change.after is not None and selects(change.after["metadata"].get("labels") or {})
    if not (was or is_now):
        return None
    kind = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
    return {"type": kind, "object": change.manifest}


def _discover(path: str) -> Response:
    """`/apis/<group>/<version>`: which kinds there are."""
    version = path.removeprefix("/apis/").removeprefix("/api/").strip("/")
    served = [one for one in SERVED.values() if one.api_version == version]
    if not served:
        raise answers.no_such_path()
    listed = [{"name": one.plural, "kind": one.kind, "namespaced": True} for one in served]
    return Response(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed})
