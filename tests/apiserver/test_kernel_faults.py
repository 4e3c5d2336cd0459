"""kopf's three doubts and ours, on a real API server behind a proxy that only breaks things.

T1: objects deleted in a 410 gap stay in kopf's index for ever; they must not stay in our cache.
T2: a list or stream that breaks in the middle must lose nothing.
T3: kopf strips its configured finalizer from whatever it sees; with our settings it writes nothing at all.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf
import pytest
from apiserver_kit import operators
from apiserver_kit.operators import running, running_apart, until

from millrace import errors, wiring
from millrace.api import resources
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.controller import audit
from millrace.controller.leader import Election
from millrace.handlers import adapter
from millrace_kit import widgets
from millrace_kit.clock import ManualClock
from millrace_kit.network import FaultyProxy
from millrace_kit.widgets import WIDGETS

NAMESPACE = "default"
PLURAL = WIDGETS.plural
make_operator = functools.partial(operators.of_widgets, namespace=NAMESPACE)


@pytest.fixture
async def kube(cred: Credentials) -> AsyncIterator[Kube]:
    """An admin's client; every Widget and ConfigMap is gone afterwards."""
    async with Kube(cred) as kube:
        yield kube
        for resource in (WIDGETS, resources.CONFIG_MAPS, resources.LEASES):
            for one in await kube.list(resource, NAMESPACE):
                metadata = one["metadata"]
                if metadata.get("finalizers"):
                    await kube.patch(resource, NAMESPACE, metadata["name"], {"metadata": {"finalizers": None}})
                await kube.delete(resource, NAMESPACE, metadata["name"], uid=metadata["uid"])


@pytest.fixture
async def proxy(cred: Credentials) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(cred) as proxy:
        yield proxy


async def make_widgets(kube: Kube, *names: str, **metadata: Any) -> dict[str, Manifest]:
    return {name: await kube.create(WIDGETS, widgets.make_widget(name, **metadata)) for name in names}


async def remove(kube: Kube, made: Manifest) -> None:
    await kube.delete(WIDGETS, NAMESPACE, made["metadata"]["name"], uid=made["metadata"]["uid"])


def cached(operator: wiring.Operator) -> set[str]:
    return {one["metadata"]["name"] for one in operator.world.store.list(WIDGETS)}


async def delete_unseen(kube: Kube, proxy: FaultyProxy, *gone: Manifest) -> None:
    """Delete objects while the watch is down, and let it come back with 410 Gone."""
    await proxy.cut_off(PLURAL)
    for made in gone:
        await remove(kube, made)
    proxy.faults.expire_watch[PLURAL] = 1
    proxy.faults.refuse[PLURAL] = 0


async def test_t1_an_object_that_vanished_in_a_410_gap_is_dropped_within_seconds(
    kube: Kube, proxy: FaultyProxy
) -> None:
    operator = make_operator(proxy.credentials)
    made = await make_widgets(kube, "a", "b")
    async with running(operator):
        await until(lambda: cached(operator) == {"a", "b"})
        lists = proxy.lists.count(PLURAL)
        await delete_unseen(kube, proxy, made["b"])
        await until(lambda: proxy.lists.count(PLURAL) > lists)
        await until(lambda: cached(operator) == {"a"}, seconds=5)
        assert operator.series.ghosts.labels(resource=PLURAL)._value.get() == 1


async def test_t1_kopfs_own_index_would_have_kept_the_ghost(kube: Kube, proxy: FaultyProxy) -> None:
    """The reason for the audit; should this fail one day, kopf has learnt to compare and the audit may go."""
    registry = kopf.OperatorRegistry()
    shown: list[tuple[str, set[str]]] = []

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return adapter.connection(proxy.credentials)

    @kopf.index(WIDGETS.group, WIDGETS.version, PLURAL, registry=registry, id="known")
    async def known(name: str, **_: Any) -> dict[str, str]:
        return {name: name}

    @kopf.on.event(WIDGETS.group, WIDGETS.version, PLURAL, registry=registry, id="event")
    async def event(**given: Any) -> None:
        shown.append((given["spec"]["text"], set(given["known"])))

    made = await make_widgets(kube, "a", "b")
    stop = asyncio.Event()
    settings = adapter.settings({WIDGETS: ""})
    task = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, namespaces=[NAMESPACE], stop_flag=stop)
    )
    try:
        await until(lambda: shown and shown[-1][1] == {"a", "b"})
        lists = proxy.lists.count(PLURAL)
        await delete_unseen(kube, proxy, made["b"])
        await until(lambda: proxy.lists.count(PLURAL) > lists)  # of what is left: whatever is shown next came after it
        await kube.patch(WIDGETS, NAMESPACE, "a", {"spec": {"text": "after the list"}})
        await until(lambda: shown[-1][0] == "after the list")
        assert shown[-1][1] == {"a", "b"}
    finally:
        stop.set()
        await task


