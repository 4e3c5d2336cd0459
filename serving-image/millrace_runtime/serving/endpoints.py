"""What each path of the Open Inference Protocol v2 over REST answers (kserve/open-inference-protocol at d49cc23).

Heads and bodies come from a transport, which reads them within its limits: `app` is the one of ASGI.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import orjson

import millrace
from millrace.contract.environment import SERVER_READY_PATH, ServerEnvironment
from millrace.contract.router import REVISION_DOMAIN, revision_host
from millrace_runtime import discretion
from millrace_runtime.serving import log, rest
from millrace_runtime.serving.dataplane import PLATFORM, DataPlane
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.telemetry import CONTENT_TYPE, Telemetry

JSON = b"application/json"
BINARY = b"application/octet-stream"
EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")
INDEX = "/v2/repository/index"
READY = SERVER_READY_PATH
LENGTH = rest.LENGTH_HEADER.lower().encode()


class Phase(Enum):
    """Where the process is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Was told to stop, and takes traffic until another server does."""
    LEAVING = "leaving"
    """Answers what still arrives, but asks for no more."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and further headers."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class Endpoints:
    """One model's. `plane` is set, then `phase`, once the model reproduced its golden set."""

    settings: ServerEnvironment
    telemetry: Telemetry
    phase: Phase = Phase.LOADING
    plane: DataPlane | None = None
    asked: float = 0.0
    """When the last prediction was asked for, in seconds of `time.perf_counter`."""
    infer_paths: frozenset[str] = field(init=False)
    """Paths that `infer` answers; `INDEX` is answered by `repository`, `READY` by `ready`, all others by `answer`."""
    _routes: dict[str, Callable[[], Response]] = field(init=False)
    _host: bytes = field(init=False)
    _identity: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Paths are known once, so routing is a look-up."""
        model = f"/v2/models/{self.settings.model_name}"
        version = f"{model}/versions/{self.settings.model_version}"
        self.infer_paths = frozenset({f"{model}/infer", f"{version}/infer"})
        self._routes = {
            "/v2": self._server,
            "/v2/": self._server,
            "/v2/health/live": self._health_live,
            "/v2/models": self._models,
            "/v2/models/stats": self._statistics,
            "/metrics": self._metrics,
        }
        for path in (model, version):
            self._routes |= {path: self._metadata, f"{path}/": self._metadata, f"{path}/ready": self._model_ready}
            self._routes[f"{path}/stats"] = self._statistics
        self._host = revision_host(self.settings.revision).encode()
        self._identity = {"model_name": self.settings.model_name, "model_version": self.settings.model_version}

    @property
    def takes_traffic(self) -> bool:
        """Whether more requests are welcome."""
        return self.phase in (Phase.READY, Phase.DRAINING)

    def enter(self, phase: Phase) -> None:
        """Move on; `/metrics` and the readiness answers follow at once."""
        self.phase = phase
        self.telemetry.ready = self.takes_traffic

    def loaded(self) -> DataPlane:
        """The model. Raises RequestFailed(503) while there is none."""
        if self.plane is None:
            raise RequestFailed(503, "the model is still being loaded")
        return self.plane

    async def infer(self, body: bytes, length: bytes | None = None) -> Response:
        """Answer a prediction; ``length`` is the header that says where the JSON object ends."""
        try:
            return await self._predict(body, length)
        except RequestFailed as failure:
            return failed(failure)
        except Exception as error:  # noqa: BLE001 - a defect is answered and logged, it must not end the server
            log.write("error", "a request met a defect of the server", error=discretion.told(error))
            return failed(RequestFailed(500, "the server failed on this request; its log has the detail"))

    def answer(self, path: str, method: str) -> Response:
        """Everything that is read: health, metadata, statistics, metrics."""
        handler = self._routes.get(path)
        if handler is None:
            return failed(RequestFailed(404, self._missing(path)))
        if method not in ("GET", "HEAD"):
            return failed(RequestFailed(405, "expected GET"), b"GET, HEAD")
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
        return _json(200, {"name": "millrace", "version": millrace.__version__, "extensions": EXTENSIONS})

    def _health_live(self) -> Response:
        return _json(200, {"live": True, "ready": self.takes_traffic})

    def ready(self, method: str, host: bytes = b"") -> Response:
        """Whether this server takes traffic; asked by the Host of another revision, that it is the wrong one.

        One that was told to stop says so beside it: it is no successor for others that were.
        """
        if method not in ("GET", "HEAD"):
            return failed(RequestFailed(405, "expected GET"), b"GET, HEAD")
        asked = host.partition(b":")[0]
        if asked.endswith(_DOMAIN) and asked != self._host:
            return failed(RequestFailed(421, f"this server has revision {self.settings.revision}"))
        ready = self.takes_traffic
        draining = {"draining": True} if self.phase is Phase.DRAINING else {}
        return _json(200 if ready else 503, {"live": True, "ready": ready, **draining}, () if ready else _RETRY)

    def _model_ready(self) -> Response:
        ready = self.takes_traffic
        body = {"name": self.settings.model_name, "ready": ready}
        return _json(200 if ready else 503, body, () if ready else _RETRY)

    def _models(self) -> Response:
        ready = self.takes_traffic
        name, version = self.settings.model_name, self.settings.model_version
        return _json(200, {"models": [{"name": name, "version": version, "platform": PLATFORM, "ready": ready}]})

    def _metadata(self) -> Response:
        try:
            return _json(200, self.loaded().metadata())
        except RequestFailed as failure:
            return failed(failure)

    def _statistics(self) -> Response:
        found = self.telemetry.statistics.to_dict(self.settings.model_name, self.settings.model_version)
        return _json(200, {"model_stats": [found]})

    def _metrics(self) -> Response:
        return Response(200, self.telemetry.page(), CONTENT_TYPE)

    def repository(self, body: bytes) -> Response:
        """The model repository extension, as far as a server of one model has it. Raises RequestFailed(400)."""
        try:
            asked = orjson.loads(body) if body.strip() else {}
        except orjson.JSONDecodeError as error:
            raise RequestFailed(400, f"expected JSON: {str(error)[:200]}") from error
        if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
            raise RequestFailed(400, "ready: expected true or false in a JSON object")
        ready = self.takes_traffic
        state, reason = ("READY", "") if ready else ("UNAVAILABLE", self.phase.value)
        entry = {"name": self.settings.model_name, "version": self.settings.model_version}
        return _json(200, [] if asked.get("ready") and not ready else [{**entry, "state": state, "reason": reason}])

    async def _predict(self, body: bytes, length: bytes | None) -> Response:
        plane = self.loaded()
        statistics = self.telemetry.statistics
        started = time.perf_counter_ns()
        size = None if length is None else rest.header_length(length, len(body))
        request = rest.decode(plane.signature, body, size)
        statistics.decoding.add(time.perf_counter_ns() - started)
        results = await plane.infer(request)
        started = time.perf_counter_ns()
        encoded = rest.encode(plane.signature, self._identity, request, results)
        statistics.encoding.add(time.perf_counter_ns() - started)
        if encoded.length is None:
            return Response(200, encoded.body)
        return Response(200, encoded.body, BINARY, ((LENGTH, str(encoded.length).encode()),))


_DOMAIN = f".{REVISION_DOMAIN}".encode()
_RETRY = ((b"retry-after", b"1"),)


def _json(status: int, value: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return Response(status, orjson.dumps(value), JSON, headers)


def failed(failure: RequestFailed, allow: bytes = b"") -> Response:
    """The error body that every client of the protocol reads."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if failure.status == 405:
        headers = ((b"allow", allow),)
    elif failure.status == 503:
        headers = _RETRY
    elif failure.status in (408, 413, 415):
        # The rest of the body is not read.
        headers = ((b"connection", b"close"),)
    return _json(failure.status, {"error": failure.message}, headers)
