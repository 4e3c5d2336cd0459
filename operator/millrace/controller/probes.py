"""``/livez``, ``/readyz`` and ``/metrics``, from a thread of their own so that a stuck event loop can still be seen."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from millrace.telemetry import Series

BEAT_SECONDS = 1.0
LATE_SECONDS = 10.0
STUCK_SECONDS = 300.0

Check = Callable[[], str]
"""An empty string, or what is wrong."""


class Heart:
    """The event loop's beat."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._last = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            started = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            self._last = time.monotonic()
            self._series.loop_lag.set(max(0.0, self._last - started - BEAT_SECONDS))

    def check(self) -> str:
        """Whether the loop beat lately; called from another thread."""
        silent = time.monotonic() - self._last
        return f"the event loop has not run for {silent:.0f} s" if silent > LATE_SECONDS else ""


class Probes:
    """The HTTP server, as a context manager. ``port`` 0 takes a free one; inside the block `port` says which."""

    def __init__(self, port: int, series: Series, live: Check, ready: Check, host: str = "") -> None:
        self.port = port
        self._address = (host, port)
        self._handler = _handler(series, live, ready)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(self._address, self._handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(series: Series, live: Check, ready: Check) -> type[BaseHTTPRequestHandler]:
    checks = {"/livez": live, "/readyz": ready, "/healthz": live}

    class Handler(BaseHTTPRequestHandler):
        """Three pages."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, generate_latest(series.registry), CONTENT_TYPE_LATEST)
            elif path in checks:
                wrong = checks[path]()
                self._answer(500 if wrong else 200, (wrong or "ok").encode(), "text/plain; charset=utf-8")
            else:
                self._answer(404, b"see /livez, /readyz and /metrics", "text/plain; charset=utf-8")

        def _answer(self, status: int, body: bytes, content: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            with contextlib.suppress(ConnectionError):  # whoever asked did not wait, as a kubelet whose time is over
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            """Requests of probes are not logged."""

    return Handler
