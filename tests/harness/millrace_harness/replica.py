"""One operator process in the simulation: it starts, is paused, stops, or is killed at any moment.

It is `wiring.Replica` with all four kinds, scrapes and the policy probe, as installed; only kopf, the sockets and the
probes are missing. A killed one's requests never arrive, its tasks end without cleaning up after themselves, and its
successor starts with nothing but what the API server says.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from millrace import errors, wiring
from millrace.clients.credentials import Credentials
from millrace.clients.kube import TIMEOUT_SECONDS, Kube
from millrace.clients.scrape import Fetch, ScrapeFailed
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.controller.kernel import Duty
from millrace.observe import policy, scrapes
from millrace.settings import Settings

from .apiserver import ApiServer
from .apiserver.writes import clone
from .feed import Feed
from .virtual import Owner, VirtualClock
from .wire import Exchange, Lost, Request, Show, show_all


class SimKube(Kube):
    """The operator's own client over an exchange instead of HTTP: its retries, fences and errors are the real ones."""

    def __init__(
        self,
        sender: str,
        exchange: Exchange,
        *,
        is_alive: Callable[[], bool] = lambda: True,
        timeout: float = TIMEOUT_SECONDS,
        **options: Any,
    ) -> None:
        super().__init__(Credentials(server="http://simulated.invalid"), timeout=timeout, **options)
        self.sender = sender
        self._exchange = exchange
        self._is_alive = is_alive

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """There is no connection to close."""

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None,
        content: str,
        headers: Mapping[str, str],
    ) -> Manifest:
        if not self._is_alive():
            raise asyncio.CancelledError("the process is dead")
        sent = None if body is None else json.loads(json.dumps(body))
        request = Request(self.sender, method, path, dict(params), sent, content, dict(headers))
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange(request)
        except (Lost, TimeoutError) as error:
            what = str(error) or type(error).__name__
            raise errors.Unavailable(f"the API server cannot be reached: {what}") from error
        if answer.status >= 400:
            after = answer.headers.get("Retry-After")
            raise errors.from_status(answer.status, answer.body, float(after) if after else None)
        manifest: Manifest = clone(answer.body)
        return manifest


async def _nobody(host: str, port: int, path: str) -> str:
    raise ScrapeFailed(f"nobody answers at {host}:{port}{path}")


class Process:
    """One life of one replica. `sender` is what its requests are signed with."""

    def __init__(
        self,
        server: ApiServer,
        sender: str,
        settings: Settings,
        *,
        through: Callable[[Exchange], Exchange] = lambda exchange: exchange,
        show: Show = show_all,
        fetch: Fetch = _nobody,
        clock: VirtualClock | None = None,
        **election: Any,
    ) -> None:
        """`settings.identity` is the pod's name: a successor of the same name takes the lease over at once, another one
        waits it out. `election` is `lease_seconds`, `renew_seconds`, `retry_seconds`.
        """
        self.sender = sender
        self.clock = clock or VirtualClock(server.loop)
        self.owner = Owner(sender, server.loop)
        self._server = server
        self._exchange = through(server.exchange)
        self._show = show
        self._fetch = fetch
        self.kube = SimKube(sender, self._exchange, is_alive=lambda: self.owner.is_alive)
        settings = replace(settings, identity=settings.identity or sender)
        self.replica = wiring.Replica(
            settings, self.kube, self.clock, wiring.controllers(), tasks=self._background, **election
        )
        self._life: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether it believes so."""
        return self.owner.is_alive and self.replica.kernel.leads

    def start(self) -> asyncio.Task[None]:
        """Begin. The task ends when the process does, and raises what ended it."""
        self._life = self.owner.spawn(self._live(), self.sender)
        return self._life

    def kill(self) -> None:
        """As SIGKILL does; may be called from within. Nothing it sends from now on arrives, its lease stays taken."""
        self.owner.kill()

    def pause(self, seconds: float) -> None:
        """Run nothing of it for so long; its clocks go on, and what came due meanwhile happens when it wakes."""
        self.owner.pause()
        self._server.loop.call_later(seconds, self.owner.resume, context=contextvars.Context())

    async def stop(self) -> None:
        """As SIGTERM does, and wait for the end."""
        self.replica.stop()
        if self._life is not None:
            await asyncio.wait({self._life})

    async def ended(self) -> None:
        """Wait until nothing of it is left, after `kill` or `stop`."""
        await self.owner.ended()

    def _background(self, world: World) -> tuple[list[Duty], list[Duty]]:
        world.scrapes = scrapes.Scrapes(world, self._fetch)

        async def watch_policies() -> None:
            await policy.watch(world)

        return [world.scrapes.run], [watch_policies]

    async def _live(self) -> None:
        kernel = self.replica.kernel
        await self.replica.find_kinds()
        feed = Feed(
            self._server,
            kernel.watched,
            self.replica.settings.namespace,
            kernel.saw,
            sender=self.sender,
            exchange=self._exchange,
            show=self._show,
        )
        watching = asyncio.create_task(feed.run(), name="feed")
        work = asyncio.create_task(self.replica.work(), name="work")
        try:
            await asyncio.wait((watching, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, watching):
                task.cancel()
            await asyncio.gather(work, watching, return_exceptions=True)
        for task in (work, watching):
            if not task.cancelled():
                task.result()
