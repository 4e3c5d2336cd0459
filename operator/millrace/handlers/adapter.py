"""The whole of Millrace's kopf: settings under which it only lists and watches, one handler, and how to run it.

kopf is told to write nothing: no finalizer of a name anybody uses (it strips its configured name from every object it
sees), no annotations, no Events, no peering. It does not stream initial lists (an interrupted one loses objects). It
keeps no index: whether the cache is complete, and what is gone, is established by ``controller.audit``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import kopf

from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.controller.kernel import Kernel

UNUSED_FINALIZER = "millrace.dev/kopf-unused"

IDENTITY: Any = "millrace"
"""Of no meaning without peering, but kopf would otherwise look up a user name that a container's user does not have."""


class NullDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing: there are no handlers of changes, and the default copies every object on every event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None: ...


class NullProgress(kopf.ProgressStorage):
    """Remembers nothing: there are no handlers with progress."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None: ...

    def purge(self, **_: Any) -> None: ...

    def touch(self, **_: Any) -> None: ...

    def clear(self, *, essence: Any) -> Any:
        return essence


class Backoffs:
    """Pauses between attempts to list or watch, in seconds; a fresh iteration for each request."""

    def __iter__(self) -> Iterator[float]:
        return iter((0.2, 0.5, 1.0, 2.0, 5.0, 10.0))


def settings(watched: Mapping[ResourceType, str]) -> kopf.OperatorSettings:
    """Kopf as a reader. ``watched`` maps kinds to the label selectors that the API server filters by."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.posting.enabled = False
    made.scanning.disabled = True
    made.persistence.finalizer = UNUSED_FINALIZER
    made.persistence.diffbase_storage = NullDiffBase()
    made.persistence.progress_storage = NullProgress()
    made.persistence.consistency_timeout = 0
    made.watching.initial_streaming = False
    made.watching.server_timeout = 300
    made.watching.client_timeout = 330
    made.watching.connect_timeout = 10
    made.networking.request_timeout = 30
    made.networking.connect_timeout = 10
    made.networking.error_backoffs = Backoffs()
    for resource, selector in watched.items():
        if selector:
            made.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return made


def registry(
    watched: Mapping[ResourceType, str],
    saw: Callable[[ResourceType, str | None, dict[str, Any]], None],
    credentials: Credentials,
) -> kopf.OperatorRegistry:
    """One event handler for each kind, and a login that reads the token again each time it is asked."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made, id="login")
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(credentials)

    for resource in watched:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=made, id="event")(
            _handler(resource, saw)
        )
    return made


def connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """Our credentials as kopf wants them. Raises CredentialsError if a token file is gone."""
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=credentials.ca or None,
        insecure=credentials.insecure,
        certificate_data=credentials.certificate or None,
        private_key_data=credentials.private_key or None,
        token=credentials.token() or None,
    )


def _handler(
    resource: ResourceType, saw: Callable[[ResourceType, str | None, dict[str, Any]], None]
) -> Callable[..., Any]:
    async def event(event: Mapping[str, Any], **_: Any) -> None:
        saw(resource, event["type"], event["object"])

    return event


class NotKopfs(Collection["asyncio.Task[Any]"]):
    """All tasks of the loop but kopf's: it takes every task born after its own start for one of its own, and cancels
    it.
    """

    _home = str(Path(kopf.__file__).parent)

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not code.co_filename.startswith(self._home)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return (task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Watches:
    """The running watches of one kernel."""

    def __init__(self, kernel: Kernel, credentials: Credentials, namespace: str) -> None:
        self._kernel = kernel
        self._credentials = credentials
        self._namespace = namespace
        self._stop = asyncio.Event()
        self._tasks: Any = ()

    async def start(self) -> None:
        """List and watch from now on. Takes SIGINT and SIGTERM; whoever wants them takes them back after this."""
        self._tasks = await kopf.spawn_tasks(
            registry=registry(self._kernel.watched, self._kernel.saw, self._credentials),
            settings=settings(self._kernel.watched),
            namespaces=[self._namespace],
            standalone=True,
            identity=IDENTITY,
            stop_flag=self._stop,
        )

    async def run(self) -> None:
        """Wait for the end, which comes by `stop` or by a failure, which is raised."""
        await kopf.run_tasks(self._tasks, ignored=NotKopfs())

    def stop(self) -> None:
        """End the watches."""
        self._stop.set()
