"""The three pages, and that they answer while the event loop does not."""

from __future__ import annotations

import socket
import struct
import threading
import time
import urllib.error
import urllib.request

import pytest

from millrace.controller import probes
from millrace.telemetry import Series


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_pages_say_ok_or_what_is_wrong() -> None:
    state = {"live": "", "ready": "the cache is not complete yet"}
    with probes.Probes(0, Series(), lambda: state["live"], lambda: state["ready"], "127.0.0.1") as served:
        assert _get(served.port, "/livez") == (200, "ok")
        assert _get(served.port, "/readyz") == (500, "the cache is not complete yet")
        state["ready"] = ""
        assert _get(served.port, "/readyz?verbose") == (200, "ok")
        assert "workqueue_depth" in _get(served.port, "/metrics")[1]
        assert _get(served.port, "/")[0] == 404


def test_who_asks_and_does_not_wait_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    answering, gone = threading.Event(), threading.Event()

    def slow() -> str:
        answering.set()
        assert gone.wait(5)
        return ""

    with probes.Probes(0, Series(), slow, lambda: "", "127.0.0.1") as served:
        with socket.create_connection(("127.0.0.1", served.port)) as asking:
            asking.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answering.wait(5)
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        gone.set()
        assert _get(served.port, "/readyz") == (200, "ok")
        while any(thread.name.endswith("(process_request_thread)") for thread in threading.enumerate()):
            time.sleep(0.01)
    assert "Traceback" not in capfd.readouterr().err


def test_a_loop_that_stands_still_is_noticed_from_outside() -> None:
    heart = probes.Heart(Series())
    with probes.Probes(0, Series(), heart.check, lambda: "", "127.0.0.1") as served:
        assert heart.check() == ""
        heart._last = time.monotonic() - probes.LATE_SECONDS - 1
        status, text = _get(served.port, "/livez")
    assert status == 500
    assert "event loop has not run" in text
