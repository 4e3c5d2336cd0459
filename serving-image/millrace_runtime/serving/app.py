"""The Open Inference Protocol v2 over REST as a plain ASGI callable (kserve/open-inference-protocol at d49cc23)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from millrace.contract.environment import ServerEnvironment
from millrace_runtime.serving import log
from millrace_runtime.serving.dataplane import PLATFORM, DataPlane
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.telemetry import CONTENT_TYPE, Telemetry

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Handler = Callable[[], "Response"]

JSON = b"application/json"
_HTML_FREE = (b"x-content-type-options", b"nosniff")


class Phase(Enum):
    """Where the process is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Answers what still arrives, but asks for no more."""


@dataclass(frozen=True)
class Response:
    """Status, body and further headers."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class App:
    """One model's endpoints. `plane` is set, then `phase`, once the model reproduced its golden set."""

    settings: ServerEnvironment
    telemetry: Telemetry
    phase: Phase = Phase.LOADING
    plane: DataPlane | None = None
    _infer_paths: frozenset[str] = field(init=False)
    _routes: dict[str, Handler] = field(init=False)

    def __post_init__(self) -> None:
        """Paths are known once, so routing is a look-up."""
        model = f"/v2/models/{self.settings.model_name}"
        version = f"{model}/versions/{self.settings.model_version}"
        self._infer_paths = frozenset({f"{model}/infer", f"{version}/infer"})
        self._routes = {
            "/v2": self._server,
            "/v2/": self._server,
            "/v2/health/live": self._health_live,
            "/v2/health/ready": self._health_ready,
            "/v2/models": self._models,
            "/metrics": self._metrics,
        }
        for path in (model, version):
            self._routes |= {path: self._metadata, f"{path}/": self._metadata, f"{path}/ready": self._model_ready}

    def enter(self, phase: Phase) -> None:
        """Move on; `/metrics` and the readiness answers follow at once."""
        self.phase = phase
        self.telemetry.ready = phase is Phase.READY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: HTTP requests only."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in self._infer_paths:
            response = await self._infer(scope, receive)
        else:
            response = self._answer(path, method)
        if response is not None:
            await self._send(response, method, send)

    async def _infer(self, scope: Scope, receive: Receive) -> Response | None:
        started = time.perf_counter()
        try:
            plane = self._open_to(scope)
            body = await self._body(receive)
            if body is None:
                return None
            started = time.perf_counter()
            response = Response(200, await plane.infer(body))
        except RequestFailed as failure:
            response = _failed(failure, b"POST")
        except Exception as error:  # noqa: BLE001 - a defect is answered and logged, it must not end the server
            log.write("error", "a request met a defect of the server", error=f"{type(error).__name__}: {error}"[:500])
            response = _failed(RequestFailed(500, "the server failed on this request; its log has the detail"))
        self.telemetry.answered(response.status, time.perf_counter() - started)
        return response

    def _open_to(self, scope: Scope) -> DataPlane:
        """The model, if the request's head lets it be asked. Raises RequestFailed 400, 405, 413, 415 and 503."""
        if scope["method"] != "POST":
            raise RequestFailed(405, "expected POST")
        if self.plane is None:
            raise RequestFailed(503, "the model is still being loaded")
        limit = self.settings.max_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > limit:
                raise RequestFailed(413, f"expected a body of at most {limit} bytes, got {int(value)}")
            if name == b"content-encoding" and value != b"identity":
                raise RequestFailed(415, "expected an uncompressed body")
            if name == b"inference-header-content-length":
                raise RequestFailed(400, "expected tensors as JSON, got the binary tensor data extension")
        return self.plane

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; `None` when the caller went away. Raises RequestFailed 413."""
        limit = self.settings.max_body_bytes
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise RequestFailed(413, f"expected a body of at most {limit} bytes")
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _answer(self, path: str, method: str) -> Response:
        handler = self._routes.get(path)
        if handler is None:
            return _failed(RequestFailed(404, self._missing(path)))
        if method not in ("GET", "HEAD"):
            return _failed(RequestFailed(405, "expected GET"), b"GET, HEAD")
        return handler()

    def _missing(self, path: str) -> str:
        parts = path.split("/")
        if len(parts) > 3 and parts[1:3] == ["v2", "models"]:
            name, version = self.settings.model_name, self.settings.model_version
            if parts[3] != name:
                return f"no model {parts[3][:80]!r} here; this server has {name}"
            if len(parts) > 5 and parts[4] == "versions" and parts[5] != version:
                return f"no version {parts[5][:80]!r} of {name} here; this server has {version}"
        return "not found: the inference protocol is under /v2"

    def _server(self) -> Response:
        from millrace_runtime.serving.version import VERSION

        return _json(200, {"name": "millrace", "version": VERSION, "extensions": []})

    def _health_live(self) -> Response:
        return _json(200, {"live": True, "ready": self.phase is Phase.READY})

    def _health_ready(self) -> Response:
        ready = self.phase is Phase.READY
        return _json(200 if ready else 503, {"live": True, "ready": ready}, () if ready else _RETRY)

    def _model_ready(self) -> Response:
        ready = self.phase is Phase.READY
        body = {"name": self.settings.model_name, "ready": ready}
        return _json(200 if ready else 503, body, () if ready else _RETRY)

    def _models(self) -> Response:
        ready = self.phase is Phase.READY
        name, version = self.settings.model_name, self.settings.model_version
        return _json(200, {"models": [{"name": name, "version": version, "platform": PLATFORM, "ready": ready}]})

    def _metadata(self) -> Response:
        if self.plane is None:
            return _failed(RequestFailed(503, "the model is still being loaded"))
        return _json(200, self.plane.metadata())

    def _metrics(self) -> Response:
        return Response(200, self.telemetry.page(), CONTENT_TYPE)

    async def _send(self, response: Response, method: str, send: Send) -> None:
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
            _HTML_FREE,
            *response.headers,
        ]
        if self.phase is Phase.DRAINING:
            # The caller's next request goes to a server that stays.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


_RETRY = ((b"retry-after", b"1"),)


def _json(status: int, value: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return Response(status, orjson.dumps(value), JSON, headers)


def _failed(failure: RequestFailed, allow: bytes = b"") -> Response:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if failure.status == 405:
        headers = ((b"allow", allow),)
    elif failure.status == 503:
        headers = _RETRY
    elif failure.status in (413, 415):
        # The rest of the body is not read.
        headers = ((b"connection", b"close"),)
    return _json(failure.status, {"error": failure.message}, headers)
