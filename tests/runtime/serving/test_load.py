"""Too much load is refused at once, harms no other request, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gzip

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_kit import models, process

from millrace_runtime.serving import app
from millrace_runtime.serving.endpoints import Endpoints
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.load import Load
from millrace_runtime.serving.telemetry import Telemetry


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 120), st.booleans()), max_size=30))
def test_whatever_comes_the_limits_hold_and_all_is_given_back(requests):
    load = Load(most_requests=4, most_bytes=100)
    with contextlib.ExitStack() as under_way:
        for told, real, ends in requests:
            with contextlib.suppress(RequestFailed), contextlib.ExitStack() as this:
                this.enter_context(load.admit(told)).hold(real)
                under_way.push(this.pop_all())
            assert load.requests <= 4
            assert load.bytes <= 100 or load.requests == 1
            if ends:
                under_way.close()
                assert (load.requests, load.bytes) == (0, 0)
    assert (load.requests, load.bytes) == (0, 0)


def test_one_request_is_always_taken_and_the_next_one_is_not():
    load = Load(most_requests=4, most_bytes=100)
    with load.admit(500) as large:
        with pytest.raises(RequestFailed, match="busy: bodies of 500 bytes are under way"):
            load.admit(1)
        large.hold(600)
    with load.admit(60), load.admit(0) as untold, pytest.raises(RequestFailed, match="busy: bodies of 60 bytes"):
        untold.hold(41)


async def test_a_request_too_many_is_told_to_come_again_and_the_probes_are_answered(regressor, tmp_path):
    body = models.dump(regressor.rows(0, 1))
    head = f"POST /v2/models/churn/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with process.start(regressor, tmp_path, max_requests=1) as server:
        await asyncio.to_thread(server.wait_ready)
        url = f"http://127.0.0.1:{server.settings.port}/v2"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.port)
        writer.write(head + body[:10])
        await asyncio.sleep(0.5)
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/models/churn/infer", data=body) as busy:
                error = (await busy.json())["error"]
                told = busy.status, busy.headers["Retry-After"], error
            async with session.get(f"{url}/health/ready") as ready:
                assert ready.status == 200
            writer.write(body[10:])
            first = await reader.readline()
            async with session.post(f"{url}/models/churn/infer", data=body) as answer:
                again = answer.status
        writer.close()
    assert told == (503, "1", "busy: 1 requests are under way, and no more are taken")
    assert (first, again) == (b"HTTP/1.1 200 OK\r\n", 200)


@pytest.fixture
def alone(regressor, tmp_path):
    """The application without a process around it, and what it says to one request."""
    settings = process.settings_of(regressor, tmp_path, max_bytes=100)
    endpoints = Endpoints(settings, Telemetry(settings))
    endpoints.plane = object()
    application = app.App(endpoints)

    async def say(receive, *headers):
        said = []

        async def send(message):
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v2/models/churn/infer", "headers": headers}
        async with asyncio.timeout(10):
            await application(scope, receive, send)
        return said[0]["status"], said[0]["headers"], said[1]["body"]

    return application, say


async def test_a_body_that_does_not_come_is_not_waited_for(alone, monkeypatch):
    monkeypatch.setattr(app, "SENDING_SECONDS", 0.05)
    _, say = alone
    status, headers, body = await say(lambda: asyncio.sleep(60))
    assert status == 408
    assert (b"connection", b"close") in headers
    assert b"expected the whole body within" in body


async def test_a_body_whose_length_is_not_told_is_read_no_further_than_there_is_room(alone):
    application, say = alone
    asked = []

    async def receive():
        asked.append(len(asked))
        return {"type": "http.request", "body": bytes(30), "more_body": True}

    with application._load.admit(50):
        status, headers, body = await say(receive)
    assert (status, asked) == (503, [0, 1])
    assert (b"retry-after", b"1") in headers
    assert b"busy: bodies of 80 bytes are under way" in body
    assert (application._load.requests, application._load.bytes) == (0, 0)


async def test_a_compressed_body_that_grows_beyond_the_room_there_is_is_refused(alone):
    application, say = alone

    async def receive():
        return {"type": "http.request", "body": gzip.compress(bytes(60)), "more_body": False}

    with application._load.admit(50):
        status, _, body = await say(receive, (b"content-encoding", b"gzip"))
    assert status == 503
    assert b"busy: bodies of " in body
    assert (application._load.requests, application._load.bytes) == (0, 0)


@pytest.mark.parametrize(("timeout", "status"), [(60_000_000, 200), (0, 200), (-1, 400), (1.5, 400), ("1", 400)])
def test_a_time_limit_is_a_number_of_microseconds(server, classifier, timeout, status):
    answer = server.infer(models.dump({**classifier.rows(0, 1), "parameters": {"timeout": timeout}}))
    assert answer.status == status
    if status == 400:
        assert answer.json()["error"].startswith("parameters.timeout: expected a number of microseconds, got ")


def test_a_time_limit_beyond_all_numbers_is_none(server, classifier):
    """Only a parser that reads NaN, too, reads such a number."""
    request = {**classifier.rows(0, 1), "parameters": {"timeout": 10**400, "other": float("nan")}}
    assert server.infer(models.dump(request)).status == 200
