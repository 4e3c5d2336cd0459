"""The store: files here, and an S3 endpoint on loopback that fails in every way an endpoint can."""

from __future__ import annotations

import errno
import http.server
import sys
import threading
import time
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from millrace_runtime import store

sys.path.insert(0, str(Path(__file__).parent / "snapshot" / "kit"))

from data_kit import gateway


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


@pytest.fixture(scope="module")
def listening():
    """One for the whole module: a client of another address reads all that botocore knows of S3 again."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint(listening, monkeypatch):
    listening.fault, listening.asked = (200, ""), 0
    monkeypatch.setattr(store, "PAUSES_SECONDS", (0.1, 0.2))
    use(monkeypatch, f"http://127.0.0.1:{listening.server_port}")
    return listening


@pytest.fixture
def gateway_store(tmp_path, monkeypatch):
    with gateway.running(tmp_path) as served:
        for name, value in served.environment().items():
            monkeypatch.setenv(name, value)
        yield served


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


ANSWERS = [
    (404, "NoSuchVersion", store.StoreMissing),
    (404, "", store.StoreMissing),
    (404, "BlobNotFound", store.StoreMissing),
    (400, "ExpiredToken", store.StoreDenied),
    (400, "InvalidToken", store.StoreDenied),
    (401, "Whatever", store.StoreDenied),
    (403, "", store.StoreDenied),
    (400, "RequestTimeout", store.StoreUnavailable),
    (400, "IncompleteBody", store.StoreUnavailable),
    (403, "RequestTimeTooSkewed", store.StoreUnavailable),
    (409, "OperationAborted", store.StoreUnavailable),
    (429, "TooManyRequestsException", store.StoreUnavailable),
    (429, "", store.StoreUnavailable),
    (500, "AccessDenied404", store.StoreUnavailable),
    (502, "", store.StoreUnavailable),
    (503, "ServiceUnavailable", store.StoreUnavailable),
    (507, "XMinioStorageFull", store.StoreUnavailable),
]


@pytest.mark.parametrize("status,code,kind", ANSWERS, ids=[f"{status}-{code}" for status, code, _ in ANSWERS])
def test_an_answer_is_known_by_its_code_then_by_its_status(endpoint, monkeypatch, status, code, kind):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())
    endpoint.fault = (status, code)
    with pytest.raises(store.StoreError) as failure:
        store.write_bytes("s3://bucket/key", b"x")
    assert type(failure.value) is kind


NAMES = ["404.csv", "NoSuchKey/rows.csv", "AccessDenied.csv", "Forbidden/Not Found/x", "ExpiredToken"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout")])
def test_words_in_a_name_say_nothing_of_what_the_store_did(endpoint, monkeypatch, name, fault):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())
    endpoint.fault = fault
    for act in (store.read_bytes, store.list_files):
        with pytest.raises(store.StoreUnavailable):
            act(f"s3://bucket-404/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_store_that_does_not_answer_is_no_missing_object_whatever_its_name(monkeypatch, name):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())
    use(monkeypatch, "http://127.0.0.1:9/404")
    with pytest.raises(store.StoreUnavailable):
        store.read_bytes(f"s3://bucket/{name}")


@pytest.mark.parametrize(
    "error,kind",
    [
        (TimeoutError("404"), store.StoreUnavailable),
        (ConnectionResetError("NoSuchKey"), store.StoreUnavailable),
        (OSError(errno.EIO, "404 Not Found"), store.StoreUnavailable),
        (OSError(errno.EBUSY, "AccessDenied"), store.StoreUnavailable),
        (PermissionError(errno.EACCES, "404"), store.StoreDenied),
        (FileNotFoundError(errno.ENOENT, "Forbidden"), store.StoreMissing),
        (IsADirectoryError(errno.EISDIR, "folder"), store.StoreMissing),
        (NotADirectoryError(errno.ENOTDIR, "a/b"), store.StoreMissing),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_the_machine_is_known_by_its_type(monkeypatch, error, kind):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(LocalFileSystem, "cat_file", refuse)
    with pytest.raises(store.StoreError) as failure:
        store.read_bytes("file:///somewhere")
    assert type(failure.value) is kind


class GoogleError(Exception):
    """As gcsfs and azure raise: a status of HTTP, and sometimes a code."""

    def __init__(self, **facts):
        super().__init__("404 and AccessDenied are in the text")
        self.__dict__.update(facts)


@pytest.mark.parametrize(
    "facts,kind",
    [
        ({"code": 503}, store.StoreUnavailable),
        ({"status_code": 429}, store.StoreUnavailable),
        ({"code": 404}, store.StoreMissing),
        ({"status_code": 403, "error_code": "AuthorizationFailure"}, store.StoreDenied),
        ({"status_code": 409, "error_code": "ContainerNotFound"}, store.StoreMissing),
        ({}, store.StoreUnavailable),
    ],
    ids=str,
)
def test_other_stores_drivers_are_read_by_status(monkeypatch, facts, kind):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())
    monkeypatch.setattr(GoogleError, "__module__", "gcsfs.retry")

    def refuse(*_, **__):
        raise GoogleError(**facts)

    monkeypatch.setattr(LocalFileSystem, "cat_file", refuse)
    with pytest.raises(store.StoreError) as failure:
        store.read_bytes("file:///somewhere")
    assert type(failure.value) is kind


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EROFS])
def test_a_full_disk_of_our_own_is_not_the_stores_fault(tmp_path, code):
    store.write_bytes((tmp_path / "a").as_uri(), b"rows")

    def copy():
        with store.open((tmp_path / "a").as_uri()) as file:
            assert file.read() == b"rows"
            raise OSError(code, "our own disk")

    with pytest.raises(OSError, match="our own disk") as failure:
        copy()
    assert failure.value.errno == code
    assert not isinstance(failure.value, store.StoreError)


def test_what_a_reader_of_an_object_raises_is_its_own(tmp_path):
    store.write_bytes((tmp_path / "a").as_uri(), b"rows")
    with pytest.raises(ValueError, match="not a number"), store.open((tmp_path / "a").as_uri()):
        raise ValueError("not a number: 404")


@pytest.mark.programs
def test_an_object_that_was_not_written_to_its_end_is_not_there(gateway_store):
    def write():
        with store.open("s3://lake/half", "wb") as file:
            file.write(b"x" * 100)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write()
    with pytest.raises(store.StoreMissing):
        store.read_bytes("s3://lake/half")


def test_a_failure_while_an_object_is_read_is_the_stores(endpoint, monkeypatch):
    monkeypatch.setattr(store, "PAUSES_SECONDS", ())
    endpoint.fault = (503, "SlowDown")
    with pytest.raises(store.StoreUnavailable), store.open("s3://bucket/404") as file:
        file.read()
