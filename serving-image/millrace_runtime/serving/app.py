"""The endpoints as a plain ASGI callable: heads and bodies in, answers out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millrace_runtime.serving import compression
from millrace_runtime.serving.endpoints import INDEX, LENGTH, READY, Endpoints, Phase, Response, failed
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.load import Admitted, Load

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

SENDING_SECONDS = 30.0
"""For a body, from its head to its last byte: who sends slowly holds a place that others need."""
_HTML_FREE = (b"x-content-type-options", b"nosniff")


@dataclass(frozen=True, slots=True)
class _Head:
    """What the head of a request says of its body; `length` of the JSON object before the bytes of tensors, `size` of
    all as it is sent, 0 if it is not told.
    """

    encoding: bytes
    length: bytes | None
    size: int


class App:
    """ASGI 3, HTTP only."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        settings = endpoints.settings
        self._limit = settings.max_body_bytes
        self._load = Load(settings.max_requests, settings.max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in self._endpoints.infer_paths:
            response = await self._infer(scope, receive)
        elif path == INDEX:
            response = await self._index(scope, receive)
        elif path == READY:
            response = self._endpoints.ready(method, _host(scope))
        else:
            response = self._endpoints.answer(path, method)
        if response is not None:
            await self._send(response, method, send)

    async def _infer(self, scope: Scope, receive: Receive) -> Response | None:
        self._endpoints.asked = started = time.perf_counter()
        try:
            head = self._head(scope)
            self._endpoints.loaded()
            with self._load.admit(head.size) as admitted:
                body = await self._body(receive, head, admitted)
                if body is None:
                    return None
                started = time.perf_counter()
                response = await self._endpoints.infer(body, head.length)
        except RequestFailed as failure:
            response = failed(failure, b"POST")
        self._endpoints.telemetry.answered(response.status, time.perf_counter() - started)
        return response

    async def _index(self, scope: Scope, receive: Receive) -> Response | None:
        try:
            head = self._head(scope)
            with self._load.admit(head.size) as admitted:
                body = await self._body(receive, head, admitted)
            return None if body is None else self._endpoints.repository(body)
        except RequestFailed as failure:
            return failed(failure, b"POST")

    def _head(self, scope: Scope) -> _Head:
        """What the request's head says of its body. Raises RequestFailed 405 and 413."""
        if scope["method"] != "POST":
            raise RequestFailed(405, "expected POST")
        limit = self._limit
        encoding, length, size = b"", None, 0
        for name, value in scope["headers"]:
            if name == b"content-length":
                size = int(value)
                if size > limit:
                    raise RequestFailed(413, f"expected a body of at most {limit} bytes, got {size}")
            elif name == b"content-encoding":
                encoding = value
            elif name == LENGTH:
                length = value
        return _Head(encoding, length, size)

    async def _body(self, receive: Receive, head: _Head, admitted: Admitted) -> bytes | None:
        """The whole body as it was before it was encoded; `None` when the caller went away.

        Raises RequestFailed 400, 408, 413, 415 and 503.
        """
        limit = self._limit
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(SENDING_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise RequestFailed(413, f"expected a body of at most {limit} bytes")
                    parts.append(part)
                    admitted.hold(size)
                    more = bool(message.get("more_body"))
        except TimeoutError as error:
            raise RequestFailed(408, f"expected the whole body within {SENDING_SECONDS:.0f} s") from error
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if head.encoding:
            body = compression.inflate(body, head.encoding, limit)
            admitted.hold(len(body))
        return body

    async def _send(self, response: Response, method: str, send: Send) -> None:
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
            _HTML_FREE,
            *response.headers,
        ]
        if self._endpoints.phase is Phase.LEAVING:
            # The caller's next request goes to a server that stays.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


def _host(scope: Scope) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == b"host"), b"")
