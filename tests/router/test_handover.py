"""Servers and routers that go: whoever takes their place answers before they stop.

The names are those of the cluster's DNS (`router_kit.pods`), with the addresses that the Service publishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import aiohttp
import pytest
from router_kit.dns import NameServer
from router_kit.pods import Pod, Pods

from millrace.programs import router as router_process
from millrace.render import router, router_workload

RATE = 50
NAME = "churn-7f9c2b00"
REVISION = "7f9c2b00"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def pods(regressor, tmp_path, names) -> AsyncIterator[Pods]:
    """The pods of the stable revision, under its name."""
    async with Pods(regressor, tmp_path) as started:
        names.names[NAME] = started.addresses
        yield started


@pytest.fixture
async def serving(envoy, names, pods, load, session, request):
    """As many ready servers as the test asks for, behind a router under load."""
    envoy.names, load.rate = names.port, RATE
    first = [pods.add() for _ in range(request.param)]
    await pods.ready(*first)
    await envoy.apply(router.RouterConfig((router.Backend(REVISION, NAME, pods.port, 100),)))
    await envoy.healthy(REVISION, request.param)
    running = asyncio.create_task(load.run(session))
    yield first
    load.stop()
    await running


async def answered(load, more: int) -> None:
    """Wait until so many further requests were answered, or not."""
    until = load.sent + more
    while load.sent < until:  # noqa: ASYNC110 - a test polls
        await asyncio.sleep(0.05)


def stay(names: NameServer, pods: list[Pod]) -> None:
    """DNS shows these, whatever becomes of them."""
    names.names[NAME] = lambda: [pod.address for pod in pods]


@pytest.mark.parametrize("serving", [1], indirect=True)
async def test_the_only_server_is_deleted_and_no_caller_notices(serving: list[Pod], pods, load):
    """It answers, and is asked, until its successor is ready, which takes seconds."""
    pods.start_seconds = 3.0
    (old,) = serving
    new = pods.delete(old)
    await pods.over(old)
    assert new.is_ready
    await answered(load, RATE)
    assert load.failures == []


@pytest.mark.parametrize("serving", [2], indirect=True)
async def test_two_servers_are_evicted_one_after_the_other_and_no_caller_notices(serving: list[Pod], pods, load):
    """The second as soon as the first's successor is ready, which is when its budget lets it go."""
    for old in serving:
        await pods.ready(pods.delete(old))
    await pods.over(*serving)
    await answered(load, RATE)
    assert load.failures == []


@pytest.mark.parametrize("serving", [2], indirect=True)
async def test_two_servers_are_deleted_at_once_and_no_caller_notices(serving: list[Pod], pods, load):
    pods.start_seconds = 3.0
    new = [pods.delete(old) for old in serving]
    await pods.over(*serving)
    assert any(pod.is_ready for pod in new)
    await answered(load, RATE)
    assert load.failures == []


@pytest.mark.parametrize("serving", [1], indirect=True)
async def test_the_last_server_a_router_knows_is_asked_though_it_says_no(serving: list[Pod], envoy, names, pods, load):
    """Be it too busy for its health check, or gone for a successor that DNS does not show yet."""
    (old,) = serving
    stay(names, [old])
    new = pods.delete(old)
    await envoy.healthy(REVISION, 0)
    assert new.is_ready
    await answered(load, 5 * RATE)
    assert load.failures == []
    names.names[NAME] = pods.addresses
    await pods.over(old)
    await answered(load, RATE)
    assert load.failures == []


async def burst(load, session, callers: int) -> None:
    """So many requests at once."""
    await asyncio.gather(*(load.one(session) for _ in range(callers)))


@pytest.mark.parametrize("serving", [2], indirect=True)
async def test_one_of_two_servers_is_killed_amid_many_callers_and_none_notices(
    serving: list[Pod], names, pods, load, session
):
    """Its pod keeps the address while the container starts again, and refuses at once: it is the one with the fewest
    requests under way, so that most are sent there first.
    """
    stay(names, serving)
    pods.kill(serving[0])
    await burst(load, session, 80)
    assert load.failures == []


