"""Stands in for kopf: LIST and WATCH of each kind, into the kernel's `saw`.

As kopf does it: items of a list are shown with type None; a watch goes on from the last version seen; after a 410 the
kind is listed again, and what vanished meanwhile is not mentioned. What is lost, doubled, late or silent is decided by
a `wire.Show` around the events and by whatever is wrapped around the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from millrace.api.resources import ResourceType
from millrace.handlers.adapter import BACKOFFS

from .apiserver import ApiServer
from .apiserver.writes import clone
from .wire import Event, Exchange, Lost, Request, Response, Show, show_all

Saw = Callable[[ResourceType, str | None, dict[str, Any]], None]

LONGEST_PAUSE_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 30.0


class _Expired(Exception):
    """The version is too old: list again."""


class Feed:
    """The watches of one replica."""

    def __init__(
        self,
        server: ApiServer,
        watched: Mapping[ResourceType, str],
        namespace: str,
        saw: Saw,
        *,
        sender: str,
        exchange: Exchange,
        show: Show = show_all,
    ) -> None:
        self._server = server
        self._watched = watched
        self._namespace = namespace
        self._saw = saw
        self._sender = sender
        self._exchange = exchange
        self._show = show

    async def run(self) -> None:
        """List and watch every kind until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource, selector in self._watched.items():
                group.create_task(self._follow(resource, selector), name=f"watch {resource.plural}")

    async def _follow(self, resource: ResourceType, selector: str) -> None:
        while True:
            listed = await self._insist(self._request(resource, selector))
            for manifest in listed.body["items"]:
                self._saw(resource, None, clone(manifest))
            version = str(listed.body["metadata"]["resourceVersion"])
            try:
                while True:
                    version = await self._watch(resource, selector, version)
            except _Expired:
                continue

    async def _watch(self, resource: ResourceType, selector: str, version: str) -> str:
        """One watch, from its opening to its end. Returns the last version seen. Raises _Expired."""
        request = self._request(resource, selector, watch="true", resourceVersion=version, timeoutSeconds="300")
        await self._insist(request)
        events: AsyncIterator[Event] = self._show(request, self._server.watch(request))
        try:
            async for event in events:
                kind, manifest = event["type"], event["object"]
                if kind == "ERROR":
                    if manifest.get("code") == 410:
                        raise _Expired
                    break
                if kind == "BOOKMARK":
                    continue
                self._saw(resource, kind, clone(manifest))
                version = str(manifest["metadata"]["resourceVersion"])
        except Lost:
            pass
        await asyncio.sleep(0.1)
        return version

    async def _insist(self, request: Request) -> Response:
        """Ask until there is an answer. Raises _Expired."""
        pauses = iter(BACKOFFS)
        while True:
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    answer = await self._exchange(request)
            except (Lost, TimeoutError):
                answer = None
            if answer is not None and answer.status < 400:
                return answer
            if answer is not None and answer.status == 410 and request.is_watch:
                raise _Expired
            await asyncio.sleep(next(pauses, LONGEST_PAUSE_SECONDS))

    def _request(self, resource: ResourceType, selector: str, **params: str) -> Request:
        chosen = {"labelSelector": selector} if selector else {}
        return Request(self._sender, "GET", resource.path(self._namespace), {**chosen, **params}, None)
