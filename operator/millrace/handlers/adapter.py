"""The whole of Millrace's kopf: settings under which it only lists and watches, one filter, and how to run it.

kopf is told to write nothing: no finalizer of a name anybody uses (it strips its configured name from every object it
sees), no annotations, no Events, no peering. It does not stream initial lists (an interrupted one loses objects). It
keeps no index: whether the cache is complete, and what is gone, is established by ``controller.audit``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import kopf
from kopf._cogs.structs.credentials import Vault  # what `spawn_tasks` takes; kopf exports no name for it

from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.clients.territory import EVERYWHERE, Territory
from millrace.controller.kernel import Kernel
from millrace.telemetry import Log

log = Log(__name__)

# Told of each event: ADDED, MODIFIED, DELETED, or None for an item of a list; and the object.
Saw = Callable[[ResourceType, str | None, dict[str, Any]], None]

BACKOFFS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between attempts of one request to list or watch
TRIES = 5  # after more failures of kopf in a row than this the last one is raised
CALM_SECONDS = 60.0  # a failure after so long without one starts the count again
ENDING_SECONDS = 0.5  # between two cancellations of what is left of kopf
PAUSE_WAITER = "pause-waiter"  # what kopf calls the tasks that belong to watches and end with them

# Of no meaning without peering, but kopf would otherwise look up a user name that a container's user does not have.
IDENTITY: Any = "millrace"


class Forgetful(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Remembers nothing: there are no handlers of changes, and the defaults copy every object on every event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any: ...
    def store(self, **_: Any) -> None: ...
    def purge(self, **_: Any) -> None: ...
    def touch(self, **_: Any) -> None: ...

    def clear(self, *, essence: Any) -> Any:
        return essence


def settings(watched: Mapping[ResourceType, str]) -> kopf.OperatorSettings:
    """Kopf as a reader. ``watched`` maps kinds to the label selectors that the API server filters by."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.posting.enabled = False
    made.scanning.disabled = True
    made.persistence.finalizer = "millrace.dev/kopf-unused"
    made.persistence.diffbase_storage = Forgetful()
    made.persistence.progress_storage = Forgetful()
    made.persistence.consistency_timeout = 0
    # Else kopf kills the process ten minutes after it has ended, although it has begun anew since.
    made.process.ultimate_exiting_timeout = None
    made.watching.initial_streaming = False
    made.watching.server_timeout = 300
    made.watching.client_timeout = 330
    made.networking.request_timeout = 30
    made.networking.connect_timeout = 10
    made.networking.error_backoffs = BACKOFFS
    for resource, selector in watched.items():
        if selector:
            made.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return made


def registry(watched: Mapping[ResourceType, str], saw: Saw, credentials: Credentials) -> kopf.OperatorRegistry:
    """One event filter for each kind, and a login that reads the token again each time it is asked."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made, id="login")
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(credentials)

    for one in watched:
        look = partial(_look, saw, one)
        kopf.on.event(one.group, one.version, one.plural, registry=made, id="event", when=look)(_never_called)
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


def _look(saw: Saw, resource: ResourceType, /, event: Mapping[str, Any], **_: Any) -> bool:
    """A filter that looks at every event and lets none through: the way on to a handler costs a third of the CPU."""
    saw(resource, event["type"], event["object"])
    return False


async def _never_called(**_: Any) -> None:
    """Kopf watches only kinds that have a handler."""


class NotKopfs(Container["asyncio.Task[Any]"]):
    """All tasks of the loop but kopf's own: kopf would cancel every task that was created after its start."""

    _home = str(Path(kopf.__file__).parent)

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not code.co_filename.startswith(self._home)


class KopfWatches:
    """The running watches of one kernel. `started` is called after each start: kopf takes SIGINT and SIGTERM then."""

    def __init__(
        self, kernel: Kernel, credentials: Credentials, territory: Territory, started: Callable[[], None] = lambda: None
    ) -> None:
        self._kernel, self._credentials = kernel, credentials
        self._territory, self._started = territory, started
        self._stop, self._vault = asyncio.Event(), Vault()
        self._tasks: Any = ()

    async def start(self) -> None:
        """List and watch from now on, where that is allowed."""
        if not self._territory.open:  # kopf would take no namespace for all of them
            self._tasks = [asyncio.create_task(self._stop.wait(), name="no namespace")]
            return
        self._vault = Vault()
        self._tasks = await kopf.spawn_tasks(
            registry=registry(self._kernel.watched, self._kernel.saw, self._credentials),
            settings=settings(self._kernel.watched),
            namespaces=[name for name in self._territory.open if name != EVERYWHERE],
            clusterwide=self._territory.is_everywhere,
            standalone=True,
            vault=self._vault,
            identity=IDENTITY,
            stop_flag=self._stop,
        )
        self._started()

    async def run(self) -> None:
        """Wait for the end, which comes by `stop`, or by one failure too many, which is raised. Kopf ends when a list
        or a watch is refused, with 410 as with 403: it begins anew then, as it does for other namespaces.
        """
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            try:
                if not await self._over():
                    return
                failures = 0
            except Exception as error:
                failures = 1 if loop.time() - began > CALM_SECONDS else failures + 1
                if self._stop.is_set() or failures > TRIES:
                    raise
                log.failure("the watches ended and begin again", error=error, failures=failures)
            await asyncio.sleep(failures)
            await self._kernel.survey()
            await self.start()

    async def _over(self) -> bool:
        """Whether kopf was ended for other namespaces, once all of it is over; raises what ended it. It cancels each
        watch once and waits: one whose request is under way takes that for the end of its pause waiter, which is
        cancelled too, and goes on. So it is told again.
        """
        others: Any = NotKopfs()
        ending = asyncio.create_task(kopf.run_tasks(self._tasks, ignored=others), name="kopf")
        moved, is_over = asyncio.create_task(self._territory.moved(), name="moved"), True
        try:
            is_over = moved in (await asyncio.wait([*self._tasks, moved], return_when=asyncio.FIRST_COMPLETED))[0]
        finally:
            moved.cancel()
            if is_over:  # or this very task is cancelled
                ending.cancel()
            while not (await asyncio.wait({ending}, timeout=ENDING_SECONDS))[0]:
                for task in asyncio.all_tasks() - {ending, *self._tasks}:
                    if task not in others and not task.get_name().startswith(PAUSE_WAITER):
                        task.cancel()
            await self._vault.close()  # kopf did, but watches that outlived its orchestrator began another session
        return is_over or bool(ending.result())

    def stop(self) -> None:
        """End the watches."""
        self._stop.set()