async def test_t1_a_kind_whose_last_object_vanished_in_a_gap_is_found_by_the_next_audit(
    kube: Kube, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kopf, listing nothing, says nothing: only the periodic audit is left."""
    monkeypatch.setattr(audit, "SHORTEST_SECONDS", 1.0)
    operator = make_operator(proxy.credentials)
    made = await make_widgets(kube, "only")
    async with running(operator):
        await until(lambda: cached(operator) == {"only"})
        await delete_unseen(kube, proxy, made["only"])
        await until(lambda: cached(operator) == set(), seconds=10)


async def test_t2_a_list_cut_in_the_middle_loses_nothing(kube: Kube, proxy: FaultyProxy) -> None:
    names = {f"w{number}" for number in range(20)}
    await make_widgets(kube, *names)
    assert adapter.settings({WIDGETS: ""}).watching.initial_streaming is False
    operator = make_operator(proxy.credentials)
    proxy.faults.cut_list[PLURAL] = 2
    async with running(operator):
        assert cached(operator) == names
        assert proxy.faults.cut_list[PLURAL] == 0


async def test_t2_what_happens_while_a_watch_is_down_is_seen_when_it_is_back(kube: Kube, proxy: FaultyProxy) -> None:
    operator = make_operator(proxy.credentials)
    made = await make_widgets(kube, "a")
    async with running(operator):
        await until(lambda: cached(operator) == {"a"})
        await proxy.cut_off(PLURAL)
        await remove(kube, made["a"])
        await make_widgets(kube, "b")
        proxy.faults.refuse[PLURAL] = 0
        await until(lambda: cached(operator) == {"b"})


async def test_watches_that_end_with_a_refusal_begin_anew_and_leave_no_connection_behind(
    kube: Kube, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf ends when one watch is refused; its other watches went on in a session that nobody closed any more."""
    monkeypatch.setattr(adapter, "BACKOFFS", (0.05,))
    operator = make_operator(proxy.credentials)
    made = await make_widgets(kube, "a", "b")
    known = open_sessions()
    async with running(operator):
        await until(lambda: cached(operator) == {"a", "b"})
        lists = proxy.lists.count(PLURAL)
        proxy.faults.forbid_watch[PLURAL] = 2  # kopf asks once more
        proxy.break_watches(PLURAL)
        await until(lambda: proxy.lists.count(PLURAL) > lists, "all is listed anew")
        await remove(kube, made["b"])
        await until(lambda: cached(operator) == {"a"})
        assert len(open_sessions() - known) == 2, "kopf's and the client's"
    assert open_sessions() == known


def open_sessions() -> set[int]:
    """Every session of this process that was not closed, also those that wait for the garbage collector."""
    return {id(one) for one in gc.get_objects() if isinstance(one, aiohttp.ClientSession) and not one.closed}


async def test_t3_kopf_writes_nothing_and_foreign_finalizers_survive(kube: Kube, proxy: FaultyProxy) -> None:
    theirs = ["kopf.zalando.org/KopfFinalizerMarker", "example.com/mine"]
    made = await make_widgets(kube, "held", finalizers=theirs)
    operator = make_operator(proxy.credentials)
    async with running(operator, leading=False):
        await kube.patch(WIDGETS, NAMESPACE, "held", {"spec": {"text": "changed"}})
        await remove(kube, made["held"])
        await until(
            lambda: "deletionTimestamp" in (operator.world.store.get(WIDGETS, NAMESPACE, "held") or {})["metadata"]
        )
        await asyncio.sleep(0.3)
        found = await kube.get(WIDGETS, NAMESPACE, "held")
        assert found["metadata"]["finalizers"] == theirs
        assert found["metadata"].get("annotations") is None
    assert [write for write in proxy.writes if write[2] != "millrace"] == []


async def test_t3_with_kopfs_default_finalizer_name_it_would_have_been_stripped(kube: Kube, proxy: FaultyProxy) -> None:
    """The reason for the unused name."""
    await make_widgets(kube, "held", finalizers=["kopf.zalando.org/KopfFinalizerMarker"])
    settings = adapter.settings({WIDGETS: ""})
    settings.persistence.finalizer = "kopf.zalando.org/KopfFinalizerMarker"
    stop = asyncio.Event()
    registry = adapter.registry({WIDGETS: ""}, lambda *_: None, proxy.credentials)
    task = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, namespaces=[NAMESPACE], stop_flag=stop)
    )
    try:
        await until(lambda: any(method == "PATCH" for method, _, _ in proxy.writes))
    finally:
        stop.set()
        await task
    assert not (await kube.get(WIDGETS, NAMESPACE, "held"))["metadata"].get("finalizers")


