"""A network between the operator and a real API server that fails when it is told to.

Nothing here imitates the API server: tests that need one start the real one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from millrace.clients.credentials import Credentials


@dataclass
class Faults:
    """What a `FaultyProxy` does wrong, by plural; each fault happens as often as its number says."""

    expire_watch: dict[str, int] = field(default_factory=dict)
    """Answer a watch with 410 Gone."""
    forbid_watch: dict[str, int] = field(default_factory=dict)
    """Answer a watch with 403 Forbidden."""
    cut_list: dict[str, int] = field(default_factory=dict)
    """Break the connection in the middle of a list."""
    refuse: dict[str, int] = field(default_factory=dict)
    """Refuse any request for a kind with 503 while above 0; not counted down."""


class FaultyProxy:
    """Plain HTTP on loopback in front of a real API server: passes everything on, except for its `faults`.

    ``writes`` lists every POST, PUT, PATCH and DELETE that went through, as ``(method, path, user agent)``.
    """

    def __init__(self, upstream: Credentials) -> None:
        self.faults = Faults()
        self.writes: list[tuple[str, str, str]] = []
        self.lists: list[str] = []
        self._upstream = upstream
        self._watches: dict[str, set[asyncio.Event]] = {}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._upstream.ssl_context(), limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.credentials = Credentials(server=f"http://127.0.0.1:{port}", fixed_token=self._upstream.token())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for plural in self._watches:
            self.break_watches(plural)
        await self._runner.cleanup()
        await self._session.close()

    def break_watches(self, plural: str) -> None:
        """Break the connections of all watches of a kind."""
        for broken in self._watches.get(plural, ()):
            broken.set()

    async def cut_off(self, plural: str) -> None:
        """Break all watches of a kind and refuse it from now on; returns when no watch is left."""
        self.faults.refuse[plural] = 1
        while self._watches.get(plural):
            self.break_watches(plural)
            await asyncio.sleep(0.005)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        plural = _plural(request.path)
        watch = request.query.get("watch") == "true"
        if self.faults.refuse.get(plural):
            return web.json_response({"kind": "Status", "message": "out of order"}, status=503)
        if watch and _use(self.faults.forbid_watch, plural):
            return web.json_response({"kind": "Status", "code": 403, "message": "forbidden"}, status=403)
        if watch and _use(self.faults.expire_watch, plural):
            return web.json_response(
                {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "gone"}}
            )
        if request.method != "GET":
            self.writes.append((request.method, request.path, request.headers.get("User-Agent", "")))
        elif not watch:
            self.lists.append(plural)
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        url = self._upstream.server + request.path_qs
        if watch:
            return await self._watch(request, url, headers, plural)
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None
        ) as answer:
            body = await answer.read()
        cut = request.method == "GET" and "items" in _json(body) and _use(self.faults.cut_list, plural)
        return await _send(request, answer, body, cut=cut)

    async def _watch(self, request: web.Request, url: str, headers: dict[str, str], plural: str) -> web.StreamResponse:
        broken = asyncio.Event()  # known before the API server answers, or `cut_off` would miss a watch being opened
        self._watches.setdefault(plural, set()).add(broken)
        try:
            async with self._session.get(url, headers=headers) as answer:
                response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
                await response.prepare(request)
                async for chunk in _until(answer, broken):
                    await response.write(chunk)
        finally:
            self._watches[plural].discard(broken)
        if request.transport is not None:
            request.transport.abort()
        return response


async def _until(answer: aiohttp.ClientResponse, broken: asyncio.Event) -> AsyncIterator[bytes]:
    waiting = asyncio.ensure_future(broken.wait())
    try:
        while True:
            reading = asyncio.ensure_future(answer.content.readany())
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())  # may end unwatched
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
            (chunk,) = await asyncio.gather(reading, return_exceptions=True)
            if not isinstance(chunk, bytes) or not chunk or waiting.done():
                return
            yield chunk
    finally:
        waiting.cancel()


async def _send(request: web.Request, answer: aiohttp.ClientResponse, body: bytes, *, cut: bool) -> web.StreamResponse:
    headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
    if not cut:
        return web.Response(status=answer.status, body=body, headers=headers)
    response = web.StreamResponse(status=answer.status, headers={**headers, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response


def _use(faults: dict[str, int], plural: str) -> bool:
    left = faults.get(plural, 0)
    if left:
        faults[plural] = left - 1
    return left > 0


def _plural(path: str) -> str:
    """The kind of a namespaced path, else an empty string."""
    parts = path.strip("/").split("/")
    if "namespaces" in parts and len(parts) > parts.index("namespaces") + 2:
        return parts[parts.index("namespaces") + 2]
    return ""


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
