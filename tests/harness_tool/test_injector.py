"""Each fault is put where its plan says, once, and only then it counts as reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from millrace_harness.injector import Injector
from millrace_harness.plans import Plan
from millrace_harness.wire import APPLY, Event, Lost, Request, Response


class FakeHands:
    """A tier whose time passes only when somebody sleeps."""

    hold, patience = 30.0, 10.0

    def __init__(self) -> None:
        self.time = 0.0
        self.done: list[str] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)
        await asyncio.sleep(0)

    def kill(self, sender: str) -> None:
        self.done.append(f"kill {sender}")

    async def pause(self, sender: str, seconds: float) -> None:
        self.done.append(f"pause {sender} {seconds:g}")

    def skew(self, seconds: float) -> None:
        self.done.append(f"skew {seconds:g}")

    def recreate(self, kind: str, name: str) -> None:
        self.done.append(f"recreate {kind} {name}")


class StoppedTime(FakeHands):
    """A tier whose time stands still."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Server:
    """Commits every write under the next version."""

    def __init__(self) -> None:
        self.version = 10
        self.asked: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        if request.is_write:
            self.version += 1
        return Response(200, {"metadata": {"resourceVersion": str(self.version)}})


ROOT = "/api/v1/namespaces/ml/configmaps"


def apply(name: str = "a") -> Request:
    return Request("operator-1", "PATCH", f"{ROOT}/{name}", {}, {}, APPLY)


def listing(**params: str) -> Request:
    return Request("operator-1", "GET", ROOT, params, None)


WATCH = listing(watch="true")


def disturbed(fault: str, place: str = "apply configmaps", nth: int = 2) -> tuple[Injector, FakeHands, Server]:
    hands, server = FakeHands(), Server()
    return Injector(Plan(fault, "story", place, nth), hands), hands, server


async def times_out(work) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await work
    except TimeoutError:
        return True
    return False


async def test_a_crash_before_a_write_leaves_it_unsent():
    injector, hands, server = disturbed("crash-before")
    exchange = injector.through(server)
    await exchange(apply())
    assert not injector.reached
    assert await times_out(exchange(apply()))
    assert (injector.reached, hands.done, len(server.asked)) == (True, ["kill operator-1"], 1)


async def test_a_crash_after_a_write_commits_it_and_loses_the_answer():
    injector, hands, server = disturbed("crash-after")
    exchange = injector.through(server)
    await exchange(apply())
    assert await times_out(exchange(apply()))
    assert (injector.reached, hands.done, len(server.asked)) == (True, ["kill operator-1"], 2)


async def test_a_write_that_changes_nothing_does_not_count():
    injector, _, server = disturbed("crash-after")

    async def idle(request: Request) -> Response:
        return Response(200, {"metadata": {"resourceVersion": str(server.version)}})

    await injector.through(server)(apply())
    for _ in range(3):
        await injector.through(idle)(apply())
    assert not injector.reached
    assert [one.effect for one in injector.trace.asked] == [1, 0, 0, 0]


@pytest.mark.parametrize(("fault", "times"), [("answer-409", 1), ("answer-410", 1), ("answer-422", 1),
                                              ("answer-429", 3), ("answer-500", 3), ("answer-503", 3)])  # fmt: skip
async def test_an_answer_is_replaced_as_often_as_the_client_would_repeat(fault: str, times: int):
    injector, _, server = disturbed(fault)
    exchange = injector.through(server)
    answers = [(await exchange(apply())).status for _ in range(6)]
    status = int(fault.removeprefix("answer-"))
    assert answers == [200, *[status] * times, *[200] * (5 - times)]
    assert len(server.asked) == 6 - times


async def test_a_lost_reply_is_of_a_write_that_was_committed():
    injector, _, server = disturbed("reply-lost", nth=1)
    with pytest.raises(Lost):
        await injector.through(server)(apply())
    assert len(server.asked) == 1
    assert injector.trace.effects[0].effect == 1


async def test_a_timeout_takes_the_clients_patience_and_commits_nothing():
    injector, hands, server = disturbed("timeout", nth=1)
    with pytest.raises(Lost):
        await injector.through(server)(apply())
    assert (hands.time, server.asked) == (10.0, [])


@pytest.mark.parametrize(("fault", "done"), [("clock-forward", "skew 3600"), ("clock-back", "skew -3600"),
                                             ("paused-leader", "pause operator-1 40")])  # fmt: skip
