"""A way to the API server that loses replies: whoever waits for one to an effective write is dead before it comes.

Everything else passes through as it is: the caller's own Authorization, bodies, statuses, watches as they stream.
Writes go one at a time, so that each death follows exactly one committed write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from . import writes
from .writes import Write

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "host", "content-length"}
)

AfterWrite = Callable[[Write], Awaitable[bool]]
"""Called with an effective write before its reply is sent. True: the caller is dead, nobody is answered any more."""


@dataclass(frozen=True)
class Upstream:
    """The API server. `trust` verifies it; `judge` and `judge_headers` are who looks at objects before a write."""

    url: str
    trust: ssl.SSLContext
    judge: ssl.SSLContext
    judge_headers: dict[str, str]


class Proxy:
    """One process's way to the API server, an async context manager. Once its process is dead it stays shut."""

    def __init__(self, upstream: Upstream, after_write: AfterWrite) -> None:
        self.port = 0
        self.is_shut = False
        self._upstream = upstream
        self._after_write = after_write
        self._writing = asyncio.Lock()
        self._answering: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._upstream.trust), timeout=timeout, auto_decompress=False
        )
        self._judge = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream.judge), headers=self._upstream.judge_headers
        )
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.is_shut = True
        await self._runner.cleanup()
        for task in self._answering:
            task.cancel()  # watches whose reader is dead: the server has forgotten them, the API server goes on sending
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._session.close()
        await self._judge.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            return await self._dispatch(request)
        finally:
            self._answering.discard(task)

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        try:
            if writes.is_counted(request.method, request.raw_path):
                async with self._writing:
                    return await self._write(request, body)
            return await self._pass(request, body)
        except (aiohttp.ClientError, ConnectionError) as error:
            if not self.is_shut and not _is_gone(request):
                return web.json_response({"message": f"the fault proxy lost the API server: {error}"}, status=502)
            return _lost(request)

    async def _pass(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Stream the reply as it comes."""
        if self.is_shut:
            return _lost(request)
        async with self._send(request, body) as found:
            response = web.StreamResponse(status=found.status, reason=found.reason, headers=_kept(found.headers))
            if found.headers.get("Content-Length"):
                response.content_length = int(found.headers["Content-Length"])
            await response.prepare(request)
            async for chunk in found.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _write(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Commit, judge, then answer or not."""
        if self.is_shut or _is_gone(request):
            return _lost(request)  # it waited for its turn and its sender died
        wanted = writes.made(request.method, request.raw_path, request.headers.get("Content-Type", ""), body)
        before = await self._look(request, wanted)
        async with self._send(request, body) as found:
            answer = await found.read()
        changed = found.status < 300 and writes.is_effective(request.method, before, _parsed(answer))
        if changed and await self._after_write(wanted):
            self.is_shut = True
            return _lost(request)
        return web.Response(status=found.status, reason=found.reason, headers=_kept(found.headers), body=answer)

    async def _look(self, request: web.BaseRequest, wanted: Write) -> dict[str, Any] | None:
        """The object as it is before the write."""
        if request.method == "POST":
            return None
        path = request.raw_path.partition("?")[0]
        if wanted.target.subresource:
            path = path.rpartition("/")[0]
        async with self._judge.get(URL(self._upstream.url + path, encoded=True)) as found:
            if found.status == 404:
                return None
            found.raise_for_status()
            before: dict[str, Any] = await found.json()
            return before

    def _send(self, request: web.BaseRequest, body: bytes) -> Any:
        headers = _kept(request.headers)
        headers["Accept-Encoding"] = "identity"
        url = URL(self._upstream.url + request.raw_path, encoded=True)
        return self._session.request(request.method, url, headers=headers, data=body or None, allow_redirects=False)


def _kept(headers: Any) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


def _is_gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _lost(request: web.BaseRequest) -> web.StreamResponse:
    """No reply at all: the connection breaks."""
    with contextlib.suppress(AttributeError):
        request.transport.abort()  # type: ignore[union-attr]  # a transport that is gone is what is wanted
    return web.Response(status=503)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
