"""PID 1 of a router's container: it starts Envoy, and told to stop keeps it answering until another router does.

The container gets this file's text (`python3 -c`), so it needs nothing of the image but Python: standard library only.
It is no preStop hook, as a hook is a further process that the kubelet must get started at the worst of times, on a node
that is being drained; where that fails Envoy would be stopped in the middle of requests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from email.message import Message


class Leaving(NamedTuple):
    """How a router leaves. `generation_host`, `who` and `leaving` are those of `millrace.render.router_bootstrap`."""

    service: str
    port: int
    admin_port: int
    generation_host: str
    who: str
    leaving: str
    successor_seconds: float
    """How long it waits at most, as ready as ever, until the Service leads to another router that stays."""
    drain_seconds: float
    """How long it then keeps answering, with `Connection: close`."""


def is_another(way: Leaving, own: str) -> bool:
    """Whether the Service leads to a router other than `own` that stays, or is gone."""
    try:
        _, headers = _ask(way.service, way.port, "GET", "/", 1.0, Host=way.generation_host)
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME  # the Service is gone: nobody comes any more
    except OSError:
        return False
    return headers.get(way.who, own) != own


def leave(way: Leaving, own: str) -> None:
    """Return once nobody is sent to this router any more, or at once where Envoy does not listen.

    It says first that it leaves, so that of two that go at once none takes the other for its successor.
    """
    if not _posted(way, f"/runtime_modify?{way.leaving}=100"):
        return
    end = time.monotonic() + way.successor_seconds
    while time.monotonic() < end and not is_another(way, own):
        time.sleep(0.5)
    if _posted(way, "/healthcheck/fail"):
        time.sleep(way.drain_seconds)


def _posted(way: Leaving, path: str) -> bool:
    """Whether Envoy's administration took it."""
    try:
        status, _ = _ask("127.0.0.1", way.admin_port, "POST", path, 10.0)
    except OSError:
        return False
    return status < 400


def _ask(host: str, port: int, method: str, path: str, seconds: float, **headers: str) -> tuple[int, Message]:
    """Status and headers of the answer. Raises OSError."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    else:
        return answer.status, answer.headers
    finally:
        connection.close()


def run(way: Leaving, envoy: Sequence[str]) -> int:
    """Run Envoy until it ends, or is told to after SIGTERM. Returns its exit code, as a shell counts."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    process = subprocess.Popen(envoy)  # noqa: S603 - what the operator rendered

    def obey() -> None:
        told.wait()
        leave(way, os.environ["HOSTNAME"])
        process.terminate()

    threading.Thread(target=obey, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(Leaving(*json.loads(sys.argv[1])), sys.argv[2:]))
