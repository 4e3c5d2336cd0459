"""The proxy of the real tier, in front of an API server that says what it got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from millrace import errors
from millrace.api import resources
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace_harness.proxy import Proxy
from millrace_harness.wire import Event, Exchange, Lost, Request, Response

CHILD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "ml"}, "data": {}}


class Upstream:
    """Answers every write with its object, in version 7 and after `delay` seconds; a watch with three events."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.tokens: set[str] = set()
        self.delay = 0.0
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.add(request.headers["Authorization"])
        if request.query.get("watch"):
            lines = (json.dumps({"type": "ADDED", "object": {"metadata": {"name": f"m{n}"}}}) for n in range(3))
            return web.Response(text="".join(f"{line}\n" for line in lines))
        self.got.append(f"{request.method} {request.path}")
        body = json.loads(await request.text() or "{}")
        self.asked.set()
        await asyncio.sleep(self.delay)
        return web.json_response({**body, "metadata": {**CHILD["metadata"], "uid": "u1", "resourceVersion": "7"}})  # type: ignore[dict-item]


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Upstream, Proxy]]:
    upstream = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Proxy(Credentials(server=address, fixed_token="root"), {"operator": "its-own"}) as proxy:
            yield upstream, proxy
    finally:
        await runner.cleanup()


async def test_a_request_is_seen_as_its_sender_meant_it_and_sent_as_its_user() -> None:
    seen: list[Request] = []

    def look(inner: Exchange) -> Exchange:
        async def exchange(request: Request) -> Response:
            seen.append(request)
            return await inner(request)

        return exchange

    async with proxied() as (upstream, proxy):
        door = proxy.open("operator-1", user="operator", through=look)
        async with Kube(proxy.credentials(door)) as kube:
            await kube.apply(resources.CONFIG_MAPS, CHILD)
    (request,) = seen
    assert (request.sender, request.site, request.name) == ("operator-1", "apply configmaps", "one")
    assert request.body == CHILD
    assert upstream.tokens == {"Bearer its-own"}


async def test_nothing_of_a_dead_process_arrives() -> None:
    async with proxied() as (upstream, proxy):
        door = proxy.open("operator-1")
        async with Kube(proxy.credentials(door)) as kube:
            door.shut()
            with pytest.raises(errors.Unavailable):
                await kube.apply(resources.CONFIG_MAPS, CHILD)
    assert upstream.got == []


async def test_what_was_on_its_way_is_carried_out_and_recorded_although_nobody_hears_of_it() -> None:
    answers: list[Response] = []
    async with proxied() as (upstream, proxy):
        upstream.delay = 0.1
        door = proxy.open("operator-1", note=lambda _: answers.append)
        async with Kube(proxy.credentials(door)) as kube:
            task = asyncio.create_task(kube.create(resources.CONFIG_MAPS, CHILD))
            await upstream.asked.wait()
            door.shut()
            with pytest.raises(errors.Unavailable):
                await task
            await asyncio.sleep(0.2)
    assert [answer.body["metadata"]["resourceVersion"] for answer in answers] == ["7"]


async def test_a_lost_answer_is_a_broken_connection() -> None:
    def lose(inner: Exchange) -> Exchange:
        async def exchange(request: Request) -> Response:
            await inner(request)
            raise Lost("the answer was lost on its way")

        return exchange

    async with proxied() as (upstream, proxy), client(proxy, lose) as kube:
        with pytest.raises(errors.Unavailable):
            await kube.create(resources.CONFIG_MAPS, CHILD)
    assert upstream.got == ["POST /api/v1/namespaces/ml/configmaps"]


async def test_a_watch_shows_what_it_is_let_show() -> None:
    async def every_other(_: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        shown = True
        async for event in events:
            if shown:
                yield event
            shown = not shown

    async with proxied() as (_, proxy):
        door = proxy.open("operator-1", show=every_other)
        assert await names(proxy, door) == ["m0", "m2"]


async def test_a_watch_that_is_refused_never_opens() -> None:
    def refuse(_: Exchange) -> Exchange:
        async def exchange(_: Request) -> Response:
            return Response(410, {"kind": "Status", "code": 410, "reason": "Expired"})

        return exchange

    async with proxied() as (_, proxy):
        door = proxy.open("operator-1", through=refuse)
        with pytest.raises(aiohttp.ClientResponseError, match="410"):
            await names(proxy, door)


def client(proxy: Proxy, through: Callable[[Exchange], Exchange]) -> Kube:
    """A client whose requests pass that."""
    return Kube(proxy.credentials(proxy.open("operator-1", through=through)))


async def names(proxy: Proxy, door: Any) -> list[str]:
    """What a watch through this door shows."""
    address = f"{proxy.credentials(door).server}/api/v1/namespaces/ml/configmaps"
    async with aiohttp.ClientSession() as session, session.get(address, params={"watch": "true"}) as answer:
        answer.raise_for_status()
        return [json.loads(line)["object"]["metadata"]["name"] async for line in answer.content]
