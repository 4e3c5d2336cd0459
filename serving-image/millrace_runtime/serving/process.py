"""The server's life: listen, load, verify, take traffic, hand it over, leave, exit.

It listens first, so that probes are answered. Told to stop, it stays ready until another server of its revision has
been for a while, or its time is nearly over; then it says that it is not, and ends once nobody has asked it for a
prediction for a while: where routers have nobody else, they go on asking.
"""

from __future__ import annotations

import asyncio
import signal
import time
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millrace.contract.environment import GRACEFUL_SECONDS, ServerEnvironment
from millrace.contract.golden import RUN_BYTES, loading_bytes
from millrace.contract.reasons import Reason
from millrace_runtime import discretion, memory
from millrace_runtime.serving import artifact, log, verification
from millrace_runtime.serving.app import App
from millrace_runtime.serving.dataplane import DataPlane
from millrace_runtime.serving.endpoints import Endpoints, Phase
from millrace_runtime.serving.failure import ServerFailed
from millrace_runtime.serving.session import Session
from millrace_runtime.serving.succession import Peers, Succession
from millrace_runtime.serving.telemetry import Telemetry

KEEP_ALIVE_SECONDS = 75
"""Longer than the router's idle time-out, so that the router closes first and no request meets a closed connection."""
HANDOVER_SECONDS = 2.0
"""Another server is ready for so long before this one says that it is not: routers look once a second."""
LEAVING_SECONDS = 3.0
"""Without a request for so long nobody sends any more."""
LOOK_SECONDS = 0.5
TICK_SECONDS = 0.1


def run(settings: ServerEnvironment) -> None:
    """Serve until SIGTERM and the drain that follows. Raises ServerFailed when the server never became ready."""
    server = _Server(Endpoints(settings, Telemetry(settings)))
    server.run()
    if server.failure is not None:
        raise server.failure


class _Connection(HttpToolsProtocol):
    """uvicorn's, which keeps one that the caller reset, some 5 KB, until its keep-alive is over."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it at once."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()


class _Server(uvicorn.Server):
    """uvicorn with a drain before the shutdown, and a model to load after the start."""

    def __init__(self, endpoints: Endpoints) -> None:
        settings = endpoints.settings
        super().__init__(
            uvicorn.Config(
                App(endpoints),
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )
        self.failure: ServerFailed | None = None
        self._endpoints = endpoints
        self._settings = settings
        self._loading: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._told = 0.0

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then load beside it."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.should_exit:
            self._loading = asyncio.create_task(self._load())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGTERM: hand over, then exit. A second signal, or Ctrl-C: exit now."""
        if sig == signal.SIGINT or self._endpoints.phase is not Phase.READY:
            self.should_exit = True
            return
        self._endpoints.enter(Phase.DRAINING)
        self._told = time.perf_counter()
        log.write("info", "draining", seconds=self._settings.drain_seconds)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: was it told to stop? A signal's handler cannot wait, so the waiting begins here."""
        if self._endpoints.phase is Phase.DRAINING and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return await super().on_tick(counter)

    async def _stop(self) -> None:
        end = self._told + self._settings.drain_seconds
        why = await self._handed_over(end - LEAVING_SECONDS)
        self._endpoints.enter(Phase.LEAVING)
        since = time.perf_counter()
        log.write("info", "leaving", after=round(since - self._told, 1), successor=why.value)
        while (now := time.perf_counter()) < end and now - max(since, self._endpoints.asked) < LEAVING_SECONDS:  # noqa: ASYNC110 - a state of many requests
            await asyncio.sleep(TICK_SECONDS)
        self.should_exit = True

    async def _handed_over(self, end: float) -> Succession:
        """Wait until another server has taken over or nobody can, at most until `end`."""
        peers, since = Peers(self._settings), None
        while time.perf_counter() < end:
            found = await peers.look()
            if found is Succession.GONE:
                return found
            now = time.perf_counter()
            since = (since or now) if found is Succession.READY else None
            if since is not None and now - since >= HANDOVER_SECONDS:
                return found
            await asyncio.sleep(min(LOOK_SECONDS, max(0.0, end - now)))
        return Succession.NOBODY

    async def _load(self) -> None:
        started = time.monotonic()
        try:
            plane, rows = await asyncio.to_thread(load, self._settings, self._endpoints.telemetry)
        except ServerFailed as failure:
            self.failure, self.should_exit = failure, True
            return
        except Exception as error:  # noqa: BLE001 - else the pod would stay unready without a reason
            text = discretion.told(error)
            self.failure, self.should_exit = ServerFailed(Reason.MODEL_NOT_LOADABLE, text), True
            return
        self._endpoints.plane = plane
        self._endpoints.enter(Phase.READY)
        seconds = round(time.monotonic() - started, 3)
        log.write(
            "info", "ready", model=self._settings.model, golden_rows=rows, seconds=seconds, port=self._settings.port
        )


def load(settings: ServerEnvironment, telemetry: Telemetry) -> tuple[DataPlane, int]:
    """Read, check and verify the model; return its data plane and the number of golden rows. Raises ServerFailed.

    Loading, the golden run and every later one may take so much memory and no more: what a run asks for beyond that is
    refused by the kernel, and is a failed run and not the end of the server.
    """
    model = artifact.read_model(settings)
    with memory.allowed(loading_bytes(len(model))):
        session = Session(model)
    golden = artifact.read_golden(settings)
    with memory.allowed(RUN_BYTES):
        found = verification.reproduce(session, golden)
    plane = DataPlane(settings, session, artifact.read_profile(settings), telemetry, joins=found.joins)
    telemetry.golden_rows = found.rows
    memory.allow(_for_requests(settings))
    return plane, found.rows


def _for_requests(settings: ServerEnvironment) -> int:
    """Bytes beside those of the idle server: what is left of the container's, else a run and the bodies under way."""
    limit = memory.of_container()
    if limit is not None:
        return max(_LEAST_BYTES, limit * 95 // 100 - memory.resident())
    return RUN_BYTES + _PER_BODY_BYTE * settings.max_bytes


_LEAST_BYTES = 64 * 1024 * 1024
_PER_BODY_BYTE = 16
"""A number of JSON is two or more bytes on the wire, and eight to forty here."""