async def test_a_standby_takes_over_at_once_when_the_leader_stops_and_only_one_leads(
    kube: Kube, cred: Credentials
) -> None:
    first, second = make_operator(cred), make_operator(cred)
    async with running_apart(second) as stop_second, running_apart(first) as stop_first:
        await until(lambda: first.kernel.leads or second.kernel.leads)
        leader, standby = (second, first) if second.kernel.leads else (first, second)
        await make_widgets(kube, "w")
        await until(lambda: leader.world.store.count(resources.CONFIG_MAPS) == 1)
        await until(lambda: cached(standby) == {"w"}, "the standby sees what the leader sees")
        assert not standby.kernel.leads
        (stop_second if leader is second else stop_first)()
        await until(lambda: standby.kernel.leads, seconds=5)
        assert not leader.kernel.leads
        await make_widgets(kube, "x")
        await until(lambda: standby.world.store.count(resources.CONFIG_MAPS) == 2)


def make_election(kube: Kube, clock: ManualClock, identity: str) -> Election:
    return Election(kube, clock, namespace=NAMESPACE, name="election", identity=identity)


async def test_a_paused_leader_writes_nothing_after_its_deadline(kube: Kube, cred: Credentials) -> None:
    clock = ManualClock()
    async with Kube(cred) as fenced:
        election = make_election(fenced, clock, "paused")
        fenced.may_write = election.holds
        assert await election._attempt()
        await fenced.create(WIDGETS, widgets.make_widget("before"))
        clock.advance(10)  # SIGSTOP, a long garbage collection, a frozen machine: the monotonic clock goes on
        assert not election.holds()
        with pytest.raises(errors.NotLeader):
            await fenced.create(WIDGETS, widgets.make_widget("after"))
        with pytest.raises(errors.NotLeader):
            await fenced.delete(WIDGETS, NAMESPACE, "before", uid="any")
        assert await election._attempt()  # nobody took it meanwhile
        await fenced.create(WIDGETS, widgets.make_widget("after"))


async def test_a_lease_is_taken_over_only_after_it_stood_still_for_its_whole_duration(kube: Kube) -> None:
    clock = ManualClock()
    dead, heir = make_election(kube, clock, "dead"), make_election(kube, clock, "heir")
    assert await dead._attempt()
    assert not await heir._attempt()
    clock.advance(9)
    assert await dead._attempt()  # a sign of life starts the count again
    assert not await heir._attempt()
    clock.advance(14.9)
    assert not await heir._attempt()
    clock.advance(0.1)
    assert await heir._attempt()
    assert not await dead._attempt()
    assert not dead.holds()
    lease = await kube.get(resources.LEASES, NAMESPACE, "election")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("heir", 1)


async def test_a_restarted_pod_takes_its_own_lease_back_at_once(kube: Kube) -> None:
    clock = ManualClock()
    assert await make_election(kube, clock, "pod-0")._attempt()
    again = Election(kube, clock, namespace=NAMESPACE, name="election", identity="pod-0", unique=True)
    assert await again._attempt()
    assert not await make_election(kube, clock, "pod-0")._attempt()
