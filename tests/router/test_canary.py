"""What callers see of a canary that is bad, dead or stuck: nothing."""

from __future__ import annotations

import asyncio
import math
import os
import signal

import pytest

from millrace.contract import exposition
from millrace.contract import router as contract


async def canary_at(envoy, servers, wiring, models, weight, **changes):
    """A stable server of version 1 and a canary of version 2 that takes `weight` percent."""
    first, second = models
    stable = servers.start(first, "1").wait_ready()
    canary = servers.start(second, "2").wait_ready()
    config = wiring.config(
        wiring.backend(stable, 100 - weight), wiring.backend(canary, weight, fallback="1"), **changes
    )
    await envoy.apply(config)
    await envoy.healthy(stable.settings.revision)
    await envoy.healthy(canary.settings.revision)
    return stable, canary


async def test_a_canary_that_fails_every_request_costs_no_caller_a_request(
    envoy, servers, load, regressor, failing, session, wiring
):
    await canary_at(envoy, servers, wiring, (regressor, failing), 50)
    load.beyond = True
    await load.run(session, 400)

    assert load.failures == []
    assert load.by_version == {"1": 400}


async def test_the_moment_of_a_rollback_costs_no_caller_a_request(
    envoy, servers, load, regressor, failing, session, wiring
):
    """What is on its way to the canary when its weight goes is still answered by stable."""
    stable, canary = await canary_at(envoy, servers, wiring, (regressor, failing), 50)
    load.beyond, load.rate = True, 300
    running = asyncio.create_task(load.run(session))
    for weight in (0, 50) * 5 + (0,):
        await envoy.apply(
            wiring.config(wiring.backend(stable, 100 - weight), wiring.backend(canary, weight, fallback="1"))
        )
        await asyncio.sleep(0.3)
    load.stop()
    await running

    assert load.failures == []
    assert load.by_version == {"1": load.sent}
    assert (await envoy.traffic())[canary.settings.revision].failed > 50


async def test_a_canary_that_is_killed_costs_no_caller_a_request(envoy, servers, load, regressor, session, wiring):
    _, canary = await canary_at(envoy, servers, wiring, (regressor, regressor), 50)
    running = asyncio.create_task(load.run(session))
    await asyncio.sleep(1)
    canary.kill()
    await asyncio.sleep(4)
    load.stop()
    await running

    assert load.failures == []
    assert load.by_version["2"] > 10


async def test_a_canary_that_hangs_costs_callers_one_attempt_of_time_and_no_request(
    envoy, servers, load, regressor, session, wiring
):
    _, canary = await canary_at(envoy, servers, wiring, (regressor, regressor), 50, attempt_timeout_seconds=0.5)
    running = asyncio.create_task(load.run(session))
    await asyncio.sleep(0.5)
    os.kill(canary.process.pid, signal.SIGSTOP)
    await asyncio.sleep(3)
    load.stop()
    await running

    assert load.failures == []
    assert 0.5 < load.slowest < 5


async def test_a_canary_at_weight_0_gets_no_request_and_stays_warm(envoy, servers, load, regressor, session, wiring):
    _, canary = await canary_at(envoy, servers, wiring, (regressor, regressor), 0)
    await load.run(session, 200)
    traffic = await envoy.traffic()

    assert load.by_version == {"1": 200}
    assert traffic[canary.settings.revision].attempts == 0
    assert traffic[canary.settings.revision].healthy == 1


@pytest.mark.parametrize("weight", [5, 25])
async def test_requests_are_split_by_weight(envoy, servers, load, regressor, session, wiring, weight):
    await canary_at(envoy, servers, wiring, (regressor, regressor), weight)
    load.rate, requests = 400, 1600
    await load.run(session, requests)

    share = weight / 100
    # Five standard deviations of a binomial: fails by chance once in a million runs.
    tolerance = 5 * math.sqrt(requests * share * (1 - share))
    assert load.failures == []
    assert abs(load.by_version["2"] - requests * share) < tolerance


async def test_a_row_on_which_the_only_model_fails_is_answered_500_and_ejects_no_server(
    envoy, servers, load, failing, session, wiring
):
    stable = servers.start(failing, "1").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 100)))
    await envoy.healthy(stable.settings.revision)
    load.beyond = True
    await load.run(session, 50)
    assert len(load.failures) == 50
    assert all(failure.startswith("500") for failure in load.failures)
    page = exposition.parse(await envoy.text(contract.SCRAPE_PATH))
    assert sum(sample.value for sample in page if sample.name.endswith("ejections_enforced_total")) == 0

    load.failures.clear()
    load.beyond = False
    await load.run(session, 50)
    assert load.failures == []


async def test_a_refused_request_is_not_tried_again(envoy, servers, regressor, session, wiring):
    _, canary = await canary_at(envoy, servers, wiring, (regressor, regressor), 100)
    async with session.post(f"{envoy.url}/v2/models/churn/infer", data=b"{}") as response:
        assert response.status == 400
        assert "inputs" in (await response.json())["error"]
    traffic = (await envoy.traffic())[canary.settings.revision]
    assert (traffic.attempts, traffic.completed, traffic.failed) == (1, 1, 0)