async def test_a_clock_jump_or_a_pause_comes_right_before_its_write(fault: str, done: str):
    injector, hands, server = disturbed(fault)
    exchange = injector.through(server)
    await exchange(apply())
    assert hands.done == []
    await exchange(apply())
    await exchange(apply())
    assert (hands.done, len(server.asked)) == ([done], 3)


def event(kind: str, uid: str, version: int) -> Event:
    return {"type": kind, "object": {"metadata": {"name": uid, "uid": uid, "resourceVersion": str(version)}}}


EVENTS = [event("ADDED", "a", 1), event("ADDED", "b", 2), event("MODIFIED", "a", 3), event("MODIFIED", "b", 4)]


async def stream(events: list[Event]) -> AsyncIterator[Event]:
    for one in events:
        yield one


async def shown(injector: Injector, events: list[Event]) -> list[str]:
    return [told(one) async for one in injector.show(WATCH, stream(events))]


def told(one: Event) -> str:
    metadata = one["object"]["metadata"]
    return f"{one['type'][0]}{metadata['name']}{metadata['resourceVersion']}"


async def test_without_a_fault_everything_is_shown_in_order():
    injector = Injector(None, FakeHands())
    assert await shown(injector, EVENTS) == ["Aa1", "Ab2", "Ma3", "Mb4"]
    assert [(one.nth, one.name) for one in injector.trace.shown] == [(1, "a"), (2, "b"), (3, "a"), (4, "b")]


@pytest.mark.parametrize(("fault", "expected"), [
    ("lost-event", ["Aa1", "Ma3", "Mb4"]),
    ("duplicated-event", ["Aa1", "Ab2", "Ab2", "Ma3", "Mb4"]),
    ("reordered-event", ["Aa1", "Ma3", "Ab2", "Mb4"]),
    ("stale-watch", ["Aa1", "Ab2", "Ma3", "Mb4"]),
    ("unobserved", ["Aa1", "Ma3", "Ab4"]),
])  # fmt: skip
async def test_events_are_lost_doubled_swapped_delayed_or_merged(fault: str, expected: list[str]):
    injector, _, _ = disturbed(fault, "configmaps", 2)
    assert await shown(injector, EVENTS) == expected
    assert injector.reached


async def test_a_stale_watch_shows_its_events_after_the_hold():
    injector, hands, _ = disturbed("stale-watch", "configmaps", 2)
    await shown(injector, EVENTS[:1])
    assert hands.time == 0
    await shown(injector, EVENTS[1:])
    assert hands.time == 30


async def test_what_came_and_went_unobserved_is_never_shown():
    injector, _, _ = disturbed("unobserved", "configmaps", 2)
    assert await shown(injector, [EVENTS[0], event("ADDED", "b", 2), event("DELETED", "b", 3)]) == ["Aa1"]


async def test_a_state_that_nothing_follows_is_not_counted_as_unobserved():
    injector, _, _ = disturbed("unobserved", "configmaps", 2)
    await shown(injector, EVENTS[:2])
    assert not injector.reached


async def test_a_new_process_is_given_an_older_list_and_live_reads_stay_live():
    hands, server = StoppedTime(), Server()
    injector = Injector(Plan("stale-list", "story", "configmaps", 2), hands)
    exchange = injector.through(server)
    watching = asyncio.create_task(shown(injector, EVENTS))
    await asyncio.sleep(0.01)
    assert hands.done == ["kill operator-1"]
    await exchange(listing(limit="500"))
    assert not injector.reached
    await exchange(listing())
    await exchange(listing(resourceVersion="0", labelSelector="x"))
    watching.cancel()
    assert injector.reached
    exact = {"resourceVersion": "1", "resourceVersionMatch": "Exact"}
    assert [dict(one.params) for one in server.asked] == [{"limit": "500"}, exact, {**exact, "labelSelector": "x"}]


async def test_a_recreated_object_is_made_anew_while_its_watch_lags_and_in_the_control_while_it_does_not():
    for is_control, late in ((False, 30.0), (True, 0.0)):
        hands = FakeHands()
        injector = Injector(Plan("recreated", "story", "configmaps", 2), hands, is_control=is_control)
        await shown(injector, EVENTS)
        assert (injector.reached, hands.done, hands.time) == (True, ["recreate configmaps b"], late)


async def test_a_stalled_watch_is_silent_for_long_while_lists_stay_fresh():
    injector, hands, server = disturbed("stalled-watch", nth=1)
    await shown(injector, EVENTS[:1])
    await injector.through(server)(apply())
    await injector.through(server)(listing())
    await shown(injector, EVENTS[1:])
    assert (injector.reached, hands.time, dict(server.asked[-1].params)) == (True, 180.0, {})
