"""Virtual time: it jumps, in a fixed order; processes on it can be paused and killed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from millrace_harness.virtual import START, Owner, Stuck, VirtualClock, VirtualLoop


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_waiting_for_a_day_takes_no_time() -> None:
    async def wait() -> float:
        await asyncio.sleep(86_400)
        return running().time()

    started = time.perf_counter()
    assert run(wait()) == 86_400
    assert time.perf_counter() - started < 1


def test_timers_of_one_moment_ring_in_the_order_in_which_they_were_set() -> None:
    async def wait() -> list[int]:
        rung: list[int] = []
        for number in range(50):
            running().call_later(1.0, rung.append, number)
        await asyncio.sleep(2)
        return rung

    assert run(wait()) == list(range(50))


def test_sets_of_tasks_and_futures_have_an_order() -> None:
    async def order() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=str(number)) for number in range(20)}
        names = [task.get_name() for task in tasks]
        await asyncio.wait(tasks)
        return names

    assert run(order()) == run(order())


def test_a_timeout_rings_in_virtual_time() -> None:
    async def wait() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        return running().time()

    assert run(wait()) == 10


def test_waiting_for_nothing_is_reported() -> None:
    with pytest.raises(Stuck, match="nothing is left to happen"):
        run(asyncio.Event().wait())


def test_spinning_is_reported() -> None:
    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="spins"):
        run(spin())


async def _tick(seen: list[float]) -> None:
    while True:
        await asyncio.sleep(1)
        seen.append(running().time())


def test_a_paused_owner_misses_time_and_goes_on() -> None:
    async def story() -> list[float]:
        seen: list[float] = []
        owner = Owner("one", running())
        owner.spawn(_tick(seen), "tick")
        await asyncio.sleep(2.5)
        owner.pause()
        await asyncio.sleep(10)
        owner.resume()
        await asyncio.sleep(2)
        owner.kill()
        await owner.ended()
        return seen

    assert run(story()) == [1, 2, 12.5, 13.5]


def test_a_killed_owner_takes_the_tasks_of_its_tasks_with_it_and_no_others() -> None:
    async def story() -> tuple[list[float], list[float]]:
        mine: list[float] = []
        others: list[float] = []

        async def parent() -> None:
            child = asyncio.create_task(_tick(mine))
            await asyncio.wait({child})

        owner = Owner("one", running())
        owner.spawn(parent(), "parent")
        other = asyncio.create_task(_tick(others))
        await asyncio.sleep(1.5)
        owner.kill()
        await owner.ended()
        assert not owner.is_alive
        await asyncio.sleep(2)
        other.cancel()
        return mine, others

    assert run(story()) == ([1], [1, 2, 3])


def test_the_clock_jumps_for_the_time_of_day_alone() -> None:
    async def read() -> tuple[float, float]:
        clock = VirtualClock(running())
        await asyncio.sleep(5)
        clock.skew = -3600
        return (clock.now() - START).total_seconds(), clock.monotonic()

    assert run(read()) == (-3595, 5)
