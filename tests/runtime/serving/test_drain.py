"""SIGTERM: another server takes over before this one leaves, no request is lost, and the process ends by itself."""

from __future__ import annotations

import asyncio
import socket
import time

import aiohttp
import pytest
from serving_kit import models, process

from millrace.contract import router as contract
from millrace_cluster import ports
from millrace_runtime.serving.process import HANDOVER_SECONDS
from millrace_runtime.serving.succession import Peers, Succession

DRAIN = 1.5


async def test_every_request_that_arrives_during_the_drain_is_answered(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=DRAIN) as server:
        await asyncio.to_thread(server.wait_ready)
        url = f"http://127.0.0.1:{server.settings.port}"
        bodies = [models.dump(regressor.rows(row, row + 1)) for row in range(100)]
        statuses: list[int] = []
        async with aiohttp.ClientSession() as session:

            async def ask(index: int) -> None:
                async with session.post(f"{url}/v2/models/churn/infer", data=bodies[index % 100]) as response:
                    await response.read()
                    statuses.append(response.status)

            started, index, tasks = time.monotonic(), 0, []
            while time.monotonic() < started + 1 + DRAIN * 0.8:
                if index == 200:
                    server.terminate()
                tasks.append(asyncio.create_task(ask(index)))
                index += 1
                await asyncio.sleep(max(0.0, started + index / 200 - time.monotonic()))
            await asyncio.gather(*tasks)
        assert statuses == [200] * index
        assert index > 350
        assert await asyncio.to_thread(server.wait_exit, 10) == 0


async def test_a_request_still_being_sent_when_the_drain_ends_is_answered(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=0.5) as server:
        await asyncio.to_thread(server.wait_ready)
        body = models.dump(regressor.rows(0, 1))

        async def slowly():
            yield body[:10]
            await asyncio.sleep(2)
            yield body[10:]

        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.settings.port}/v2/models/churn/infer"
            asked = asyncio.create_task(session.post(url, data=slowly()))
            await asyncio.sleep(0.5)
            server.terminate()
            response = await asked
            assert response.status == 200
            response.release()
        assert await asyncio.to_thread(server.wait_exit, 10) == 0


def test_a_server_that_leaves_is_not_ready_and_closes_its_connections_one_by_one(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=2) as server:
        server.wait_ready()
        assert "connection" not in server.infer(regressor.rows(0, 1)).headers
        server.terminate()
        until(lambda: not is_ready(server))
        ready = server.get(READY)
        assert (ready.status, ready.json()) == (503, {"live": True, "ready": False})
        assert server.get("/v2/health/live").status == 200
        answer = server.infer(regressor.rows(0, 1))
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert "millrace_ready{" in server.get("/metrics").body.decode()
        assert server.wait_exit(10) == 0


READY = "/v2/health/ready"


def until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_ready(server, revision=None):
    host = {} if revision is None else {"Host": contract.revision_host(revision)}
    return server.call("GET", READY, headers=host).status == 200


def phases(server):
    return [line["message"] for line in server.lines() if line["message"] in ("draining", "leaving")]


@pytest.fixture
def start(regressor, tmp_path):
    """Servers of one revision at the addresses 127.0.0.2, .3, ..., each of which finds all of them."""
    started, port = [], ports.free_port()

    def begin(**changes):
        directory = tmp_path / str(len(started))
        directory.mkdir()
        peers = ",".join(f"127.0.0.{number}" for number in range(2, 6))
        settings = {"host": f"127.0.0.{len(started) + 2}", "port": port, "peers": peers, "drain_seconds": 30}
        started.append(process.start(regressor, directory, **(settings | changes)))
        return started[-1]

    yield begin
    for server in started:
        server.kill()


def test_a_server_stays_ready_until_another_one_is_and_then_leaves(start, regressor):
    old = start().wait_ready()
    old.terminate()
    until(lambda: phases(old) == ["draining"])
    assert old.get(READY).json() == {"live": True, "ready": True, "draining": True}
    assert "connection" not in old.infer(regressor.rows(0, 1)).headers
    new = start().wait_ready()
    until(lambda: not is_ready(old))
    assert is_ready(new)
    assert old.wait_exit(20) == 0
    assert old.lines()[-1]["successor"] == "another server is ready and stays"


def test_of_two_servers_that_go_at_once_neither_takes_the_other_for_its_successor(start):
    going = [start().wait_ready(), start().wait_ready()]
    for one in going:
        one.terminate()
    until(lambda: all(phases(one) for one in going))
    told = time.monotonic()
    while time.monotonic() < told + 2 * HANDOVER_SECONDS:
        assert all(is_ready(one) for one in going)
        time.sleep(0.2)
    start().wait_ready()
    assert [one.wait_exit(20) for one in going] == [0, 0]


def test_a_server_of_another_revision_is_no_successor(start):
    old = start(drain_seconds=6).wait_ready()
    other = start(revision="0badcafe").wait_ready()
    assert not is_ready(other, old.settings.revision)
    assert is_ready(other, "0badcafe")
    old.terminate()
    assert old.wait_exit(20) == 0
    (left,) = (line for line in old.lines() if line["message"] == "leaving")
    assert left["successor"] == "nobody else is ready, or nobody knows"


def test_a_server_stays_as_long_as_it_is_still_asked(start, regressor):
    """Where routers have nobody else, they go on asking one that is not ready."""
    old, _ = start(drain_seconds=9).wait_ready(), start().wait_ready()
    told = time.monotonic()
    old.terminate()
    until(lambda: not is_ready(old))
    while old.process.poll() is None and time.monotonic() < told + 8:
        assert old.infer(regressor.rows(0, 1)).status == 200
        time.sleep(0.2)
    assert old.process.poll() is None
    assert old.wait_exit(15) == 0


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Succession.GONE),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), Succession.NOBODY),
        (TimeoutError(), Succession.NOBODY),
        (UnicodeError("label too long"), Succession.NOBODY),
    ],
    ids=["no such name", "no answer now", "no answer", "no name"],
)
async def test_only_a_name_that_is_gone_ends_the_waiting(regressor, tmp_path, monkeypatch, raised, found):
    async def fail(*args, **options):
        raise raised

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    assert await Peers(process.settings_of(regressor, tmp_path, peers="churn-7f9c2b00")).look() is found


async def test_without_a_name_nobody_is_waited_for(regressor, tmp_path):
    assert await Peers(process.settings_of(regressor, tmp_path)).look() is Succession.GONE
