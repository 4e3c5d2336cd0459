"""The histories of the namespaces of a real API server, from watches of its own that begin before anything happens.

What was committed comes from etcd through the watches; who committed it is known from the answers that passed the
proxy, whether or not their addressees got them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest

from .history import WORKLOADS, Change, History, Name, name_of
from .proxy import Proxy
from .wire import Event, Lost, Request, Response

SENDER: Final = "history"
CONTROLLERS: Final = "controllers"
"""Whoever did not come through the proxy: kube-controller-manager."""
CATCH_UP_SECONDS: Final = 5.0
TOGETHER_SECONDS: Final = 0.05
"""Changes come in bursts; whoever waits for one looks at all."""
READERS: Final = frozenset({"user", "kubelet"})
"""Senders that look through the recorder and must see what they wrote."""
BOOKKEEPING: Final = frozenset({"resourceVersion", "managedFields", "generation"})
QUIET: Final = frozenset({"leases", "events"})


class _Entry(NamedTuple):
    version: int
    at: float
    before: Manifest | None
    after: Manifest | None


class Recorders:
    """The watches of all namespaces: one of each kind, an async context manager."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._recorders: dict[str, Recorder] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        opened = [asyncio.Event() for _ in resources.ALL]
        self._tasks = [
            asyncio.create_task(self._watch(resource, is_open), name=f"watch {resource.plural}")
            for resource, is_open in zip(resources.ALL, opened, strict=True)
        ]
        for is_open in opened:
            await is_open.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def record(self, namespace: str) -> Iterator[Recorder]:
        """Record what happens in a namespace until the block ends. Begin before there is anything in it."""
        made = self._recorders[namespace] = Recorder(self.check)
        try:
            yield made
        finally:
            del self._recorders[namespace]

    def check(self) -> None:
        """Raise what ended a watch, if one has ended."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise Lost(f"the history is not complete: {task.get_name()} ended")

    async def _watch(self, resource: ResourceType, is_open: asyncio.Event) -> None:
        request = Request(SENDER, "GET", resource.path(), {"watch": "true"}, None)
        async with self._proxy.watch(request) as events:
            is_open.set()
            async for event in events:
                shown = event["object"]
                if event["type"] == "ERROR":
                    raise Lost(f"the watch of {resource.plural} broke: {shown.get('message')}")
                recorder = self._recorders.get(shown["metadata"]["namespace"])
                if recorder is not None:
                    recorder.learn(event)


class Recorder:
    """What happens in one namespace. `check` raises if what is told of it is not complete."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._moved = asyncio.Event()
        """Set, and replaced, when something changed that a node or a user could wait for."""
        self._entries: list[_Entry] = []
        self._last: dict[Name, Manifest] = {}
        self._newest = 0
        self._owed: dict[Name, int] = {}
        self._made: dict[tuple[str, str], Request] = {}
        self._deleted: dict[str, Request] = {}
        self._began = asyncio.get_running_loop().time()
        self.wrote = self._began
        """When an operator last changed something that counts."""

    def note(self, request: Request) -> Callable[[Response], None]:
        """A write is about to be sent; `proxy.Note`."""
        newest = self._newest

        def answered(answer: Response) -> None:
            metadata = answer.body.get("metadata") or {}
            uid = metadata.get("uid") or (answer.body.get("details") or {}).get("uid")
            if not uid:
                return
            if request.method == "DELETE":
                self._deleted[uid] = request
            version = metadata.get("resourceVersion") or "0"
            if int(version) > newest:  # else it has changed nothing
                self._made[uid, version] = request
                self._writes(request)
                self._owe(request, dict(answer.body), version)

        return answered

    def _writes(self, request: Request) -> None:
        if request.sender.startswith("operator") and request.resource not in QUIET:
            self.wrote = asyncio.get_running_loop().time()

    def _owe(self, request: Request, shown: Manifest, version: str) -> None:
        if request.sender in READERS and request.method != "DELETE":
            name = name_of(shown)
            if self._is_behind(name, version):
                self._owed[name] = int(version)

    def objects(self, resource: ResourceType) -> list[Manifest]:
        """All objects of a kind as the watches have shown them: to be read, not changed."""
        kind = WORKLOADS if resource == resources.WORKLOADS else resource.plural
        return [one for name, one in self._last.items() if name.kind == kind]

    async def is_current(self, kind: str) -> bool:
        """Wait a moment until what users and nodes wrote themselves has been shown; False if it has not."""
        self._check()
        deadline = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
        while any(name.kind in (kind, WORKLOADS) for name in self._owed):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.005)
        return True

    async def catch_up(self, objects: Iterable[Manifest]) -> None:
        """Wait until the watches have shown these objects in these versions, and nothing else that is still there.

        Raises TimeoutError.
        """
        wanted = {name_of(one): one["metadata"]["resourceVersion"] for one in objects}
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while any(self._is_behind(name, version) for name, version in wanted.items()):
                self._check()
                await asyncio.sleep(0.02)

    def position(self) -> int:
        """How much was committed so far, for `since`."""
        return len(self._entries)

    def since(self, position: int) -> list[Change]:
        """What was committed after that."""
        return self._told(self._entries[position:]).changes

    def history(self) -> History:
        """What was committed, in the order of the commits."""
        self._check()
        made = self._told(self._entries)
        made.ended = asyncio.get_running_loop().time() - self._began
        return made

    def _told(self, entries: Iterable[_Entry]) -> History:
        made, latest = History(), 0.0
        for _, at, before, after in sorted(entries, key=lambda one: one.version):
            latest = max(latest, at - self._began)
            request = self._request(before, after)
            sender = request.sender if request is not None else CONTROLLERS
            made.add(latest, sender, before, after, request)
        return made

    def _request(self, before: Manifest | None, after: Manifest | None) -> Request | None:
        """The request that made this change."""
        if after is not None:
            request = self._made.get((after["metadata"]["uid"], after["metadata"]["resourceVersion"]))
            wrong = before is not None and request is not None and not _could_make(request, before, after)
            return None if wrong else request
        assert before is not None
        request = self._deleted.get(before["metadata"]["uid"])
        if "deletionTimestamp" in before["metadata"] and request is not None and request.sender.startswith("operator"):
            return None  # the operator asked for it earlier; whoever held the object let it go
        return request

    def _is_behind(self, name: Name, version: str) -> bool:
        known = self._last.get(name)
        return known is None or int(known["metadata"]["resourceVersion"]) < int(version)

    def learn(self, event: Event) -> None:
        """An event of a watch."""
        shown: dict[str, Any] = event["object"]
        shown["metadata"].pop("managedFields", None)
        name, version = name_of(shown), int(shown["metadata"]["resourceVersion"])
        gone = event["type"] == "DELETED"
        if version >= self._owed.get(name, version + 1):
            del self._owed[name]
        before = self._last.pop(name, None)
        if not gone:
            self._last[name] = shown
        self._newest = max(self._newest, version)
        at = asyncio.get_running_loop().time()
        self._entries.append(_Entry(version, at, before if before or not gone else shown, None if gone else shown))
        if name.kind not in QUIET:
            self._moved.set()
            self._moved = asyncio.Event()

    async def pulse(self, seconds: float) -> None:
        """Wait so long, or until something changed: `stage.Stage(pulse=...)`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        await asyncio.sleep(TOGETHER_SECONDS)


def _could_make(request: Request, before: Manifest, after: Manifest) -> bool:
    """Whether the change is of a part that the request writes. One that changed nothing right after a controller's
    change is answered with that change's version.
    """
    said = before.get("status") != after.get("status")
    return said if request.subresource == "status" else not said or _without_status(before) != _without_status(after)


def _without_status(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in BOOKKEEPING}
    return {**manifest, "metadata": metadata, "status": None}