@pytest.mark.parametrize("serving", [2], indirect=True)
async def test_a_dead_server_beside_one_that_is_too_busy_for_its_health_check_costs_no_request(
    serving: list[Pod], envoy, names, pods, load, session
):
    """Where nobody passes, everybody is asked, the dead one too, and a retry finds the one that lives."""
    stay(names, serving)
    dead, busy = serving
    pods.delete(busy)
    pods.kill(dead)
    await envoy.healthy(REVISION, 0)
    for _ in range(5):
        await burst(load, session, 80)
    assert load.failures == []


@pytest.mark.parametrize("serving", [1], indirect=True)
async def test_an_address_that_is_another_revisions_by_now_gets_no_request(
    serving: list[Pod], envoy, names, pods, load, servers, regressor
):
    (old,) = serving
    address = "127.0.0.100"
    servers.start(regressor, "1", host=address, port=pods.port).wait_ready()
    names.names[NAME] = lambda: [old.address, address]

    async def known() -> bool:
        return f'membership_total{{envoy_cluster_name="{REVISION}"}} 2' in await envoy.text("/stats/prometheus")

    await envoy.until(known, "it is a member")
    await answered(load, 2 * RATE)
    assert (await envoy.traffic())[REVISION].healthy == 1
    assert set(load.by_version) == {"7"}
    assert load.failures == []


async def test_a_router_stays_ready_until_its_service_leads_to_another_one(envoy, session, servers, regressor, wiring):
    """What leads to it is a Service with one endpoint after another."""
    server = servers.start(regressor, "1").wait_ready()
    config = wiring.config(wiring.backend(server, 100))
    async with Service(envoy.paths.port) as service, wiring.another(envoy, "router-1", config) as other:
        envoy.leaving = leaving(envoy, service)
        await envoy.apply(config)
        envoy.process.terminate()
        await until(lambda: says_nobody(session, envoy), "it says that it leaves")
        await asyncio.sleep(2)
        assert await is_ready(session, envoy), "there is no other: it keeps its place"
        service.target = other.paths.port
        await until(lambda: is_not_ready(session, envoy), "it is not ready any more")
        async with session.get(f"{envoy.url}/v2/health/ready") as answer:
            assert (answer.status, answer.headers["connection"]) == (200, "close"), "it answers who still comes"
        assert await asyncio.to_thread(envoy.process.wait, 30) == 0


async def test_of_two_routers_that_leave_none_takes_the_other_for_its_successor(envoy, session, wiring):
    config = wiring.config()
    async with Service() as to_other, Service(envoy.paths.port) as to_this:
        envoy.leaving = leaving(envoy, to_other)
        await envoy.apply(config)
        async with wiring.another(envoy, "router-1", config, lambda one: leaving(one, to_this)) as other:
            to_other.target = other.paths.port
            for one in (envoy, other):
                one.process.terminate()
            for one in (envoy, other):
                await until(lambda one=one: says_nobody(session, one), "it says that it leaves")
            await asyncio.sleep(2)
            assert await is_ready(session, envoy) or await is_ready(session, other)


def leaving(envoy: Any, service: Service) -> router_process.Leaving:
    """As in its pod, with the Service at a port of this machine."""
    return router_workload.leaving("127.0.0.1", service.port, envoy.paths.admin_port)


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 60
    while not await holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def says_nobody(session: aiohttp.ClientSession, envoy) -> bool:
    """Whether a router does not say who it is any more."""
    async with session.get(envoy.url, headers={"Host": router.GENERATION_HOST}) as answer:
        return "x-millrace-router" not in answer.headers


async def is_not_ready(session: aiohttp.ClientSession, envoy) -> bool:
    return not await is_ready(session, envoy)


async def is_ready(session: aiohttp.ClientSession, envoy) -> bool:
    async with session.get(f"{envoy.stats_url}/ready") as answer:
        return answer.status == 200


class Service:
    """What kube-proxy does: connections to one port go to an endpoint."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            with contextlib.closing(back):
                await asyncio.wait(
                    [asyncio.create_task(_pipe(reader, back)), asyncio.create_task(_pipe(there, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
