"""SIGTERM under load: no request is lost, and the process ends by itself."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from serving_kit import models, process

DRAIN = 1.5


async def test_every_request_that_arrives_during_the_drain_is_answered(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=DRAIN) as server:
        await asyncio.to_thread(server.wait_ready)
        url = f"http://127.0.0.1:{server.settings.port}"
        bodies = [models.dump(regressor.rows(row, row + 1)) for row in range(100)]
        statuses: list[int] = []
        async with aiohttp.ClientSession() as session:

            async def ask(index: int) -> None:
                async with session.post(f"{url}/v2/models/churn/infer", data=bodies[index % 100]) as response:
                    await response.read()
                    statuses.append(response.status)

            started, index, tasks = time.monotonic(), 0, []
            while time.monotonic() < started + 1 + DRAIN * 0.8:
                if index == 200:
                    server.terminate()
                tasks.append(asyncio.create_task(ask(index)))
                index += 1
                await asyncio.sleep(max(0.0, started + index / 200 - time.monotonic()))
            await asyncio.gather(*tasks)
        assert statuses == [200] * index
        assert index > 350
        assert await asyncio.to_thread(server.wait_exit, 10) == 0


async def test_a_request_still_being_sent_when_the_drain_ends_is_answered(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=0.5) as server:
        await asyncio.to_thread(server.wait_ready)
        body = models.dump(regressor.rows(0, 1))

        async def slowly():
            yield body[:10]
            await asyncio.sleep(2)
            yield body[10:]

        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.settings.port}/v2/models/churn/infer"
            asked = asyncio.create_task(session.post(url, data=slowly()))
            await asyncio.sleep(0.5)
            server.terminate()
            response = await asked
            assert response.status == 200
            response.release()
        assert await asyncio.to_thread(server.wait_exit, 10) == 0


def test_readiness_goes_at_once_and_connections_are_closed_one_by_one(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=2) as server:
        server.wait_ready()
        assert "connection" not in server.infer(regressor.rows(0, 1)).headers
        server.terminate()
        deadline = time.monotonic() + 1
        while server.get("/v2/health/ready").status == 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        ready = server.get("/v2/health/ready")
        assert (ready.status, ready.json()) == (503, {"live": True, "ready": False})
        assert server.get("/v2/health/live").status == 200
        answer = server.infer(regressor.rows(0, 1))
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert "millrace_ready{" in server.get("/metrics").body.decode()
        assert server.wait_exit(10) == 0
