"""What a replica's cache is shown, when all goes well and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace_harness.apiserver import ApiServer
from millrace_harness.apiserver.answers import failure
from millrace_harness.feed import Feed
from millrace_harness.replica import SimKube
from millrace_harness.virtual import VirtualLoop
from millrace_harness.wire import Event, Exchange, Lost, Request, Response, Show, show_all

NS = "ml"


class Watched:
    """A feed of ConfigMaps into a list."""

    def __init__(
        self, through: Callable[[Exchange], Exchange] = lambda exchange: exchange, show: Show = show_all
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.server = ApiServer(loop)
        self.kube = SimKube("user", self.server.exchange)
        self.seen: list[tuple[str | None, str]] = []
        exchange = through(self.server.exchange)
        watched = {resources.CONFIG_MAPS: "watched=yes"}
        self.feed = Feed(self.server, watched, NS, self._saw, sender="operator-1", exchange=exchange, show=show)

    def _saw(self, resource: ResourceType, kind: str | None, manifest: dict[str, Any]) -> None:
        self.seen.append((kind, manifest["metadata"]["name"]))

    async def add(self, *names: str) -> None:
        for name in names:
            metadata = {"name": name, "namespace": NS, "labels": {"watched": "yes"}}
            await self.kube.create(
                resources.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            )

    async def remove(self, name: str) -> None:
        found = await self.kube.get(resources.CONFIG_MAPS, NS, name)
        await self.kube.delete(resources.CONFIG_MAPS, NS, name, uid=found["metadata"]["uid"])


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


def started(watched: Watched) -> asyncio.Task[None]:
    return asyncio.create_task(watched.feed.run())


def test_a_list_is_shown_without_types_and_then_what_happens() -> None:
    async def story() -> None:
        watched = Watched()
        await watched.add("a", "b")
        task = started(watched)
        await asyncio.sleep(1)
        await watched.add("c")
        await watched.remove("a")
        await asyncio.sleep(1)
        assert watched.seen == [(None, "a"), (None, "b"), ("ADDED", "c"), ("DELETED", "a")]
        task.cancel()

    run(story)


def test_after_a_410_the_kind_is_listed_again_and_what_vanished_is_not_mentioned() -> None:
    async def expire(request: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            if event["object"]["metadata"]["name"] == "last":
                yield {"type": "ERROR", "object": failure(410, "Expired", "too old resource version")}
            elif event["type"] != "DELETED":
                yield event

    async def story() -> None:
        watched = Watched(show=expire)
        await watched.add("a")
        task = started(watched)
        await asyncio.sleep(1)
        await watched.remove("a")
        await watched.add("last")
        await asyncio.sleep(1)
        assert watched.seen == [(None, "a"), (None, "last")]
        task.cancel()

    run(story)


def test_a_watch_that_cannot_be_opened_at_its_version_is_listed_again() -> None:
    asked: list[str] = []

    def refuse_once(exchange: Exchange) -> Exchange:
        async def ask(request: Request) -> Response:
            asked.append(request.verb)
            if asked.count("watch") == 1 and request.is_watch:
                return Response(410, failure(410, "Expired", "too old resource version"))
            return await exchange(request)

        return ask

    async def story() -> None:
        watched = Watched(refuse_once)
        task = started(watched)
        await asyncio.sleep(1)
        await watched.add("a")
        await asyncio.sleep(1)
        assert asked == ["list", "watch", "list", "watch"]
        assert watched.seen == [("ADDED", "a")]
        task.cancel()

    run(story)


def test_a_broken_watch_goes_on_where_it_was() -> None:
    broken: list[bool] = []

    async def break_once(request: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            if event["object"]["metadata"]["name"] == "b" and not broken:
                broken.append(True)
                raise Lost("the connection was reset")
            yield event

    async def story() -> None:
        watched = Watched(show=break_once)
        task = started(watched)
        await asyncio.sleep(1)
        await watched.add("a", "b", "c")
        await asyncio.sleep(1)
        assert watched.seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
        task.cancel()

    run(story)


def test_a_list_that_fails_is_asked_again() -> None:
    failed: list[float] = []

    def fail(exchange: Exchange) -> Exchange:
        async def ask(request: Request) -> Response:
            if len(failed) < 3:
                failed.append(asyncio.get_running_loop().time())
                if len(failed) == 1:
                    raise Lost("nobody answers")
                return Response(500, failure(500, "InternalError", "etcd is away"))
            return await exchange(request)

        return ask

    async def story() -> None:
        watched = Watched(fail)
        await watched.add("a")
        task = started(watched)
        await asyncio.sleep(5)
        assert watched.seen == [(None, "a")]
        assert len(failed) == 3
        task.cancel()

    run(story)
