"""What each of Envoy's counters shows, as `millrace.contract.router` documents it."""

from __future__ import annotations

import asyncio

import pytest

from millrace.contract import exposition

REQUESTS = 200


@pytest.fixture
async def pair(envoy, servers, regressor, failing, wiring):
    """A stable and a failing canary, half of the traffic each."""
    stable = servers.start(regressor, "1").wait_ready()
    canary = servers.start(failing, "2").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 50), wiring.backend(canary, 50, fallback="1")))
    await envoy.healthy(stable.settings.revision)
    await envoy.healthy(canary.settings.revision)
    return stable, canary


async def test_an_error_that_a_retry_saves_is_counted_on_the_canary_and_not_on_stable(envoy, pair, load, session):
    stable, canary = pair
    load.beyond = True
    await load.run(session, REQUESTS)
    traffic = await envoy.traffic()
    good, bad = traffic[stable.settings.revision], traffic[canary.settings.revision]

    assert load.failures == []
    assert bad.completed + good.completed == REQUESTS
    assert bad.attempts == bad.completed > REQUESTS / 4
    assert (bad.saved, bad.lost, bad.failed) == (bad.completed, 0, bad.completed)
    assert (good.saved, good.lost) == (0, 0)
    assert good.attempts == REQUESTS, "every request was answered by stable in the end"


async def test_a_canary_without_errors_has_none_counted(envoy, pair, load, session):
    stable, canary = pair
    await load.run(session, REQUESTS)
    traffic = await envoy.traffic()
    good, other = traffic[stable.settings.revision], traffic[canary.settings.revision]

    assert other.failed == good.failed == 0
    assert other.attempts == other.completed == load.by_version["2"]
    assert good.attempts == good.completed == load.by_version["1"]


async def test_a_refused_connection_is_counted_as_a_failed_attempt(envoy, pair, load, session):
    _, canary = pair
    canary.kill()
    load.rate = 400
    await load.run(session, REQUESTS)
    bad = (await envoy.traffic())[canary.settings.revision]

    assert load.failures == []
    assert bad.attempts == bad.failed > 0
    assert bad.lost == 0


async def test_an_error_that_no_retry_saves_is_counted_as_lost_once(envoy, servers, failing, load, session, wiring):
    stable = servers.start(failing, "1").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 100)))
    await envoy.healthy(stable.settings.revision)
    load.beyond = True
    await load.run(session, 40)
    traffic = (await envoy.traffic())[stable.settings.revision]

    assert len(load.failures) == 40
    assert (traffic.completed, traffic.lost, traffic.saved) == (40, 40, 0)
    assert traffic.attempts > 40, "retries are attempts too"


async def test_healthy_members_follow_readiness_within_seconds(envoy, pair):
    _, canary = pair
    revision = canary.settings.revision
    assert (await envoy.traffic())[revision].healthy == 1
    canary.kill()
    await envoy.healthy(revision, 0)


async def test_latency_is_counted_in_the_stated_buckets_one_second_later(envoy, pair, load, session):
    stable, canary = pair
    await load.run(session, REQUESTS)
    await asyncio.sleep(1.5)
    traffic = await envoy.traffic()

    for revision in (stable.settings.revision, canary.settings.revision):
        counts = traffic[revision].latency_ms
        assert [*counts][:3] == [0.5, 1.0, 2.5]
        assert [*counts][-2:] == [10000.0, float("inf")]
        assert counts[float("inf")] == traffic[revision].completed
        assert counts[1000.0] == counts[float("inf")]
        assert list(counts.values()) == sorted(counts.values())


async def test_the_scrape_path_returns_only_revisions_and_a_small_page(envoy, pair, load, session):
    from millrace.contract import router as contract

    await load.run(session, 50)
    page = await envoy.text(contract.SCRAPE_PATH)
    clusters = {sample.labels["envoy_cluster_name"] for sample in exposition.parse(page)}

    assert clusters == {"00000001", "00000002", "00000001-route", "00000002-route"}
    assert len(page) < 40_000


async def test_a_request_that_is_refused_is_counted_on_its_revision_and_not_tried_again(envoy, pair, session):
    stable, canary = pair
    for _ in range(60):
        async with session.post(f"{envoy.url}/v2/models/churn/infer", data=b"{}") as response:
            assert response.status == 400
    traffic = await envoy.traffic()
    good, other = traffic[stable.settings.revision], traffic[canary.settings.revision]

    assert good.refused + other.refused == 60
    for one in (good, other):
        assert one.refused == one.completed == one.attempts > 0
        assert one.failed == 0


async def test_a_cluster_that_goes_and_comes_back_may_go_on_counting_where_it_was(envoy, pair, load, session, wiring):
    """Why nothing counts in a rollout that was counted before it began: the name of a cluster is no start."""
    stable, canary = pair
    load.beyond = True
    await load.run(session, REQUESTS)
    before = (await envoy.traffic())[canary.settings.revision]
    await envoy.apply(wiring.config(wiring.backend(stable, 100)))
    await envoy.apply(wiring.config(wiring.backend(stable, 50), wiring.backend(canary, 50, fallback="1")))
    await envoy.healthy(canary.settings.revision)
    after = (await envoy.traffic())[canary.settings.revision]

    assert before.failed > 0
    assert after.failed in (before.failed, 0)
