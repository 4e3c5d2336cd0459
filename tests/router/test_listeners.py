"""What the router answers besides inference, and what it does not."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
import yarl

from millrace.render import router


async def test_the_generation_that_is_applied_can_be_read_on_both_listeners(envoy, servers, regressor, session, wiring):
    server = servers.start(regressor, "1").wait_ready()
    config = wiring.config(wiring.backend(server, 100))
    await envoy.apply(config)
    async with session.get(envoy.url, headers={"host": "generation.millrace.internal"}) as response:
        assert await response.text() == config.generation
    assert await envoy.text("/generation") == config.generation

    other = wiring.config(wiring.backend(server, 0))
    assert other.generation != config.generation
    await envoy.apply(other)
    assert await envoy.text("/generation") == other.generation


async def test_without_weights_requests_are_answered_503_and_told_when_to_come_back(envoy, session, wiring):
    await envoy.apply(wiring.config())
    async with session.post(f"{envoy.url}/v2/models/churn/infer", data=b"{}") as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert (await response.json()) == {"error": "no revision of this model takes traffic yet"}


async def test_without_a_server_requests_are_answered_503_in_the_protocols_own_form(
    envoy, servers, regressor, session, wiring
):
    server = servers.start(regressor, "1").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(server, 100)))
    await envoy.healthy(server.settings.revision)
    server.kill()
    await envoy.healthy(server.settings.revision, 0)
    async with session.post(f"{envoy.url}/v2/models/churn/infer", data=b"{}") as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/v1/models", "/v22", "/V2/models"])
async def test_only_the_protocol_is_routed(envoy, session, wiring, path):
    await envoy.apply(wiring.config())
    async with session.get(envoy.url + path) as response:
        assert response.status == 404
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize(
    "method,path",
    [
        ("POST", "/quitquitquit"),
        ("GET", "/config_dump"),
        ("GET", "/clusters"),
        ("POST", "/stats/prometheus"),
        ("POST", "/ready"),
        ("GET", "/stats/prometheus/../../config_dump"),
    ],
)
async def test_the_stats_listener_only_reads_statistics(envoy, session, wiring, method, path):
    await envoy.apply(wiring.config())
    async with session.request(method, yarl.URL(envoy.stats_url + path, encoded=True)) as response:
        assert response.status == 404


async def test_ready_and_metrics_answer_on_the_stats_listener(envoy, session, wiring):
    await envoy.apply(wiring.config())
    async with session.get(f"{envoy.stats_url}/ready") as response:
        assert (response.status, await response.text()) == (200, "LIVE\n")
    assert "envoy_server_live" in await envoy.text("/stats/prometheus")


async def test_callers_cannot_change_the_retries(envoy, servers, regressor, failing, session, wiring, load):
    stable = servers.start(regressor, "1").wait_ready()
    canary = servers.start(failing, "2").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 0), wiring.backend(canary, 100, fallback="1")))
    await envoy.healthy(stable.settings.revision)
    await envoy.healthy(canary.settings.revision)
    session.headers.update(
        {"x-envoy-max-retries": "0", "x-envoy-retry-on": "reset", "x-envoy-upstream-rq-timeout-ms": "1"}
    )
    load.beyond = True
    await load.run(session, 20)
    assert load.failures == []


async def test_a_router_that_restarts_goes_on_with_the_weights_in_its_files(
    envoy, servers, regressor, session, wiring, load
):
    server = servers.start(regressor, "1").wait_ready()
    config = wiring.config(wiring.backend(server, 100))
    await envoy.apply(config)
    envoy.stop()
    envoy.start()
    await envoy.until(lambda: envoy._applies(config), "the generation is applied")
    await envoy.healthy(server.settings.revision)
    await load.run(session, 20)
    assert load.failures == []


async def test_a_router_that_is_told_to_leave_and_then_ends_loses_no_request(
    envoy, servers, regressor, session, wiring, load
):
    """A second router takes over, as behind the Service: callers meet the first one only on open connections."""
    server = servers.start(regressor, "1").wait_ready()
    config = wiring.config(wiring.backend(server, 100))
    await envoy.apply(config)
    await envoy.healthy(server.settings.revision)
    load.rate = 200
    running = asyncio.create_task(load.run(session))
    await asyncio.sleep(0.5)
    async with session.post(f"http://127.0.0.1:{envoy.paths.admin_port}/healthcheck/fail") as response:
        assert response.status == 200
    await asyncio.sleep(0.5)
    async with session.post(f"{envoy.url}/v2/models/churn/infer", data=b"{}") as response:
        assert response.headers["connection"] == "close"
    load.stop()
    await running
    envoy.stop()
    assert load.failures == []
    assert load.sent > 150


async def test_a_broken_file_leaves_the_last_good_configuration_in_force(
    envoy, servers, regressor, session, wiring, load
):
    server = servers.start(regressor, "1").wait_ready()
    config = wiring.config(wiring.backend(server, 100))
    await envoy.apply(config)
    await envoy.healthy(server.settings.revision)
    version = envoy.directory / "..broken"
    version.mkdir()
    for name in ("bootstrap.yaml", "cds.yaml", "rds.yaml"):
        (version / name).write_text("resources: [{not: yaml")
    (envoy.directory / "..data_tmp").symlink_to(version.name)
    (envoy.directory / "..data_tmp").rename(envoy.directory / "..data")
    await asyncio.sleep(0.5)
    await load.run(session, 20)
    assert load.failures == []
    assert await envoy.text("/generation") == config.generation


async def test_a_large_body_is_kept_for_the_retry(envoy, servers, regressor, failing, session, wiring):
    stable = servers.start(regressor, "1").wait_ready()
    canary = servers.start(failing, "2").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(stable, 0), wiring.backend(canary, 100, fallback="1")))
    await envoy.healthy(stable.settings.revision)
    await envoy.healthy(canary.settings.revision)
    rows = 15_000
    tensor = {"name": "numeric", "datatype": "FP32", "shape": [rows, 10], "data": [0.5] * (rows * 10)}
    async with session.post(f"{envoy.url}/v2/models/churn/infer", json={"inputs": [tensor]}) as response:
        assert response.status == 200
        assert (await response.json())["model_version"] == "1"


async def test_envoy_has_nothing_to_warn_of(envoy, servers, regressor, wiring):
    server = servers.start(regressor, "1").wait_ready()
    await envoy.apply(wiring.config(wiring.backend(server, 100)))
    await envoy.healthy(server.settings.revision)
    assert envoy.log() == ""


@pytest.mark.parametrize(
    "backends",
    [
        (),
        (router.Backend("aaaaaaaa", "a.svc", weight=100),),
        (
            router.Backend("aaaaaaaa", "a.svc", weight=95),
            router.Backend("bbbbbbbb", "b.svc", weight=5, fallback="aaaaaaaa"),
        ),
    ],
    ids=["nothing", "stable", "canary"],
)
def test_every_configuration_is_valid_to_envoy(tmp_path, wiring, backends):
    from millrace.render import router_bootstrap

    paths = router_bootstrap.RouterPaths(str(tmp_path), "127.0.0.1")
    for name, text in router.config_map_data(router.RouterConfig(backends), paths).items():
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        [str(wiring.envoy_binary()), "--mode", "validate", "-c", str(tmp_path / "bootstrap.yaml")],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert checked.returncode == 0, checked.stderr
