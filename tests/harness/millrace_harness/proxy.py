"""HTTP on loopback in front of a real API server: each request becomes a `wire.Request` and goes through an exchange.

One proxy serves all plans of a process. Each process of a plan (a replica's incarnation) enters by a `Door` of its own,
which says what happens to its requests and to the events of its watches, and which can be shut: from then on nothing
that the process sends arrives, and nobody is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from millrace.clients.credentials import Credentials

from .wire import JSON, Event, Exchange, Lost, Request, Response, Show, show_all

HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "host", "content-length",
     "accept-encoding", "content-type"}
)  # fmt: skip
KEPT: Final = ("Retry-After", "Warning")
"""Headers of an answer that callers read."""

Through = Callable[[Exchange], Exchange]
Note = Callable[[Request], Callable[[Response], None]]
"""Told of a write before it is sent; what it returns is told of the answer, whether or not the sender hears of it."""


def _directly(exchange: Exchange) -> Exchange:
    return exchange


def _unnoted(_: Request) -> Callable[[Response], None]:
    """The default: does nothing."""
    return lambda _: None


class Door:
    """One process's way in. `exchange` answers its requests, the opening of watches among them (with any 200)."""

    exchange: Exchange

    def __init__(self, number: int, sender: str, token: str, show: Show, note: Note) -> None:
        self.number = number
        self.sender = sender
        self.token = token
        self.show = show
        self.note = note
        self.is_shut = False
        self.requests = 0
        self._answering: dict[asyncio.Task[Any], web.BaseRequest] = {}

    def shut(self) -> None:
        """The process is dead: break its connections. What the API server is carrying out, it carries out."""
        self.is_shut = True
        for request in self._answering.values():
            _abort(request)

    def end_watches(self) -> None:
        """Break every watch; the process is alive and will come again."""
        for task, request in self._answering.items():
            if request.query.get("watch") == "true":
                task.cancel()

    @contextlib.contextmanager
    def answering(self, request: web.BaseRequest) -> Any:
        """While this request is being answered."""
        task = asyncio.current_task()
        assert task is not None
        self._answering[task] = request
        try:
            yield
        finally:
            del self._answering[task]


class Proxy:
    """The proxy, an async context manager. `upstream` is an administrator's; `tokens` are those of all users."""

    def __init__(self, upstream: Credentials, tokens: Mapping[str, str]) -> None:
        self._upstream = upstream
        self._tokens = tokens
        self._doors: dict[str, Door] = {}
        self._numbers = itertools.count(1)
        self._port = 0
        self._writing: set[asyncio.Future[Response]] = set()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream.ssl_context(), keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        server = web.Server(self._answer, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for door in self._doors.values():
            door.shut()
        await self._runner.cleanup()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._session.close()

    def open(
        self, sender: str, *, user: str = "", through: Through = _directly, show: Show = show_all, note: Note = _unnoted
    ) -> Door:
        """A door for `sender`, whose requests pass `through` an injector on their way to the API server.

        There they are those of `user`, by default of an administrator.
        """
        number = next(self._numbers)
        token = self._tokens[user] if user else self._upstream.token()
        door = self._doors[str(number)] = Door(number, sender, token, show, note)

        async def ask(request: Request) -> Response:
            return await self._ask(door, request)

        door.exchange = through(ask)
        return door

    def close(self, door: Door) -> None:
        """Forget a door whose process is gone for good."""
        door.shut()
        self._doors.pop(str(door.number), None)

    def credentials(self, door: Door) -> Credentials:
        """Where the process finds its API server. Nothing is encrypted; without an authority of its own each client
        would load those of the machine, which takes longer than anything else in its start.
        """
        server = f"http://127.0.0.1:{self._port}/{door.number}"
        return Credentials(server=server, ca=self._upstream.ca, fixed_token=door.token)

    @contextlib.asynccontextmanager
    async def watch(self, request: Request) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of a watch as the API server shows them to an administrator. Raises Lost if it refuses."""
        async with self._send(request, self._upstream.token()) as found:
            if found.status != 200:
                raise Lost(f"{request.path} was answered {found.status}: {await found.text()}")
            yield _events(found)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        number, _, path = http.raw_path.lstrip("/").partition("/")
        door = self._doors.get(number)
        if door is None or door.is_shut:
            return _lost(http)
        with door.answering(http):
            try:
                return await self._dispatch(door, http, path.partition("?")[0])
            except (Lost, aiohttp.ClientError, ConnectionError):
                return _lost(http)

    async def _dispatch(self, door: Door, http: web.BaseRequest, path: str) -> web.StreamResponse:
        text = await http.read()
        door.requests += 1
        request = Request(
            sender=door.sender,
            method=http.method,
            path=f"/{path}",
            params=dict(http.query),
            body=orjson.loads(text) if text else None,
            content=http.headers.get("Content-Type", JSON).partition(";")[0],
            headers={name: value for name, value in http.headers.items() if name.lower() not in HOP_BY_HOP},
        )
        answer = await door.exchange(request)
        if door.is_shut:
            return _lost(http)
        if request.is_watch and answer.status == 200:
            return await self._stream(door, http, request)
        return web.Response(
            status=answer.status, body=orjson.dumps(answer.body), headers=dict(answer.headers), content_type=JSON
        )

    async def _ask(self, door: Door, request: Request) -> Response:
        """The API server itself. A watch is only said to be open; `_stream` opens it.

        A write that has been sent is carried out whether or not its sender lives to hear of it.
        """
        if door.is_shut:
            raise Lost("the process that asks is dead")
        if request.is_watch:
            return Response(200, {})
        if not request.is_write:
            return await self._carry_out(door, request)
        writing = asyncio.ensure_future(self._carry_out(door, request))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        return await asyncio.shield(writing)

    def _written(self, writing: asyncio.Future[Response]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled():
            writing.exception()  # its sender may be gone

    async def _carry_out(self, door: Door, request: Request) -> Response:
        noted = door.note(request) if request.is_write else None
        try:
            async with self._send(request, door.token) as found:
                text = await found.read()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Lost(str(error)) from error
        headers = {name: found.headers[name] for name in KEPT if name in found.headers}
        answer = Response(found.status, _parsed(text), headers)
        if noted is not None and answer.status < 300:
            noted(answer)
        return answer

    def _send(self, request: Request, token: str) -> Any:
        body = None if request.body is None else orjson.dumps(request.body)
        headers = CIMultiDict(request.headers)
        headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = request.content
        url = URL(self._upstream.server + request.path, encoded=True)
        return self._session.request(
            request.method, url, params=request.params, headers=headers, data=body, allow_redirects=False
        )

    async def _stream(self, door: Door, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        async with self._send(request, door.token) as found:
            if found.status != 200:
                return web.Response(status=found.status, body=await found.read(), content_type=JSON)
            response = web.StreamResponse(status=200, headers={"Content-Type": JSON})
            await response.prepare(http)
            with contextlib.suppress(ConnectionError):
                async for event in door.show(request, _events(found)):
                    if door.is_shut:
                        break
                    await response.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            if door.is_shut:
                return _lost(http)
            await response.write_eof()
            return response


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The lines of a watch, however long."""
    held = b""
    async for chunk in answer.content.iter_any():
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            if line:
                yield orjson.loads(line)


def _parsed(text: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"message": text[:200].decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"items": found}


def _abort(http: web.BaseRequest) -> None:
    transport = http.transport
    if transport is not None and hasattr(transport, "abort"):
        transport.abort()


def _lost(http: web.BaseRequest) -> web.StreamResponse:
    """No answer at all: the connection breaks."""
    _abort(http)
    return web.Response(status=503)
