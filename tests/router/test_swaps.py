"""Revisions come and go under load; no caller notices."""

from __future__ import annotations

import asyncio

SWAPS = 20


async def test_twenty_revision_swaps_at_100_requests_per_second_lose_no_request(
    envoy, servers, load, regressor, session, wiring
):
    old = servers.start(regressor, "1", drain_seconds=1).wait_ready()
    await envoy.apply(wiring.config(wiring.backend(old, 100)))
    await envoy.healthy(old.settings.revision)
    running = asyncio.create_task(load.run(session))
    for number in range(2, SWAPS + 2):
        new = servers.start(regressor, str(number), drain_seconds=1)
        await asyncio.to_thread(new.wait_ready)
        await envoy.apply(wiring.config(wiring.backend(old, 100), wiring.backend(new, 0)))
        await envoy.healthy(new.settings.revision)
        await envoy.apply(wiring.config(wiring.backend(old, 0), wiring.backend(new, 100)))
        old.terminate()
        assert await asyncio.to_thread(old.wait_exit) == 0
        await envoy.apply(wiring.config(wiring.backend(new, 100)))
        old = new
    load.stop()
    await running

    assert load.failures == []
    assert sum(load.by_version.values()) == load.sent
    assert set(load.by_version) == {str(number) for number in range(1, SWAPS + 2)}
    print(f"{load.sent} requests, {SWAPS} swaps, 0 lost, slowest {load.slowest * 1000:.0f} ms")


async def test_a_canary_is_promoted_step_by_step_and_loses_its_fallback_without_losing_a_request(
    envoy, servers, load, regressor, session, wiring
):
    stable = servers.start(regressor, "1", drain_seconds=1).wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 100)))
    await envoy.healthy(stable.settings.revision)
    running = asyncio.create_task(load.run(session))
    canary = servers.start(regressor, "2", drain_seconds=1)
    await asyncio.to_thread(canary.wait_ready)
    for weight in (0, 5, 25, 50, 100):
        await envoy.apply(
            wiring.config(wiring.backend(stable, 100 - weight), wiring.backend(canary, weight, fallback="1"))
        )
        await envoy.healthy(canary.settings.revision)
        await asyncio.sleep(0.5)
    await envoy.apply(wiring.config(wiring.backend(canary, 100)))
    stable.terminate()
    assert await asyncio.to_thread(stable.wait_exit) == 0
    await asyncio.sleep(0.5)
    load.stop()
    await running

    assert load.failures == []
    assert set(load.by_version) == {"1", "2"}


async def test_a_server_that_drains_answers_what_still_arrives_and_asks_for_no_more(
    envoy, servers, load, regressor, session, wiring
):
    """Two servers of one revision behind one name cannot be had on loopback, so the other one is the fallback."""
    staying = servers.start(regressor, "1").wait_ready()
    leaving = servers.start(regressor, "2", drain_seconds=3).wait_ready()
    await envoy.apply(wiring.config(wiring.backend(staying, 0), wiring.backend(leaving, 100, fallback="1")))
    await envoy.healthy(leaving.settings.revision)
    running = asyncio.create_task(load.run(session))
    await asyncio.sleep(0.5)
    leaving.terminate()
    assert await asyncio.to_thread(leaving.wait_exit) == 0
    await asyncio.sleep(0.3)
    load.stop()
    await running
    traffic = await envoy.traffic()

    assert load.failures == []
    assert load.by_version["1"] > 100
    assert traffic[leaving.settings.revision].failed == 0, "no request had to be tried twice"
