"""The laws of the work queue, by Hypothesis, and its waiting, on the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from millrace.controller.queue import Backoff, Priority, WorkQueue
from millrace_kit.clock import ManualClock

KEYS = st.sampled_from("abcde")


class QueueMachine(RuleBasedStateMachine):
    """Everything that may be done to a queue, against a model that is too simple to be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.queue: WorkQueue[str] = WorkQueue(self.clock.monotonic, chance=lambda: 0.5)
        self.working: set[str] = set()
        self.owed: set[str] = set()
        self.due: dict[str, float] = {}

    @rule(key=KEYS, priority=st.sampled_from(Priority))
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.owed.add(key)
        self.due.pop(key, None)

    @rule(key=KEYS, seconds=st.floats(0.1, 50))
    def add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        if key not in self.owed:
            self.due[key] = min(self.due.get(key, float("inf")), self.clock.monotonic() + seconds)

    @rule(seconds=st.floats(0.1, 60))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def take(self) -> None:
        now = self.clock.monotonic()
        ripe = {key for key, due in self.due.items() if due <= now}
        self.owed |= ripe
        self.due = {key: due for key, due in self.due.items() if key not in ripe}
        taken = self.queue.next()
        if taken is None:
            assert not self.owed - self.working, "a key is owed and free, but was not handed out"
            return
        assert taken.key not in self.working, "a key was handed out twice at once"
        assert taken.key in self.owed, "a key was handed out that nobody asked for"
        self.owed.discard(taken.key)
        self.working.add(taken.key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.discard(key)

    @invariant()
    def works_on_what_was_handed_out(self) -> None:
        assert self.queue.working == self.working

    def teardown(self) -> None:
        """Whatever was added comes out: nothing is lost."""
        for key in list(self.working):
            self.done_now(key)
        self.clock.advance(1000)
        expected = self.owed | set(self.due)
        found = set()
        while (taken := self.queue.next()) is not None:
            assert taken.key not in found, "a key that was added several times came out several times"
            found.add(taken.key)
            self.queue.done(taken.key)
        assert found == expected

    def done_now(self, key: str) -> None:
        self.queue.done(key)
        self.working.discard(key)


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueueLaws = QueueMachine.TestCase


def test_changes_go_before_routine_and_a_change_promotes_what_waits() -> None:
    queue: WorkQueue[str] = WorkQueue(ManualClock().monotonic)
    for key in ("a", "b", "c"):
        queue.add(key, Priority.ROUTINE)
    queue.add("d")
    queue.add("b")
    assert [taken.key for _ in range(4) if (taken := queue.next())] == ["d", "b", "a", "c"]
    assert queue.next() is None


def test_a_key_wanted_while_being_worked_on_comes_again_after_it_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue(ManualClock().monotonic)
    queue.add("a")
    assert queue.next() is not None
    queue.add("a")
    queue.add("a")
    assert queue.next() is None
    queue.done("a")
    assert queue.next() is not None
    queue.done("a")
    assert queue.next() is None


def test_backoff_doubles_to_five_minutes_and_is_forgiven() -> None:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock.monotonic, chance=lambda: 0.5)
    assert [queue.retry("a") for _ in range(12)] == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    queue.forgive("a")
    assert queue.retry("a") == 0.5


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.4), (0.5, 0.5), (1.0, 0.6)])
def test_jitter_is_a_fifth_either_way(chance: float, seconds: float) -> None:
    assert Backoff().after(0, chance) == pytest.approx(seconds)


def test_the_age_of_a_taken_key_counts_from_the_first_add() -> None:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock.monotonic)
    queue.add("a", Priority.ROUTINE)
    clock.advance(3)
    queue.add("a")
    taken = queue.next()
    assert taken is not None
    assert taken.since == 0


async def test_waiting_workers_share_keys_and_delays_wake_them() -> None:
    queue: WorkQueue[int] = WorkQueue(time.monotonic)
    found: list[int] = []

    async def work() -> None:
        while True:
            taken = await queue.take()
            found.append(taken.key)
            await asyncio.sleep(0)
            queue.done(taken.key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in range(20):
        queue.add(key) if key % 2 else queue.add_after(key, 0.01)
    async with asyncio.timeout(5):
        while len(found) < 20:  # noqa: ASYNC110 - a test polls
            await asyncio.sleep(0.005)
    assert sorted(found) == list(range(20))
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue(time.monotonic)
    first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(5):
        assert (await second).key == "a"
    assert first.cancelled()
