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
from typing import NamedTuple


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
    import http.client

    service = http.client.HTTPConnection(way.service, way.port, timeout=1)
    try:
        service.request("GET", "/", headers={"Host": way.generation_host})
        return service.getresponse().getheader(way.who, own) != own
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME  # the Service is gone: nobody comes any more
    except (OSError, http.client.HTTPException):
        return False
    finally:
        service.close()


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
    import http.client

    admin = http.client.HTTPConnection("127.0.0.1", way.admin_port, timeout=10)
    try:
        admin.request("POST", path)
        return admin.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        admin.close()


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
