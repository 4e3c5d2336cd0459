"""Replicas on a real loop: paused and killed as processes are, without being any."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine
from typing import Any

from millrace.handlers import adapter
from millrace_harness.realtime import RealLoop, SkewedClock
from millrace_harness.virtual import Owner


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=RealLoop) as runner:
        return runner.run(work)


def make_owner(name: str = "operator-1") -> Owner:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, RealLoop)
    return Owner(name, loop)


def test_a_paused_owner_does_nothing_and_then_everything_that_came_due() -> None:
    async def story() -> tuple[int, int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            for _ in range(3):
                await asyncio.sleep(0.01)
                beats += 1

        owner = make_owner()
        task = owner.spawn(beat(), "beat")
        owner.pause()
        await asyncio.sleep(0.1)
        asleep = beats
        owner.resume()
        await task
        return asleep, beats

    assert run(story()) == (0, 3)


def test_what_arrives_for_a_paused_owner_waits_for_it() -> None:
    async def story() -> tuple[bytes | None, bytes]:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\n")
            await writer.drain()
            writer.close()

        heard: bytes | None = None

        async def listen(port: int) -> bytes:
            nonlocal heard
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            heard = await reader.readline()
            writer.close()
            return heard

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            owner = make_owner()
            task = owner.spawn(listen(server.sockets[0].getsockname()[1]), "listen")
            await asyncio.sleep(0)
            owner.pause()
            await asyncio.sleep(0.1)
            asleep = heard
            owner.resume()
            return asleep, await task

    assert run(story()) == (None, b"hello\n")


def test_a_killed_owner_takes_its_own_tasks_along_and_no_others() -> None:
    async def story() -> tuple[bool, bool]:
        async def live() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))

        one, other = make_owner("operator-1"), make_owner("operator-2")
        dies, lives = one.spawn(live(), "dies"), other.spawn(live(), "lives")
        await asyncio.sleep(0.01)
        one.kill()
        await one.ended()
        found = dies.cancelled(), lives.done()
        other.kill()
        await other.ended()
        return found

    assert run(story()) == (True, False)


def test_kopf_of_one_replica_spares_the_tasks_of_another() -> None:
    async def story() -> tuple[bool, bool]:
        one, other = make_owner("operator-1"), make_owner("operator-2")
        own, foreign = one.spawn(kopfs(), "own"), other.spawn(kopfs(), "foreign")
        spared: dict[str, bool] = {}

        async def look() -> None:
            ignored = adapter.NotKopfs()
            spared.update(own=own in ignored, foreign=foreign in ignored)

        await one.spawn(look(), "kopf")
        for owner in (one, other):
            owner.kill()
            await owner.ended()
        return spared["own"], spared["foreign"]

    assert run(story()) == (False, True)


async def _sleep() -> None:
    await asyncio.sleep(60)


def kopfs() -> Coroutine[Any, Any, None]:
    """A coroutine whose code lies in kopf's folder, as far as anybody can see."""
    code = _sleep.__code__.replace(co_filename=f"{adapter.NotKopfs._home}/running.py")
    work: Coroutine[Any, Any, None] = types.FunctionType(code, globals())()
    return work


def test_a_clock_can_jump_without_its_deadlines() -> None:
    clock = SkewedClock()
    before, monotonic = clock.now(), clock.monotonic()
    clock.skew += 3600
    assert (clock.now() - before).total_seconds() >= 3600
    assert clock.monotonic() - monotonic < 60
