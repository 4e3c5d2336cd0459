"""The store: files here, and an S3 endpoint on loopback that fails in every way an endpoint can."""

from __future__ import annotations

import http.server
import threading
import time

import pytest

from millrace_runtime import store


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers everything with the server's `status` and S3 error code."""

    def answer(self) -> None:
        status, code = self.server.fault  # type: ignore[attr-defined]
        self.server.asked += 1  # type: ignore[attr-defined]
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/xml")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.fault, server.asked = (200, ""), 0
    monkeypatch.setattr(store, "PAUSES_SECONDS", (0.1, 0.2))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    use(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def use(monkeypatch, url, prefix=""):
    values = {"ACCESS_KEY_ID": "alice", "SECRET_ACCESS_KEY": "wonderland", "ENDPOINT_URL": url, "REGION": "eu-west-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"{prefix}AWS_{name}", value)


def test_what_is_written_is_read_back(tmp_path):
    uri = (tmp_path / "a" / "b.bin").as_uri()
    with pytest.raises(store.StoreMissing, match="does not exist"):
        store.read_bytes(uri)
    store.write_bytes(uri, b"one")
    store.write_bytes(uri, b"two")
    assert store.read_bytes(uri) == b"two"
    with store.open(uri, "wb") as file:
        file.write(b"three")
    with store.open(uri) as file:
        assert file.read() == b"three"


def test_files_are_listed_sorted_by_uri(tmp_path):
    for name in ("b/2", "a", "b/1"):
        store.write_bytes((tmp_path / name).as_uri(), b"")
    found = store.list_files(tmp_path.as_uri())
    assert found == [(tmp_path / name).as_uri() for name in ("a", "b/1", "b/2")]
    assert store.list_files(found[0]) == found[:1]


@pytest.mark.parametrize("act", [store.read_bytes, store.list_files])
def test_what_is_not_there_is_missing(tmp_path, act):
    with pytest.raises(store.StoreMissing, match="nowhere does not exist in the store"):
        act((tmp_path / "nowhere").as_uri())


@pytest.mark.parametrize(
    "fault,kind",
    [
        ((403, "AccessDenied"), store.StoreDenied),
        ((403, "InvalidAccessKeyId"), store.StoreDenied),
        ((403, "SignatureDoesNotMatch"), store.StoreDenied),
        ((404, "NoSuchKey"), store.StoreMissing),
        ((404, "NoSuchBucket"), store.StoreMissing),
        ((503, "SlowDown"), store.StoreUnavailable),
        ((500, "InternalError"), store.StoreUnavailable),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("act", ["read", "write", "list"])
def test_every_answer_of_an_endpoint_is_named_in_bounded_time(endpoint, fault, kind, act):
    endpoint.fault = fault
    acts = {
        "read": lambda: store.read_bytes("s3://bucket/key"),
        "write": lambda: store.write_bytes("s3://bucket/key", b"x"),
        "list": lambda: store.list_files("s3://bucket/key"),
    }
    started = time.monotonic()
    with pytest.raises(kind, match="s3://bucket/key") as failure:
        acts[act]()
    assert time.monotonic() - started < 60
    assert "wonderland" not in str(failure.value)
    assert endpoint.asked < 40


def test_an_endpoint_that_refuses_connections_is_unavailable(monkeypatch):
    monkeypatch.setattr(store, "PAUSES_SECONDS", (0.1,))
    use(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(store.StoreUnavailable, match="s3://bucket/key"):
        store.read_bytes("s3://bucket/key")


def test_a_store_that_comes_back_is_waited_for(endpoint, monkeypatch):
    monkeypatch.setattr(store, "PAUSES_SECONDS", (1.0, 1.0, 1.0))
    endpoint.fault = (503, "SlowDown")
    threading.Timer(1.0, lambda: setattr(endpoint, "fault", (404, "NoSuchKey"))).start()
    with pytest.raises(store.StoreMissing):
        store.read_bytes("s3://bucket/key")


def test_a_prefix_selects_other_credentials_and_falls_back_to_the_stores_own(monkeypatch):
    use(monkeypatch, "http://own")
    assert store.Credentials.from_environment("SOURCE_").endpoint == "http://own"
    use(monkeypatch, "http://source", prefix="SOURCE_")
    assert store.Credentials.from_environment("SOURCE_").endpoint == "http://source"
    assert store.Credentials.from_environment().endpoint == "http://own"


def test_credentials_do_not_show_their_secret(monkeypatch):
    use(monkeypatch, "http://own")
    assert "wonderland" not in repr(store.Credentials.from_environment())
