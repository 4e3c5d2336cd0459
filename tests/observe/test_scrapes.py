"""What the scrapes make of pages: sums over restarts, moments to count from, and silence when nothing changed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from millrace import api
from millrace.api import keys, resources
from millrace.clients import scrape
from millrace.clients.scrape import ScrapeFailed
from millrace.clients.store import Manifest, Store
from millrace.clients.world import World
from millrace.observe.exposition import server_page
from millrace.observe.scrapes import Scrapes
from millrace.settings import Settings
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM

STABLE, CANARY = "aaaaaaaa", "bbbbbbbb"


def page(*lines: str) -> str:
    return "# HELP x y\n" + "\n".join(lines) + "\n"


def bins(name: str, *counts: int, feature: str = "tenure") -> list[str]:
    labels = f'model="churn-1",revision="{STABLE}",feature="{feature}"'
    return [f'{name}{{{labels},bin="{index}"}} {count}' for index, count in enumerate(counts)]


def test_a_servers_page_is_read_and_absent_bins_are_zero() -> None:
    live = bins("millrace_feature_bin_total", 3, 0, 4)[::2]
    found = server_page(page(*live, *bins("millrace_reference_bin", 10, 20, 30), "millrace_ready 1"))
    assert found.live == {"tenure": (3, 0, 4)}
    assert found.reference == {"tenure": (10, 20, 30)}


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        'millrace_reference_bin{feature="x",bin="16"} 1',
        'millrace_reference_bin{feature="x",bin="-1"} 1',
        'millrace_reference_bin{feature="x",bin="1"} NaN',
        'millrace_reference_bin{feature="x",bin="1"} -4',
        "\n".join(f'millrace_reference_bin{{feature="x{i}",bin="1"}} 1' for i in range(2001)),
    ],
)
def test_a_page_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        server_page(text)


class Pods:
    """Answers by address and path, and what was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, path: str) -> str:
        kind = path.partition("?")[0]
        self.asked.append(f"{host}{kind}")
        if (host, kind) not in self.answers:
            raise ScrapeFailed(f"{host} is silent")
        return self.answers[host, kind]

    def router(self, host: str, generation: str, requests: int, failed: int = 0) -> None:
        cluster = f'envoy_cluster_name="{CANARY}"'
        route = f'envoy_cluster_name="{CANARY}-route"'
        self.answers[host, "/generation"] = generation
        self.answers[host, "/stats/prometheus"] = page(
            f"envoy_cluster_upstream_rq_total{{{cluster}}} {requests}",
            f"envoy_cluster_membership_healthy{{{cluster}}} 1",
            f"envoy_cluster_upstream_rq_completed{{{route}}} {requests}",
            f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{route}}} {failed}',
        )

    def server(self, host: str, live: tuple[int, ...], reference: tuple[int, ...]) -> None:
        lines = [*bins("millrace_feature_bin_total", *live), *bins("millrace_reference_bin", *reference)]
        self.answers[host, "/metrics"] = page(*lines)


class Scene:
    """A Deployment, a router and a server, and who was woken."""

    def __init__(self) -> None:
        self.pods = Pods()
        self.woken: list[str] = []
        settings = Settings(namespace="operator", watch="*", **PLATFORM.model_dump())
        kube: Any = None
        self.world = World(Store(), kube, ManualClock(), settings)  # type: ignore[arg-type]
        self.world.enqueue = lambda resource, namespace, name: self.woken.append(name)
        self.scrapes = Scrapes(self.world, self.pods)
        self.version = 0
        self.put(self.pod("r-0", "10.0.0.1", "router"))
        self.put(self.pod("s-0", "10.0.0.2", "server"))

    def put(self, manifest: Manifest) -> None:
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        self.world.store.put(resources.of(manifest), manifest)

    def pod(self, name: str, address: str, component: str) -> Manifest:
        labels = {keys.COMPONENT: component, keys.DEPLOYMENT: "churn", keys.REVISION: STABLE}
        status = {"podIP": address, "containerStatuses": [{"state": {"running": {}}}]}
        return make_manifest(resources.PODS, name, namespace="ml", labels=labels, status=status)

    def deployment(
        self, step: str | None = None, *, stable: bool = True, started: str = "2026-01-01T00:00:00Z"
    ) -> api.Deployment:
        metric = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.05}}
        steps = [{"setWeight": 50}, {"analysis": {"metrics": [metric]}}]
        spec = {
            "modelSelector": {"modelName": "churn"},
            "strategy": {"canary": {"steps": steps, "analysis": {"metrics": [metric]}}},
            "monitoring": {"drift": {"interval": "10s"}},
        }
        base = {"version": 1, "digest": f"sha256:{1:064x}", "weight": 50, "since": "2026-01-01T00:00:00Z"}
        status: dict[str, Any] = {}
        if stable:
            status["stable"] = {"revision": STABLE, "model": "churn-1", **base}
        if step is not None:
            status["canary"] = {"revision": CANARY, "model": "churn-2", **base}
            status["rollout"] = {"startedTime": started, "stepStartedTime": step, "currentStepIndex": 1}
        manifest = make_manifest(resources.DEPLOYMENTS, "churn", namespace="ml", spec=spec, status=status)
        self.put(manifest)
        return api.Deployment.model_validate(manifest)

    async def round(self, seconds: float = 2.0) -> None:
        self.world.clock.advance(seconds)  # type: ignore[attr-defined]
        await self.scrapes.round()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def rounds(scene: Scene, *requests: tuple[int, int]) -> None:
    """So many requests and failures have been counted at each of these rounds."""
    for total, failed in requests:
        scene.pods.router("10.0.0.1", "g1", total, failed=failed)
        await scene.round()


def since(scene: Scene, seen: api.Deployment) -> dict[str, tuple[int, int]]:
    """Requests and failures of the canary, since the rollout and since the step."""
    found = {}
    for window in scene.scrapes.scraped(seen).traffic:
        for kind, counted in (("rollout", window.since_rollout), ("step", window.since_step)):
            strata = counted.strata if counted is not None else ()
            found[kind] = (sum(one.canary.completed for one in strata), sum(one.canary.failed for one in strata))
    return found


async def test_a_rollout_and_a_step_count_from_when_they_were_first_seen(scene: Scene) -> None:
    scene.deployment("2026-01-01T00:00:01Z")
    await rounds(scene, (100, 2), (120, 2))
    seen = scene.deployment("2026-01-01T00:00:09Z")
    await rounds(scene, (120, 2), (150, 2))
    assert since(scene, seen) == {"rollout": (50, 0), "step": (30, 0)}
    (traffic,) = scene.scrapes.scraped(seen).traffic
    assert seen.status.rollout is not None
    assert (traffic.rollout, traffic.step) == (seen.status.rollout.started_time, seen.status.rollout.step_started_time)


async def test_a_second_try_within_seconds_is_not_judged_on_the_first(scene: Scene) -> None:
    """Its cluster never left the routers, so its counters go on from the failures of the first try."""
    scene.deployment("2026-01-01T00:00:00Z")
    await rounds(scene, (0, 0), (500, 500))
    scene.deployment(None)
    await rounds(scene, (510, 510))
    again = scene.deployment("2026-01-01T00:00:30Z", started="2026-01-01T00:00:30Z")
    await rounds(scene, (510, 510), (600, 510))
    assert since(scene, again) == {"rollout": (90, 0), "step": (90, 0)}


async def test_an_operator_that_starts_over_does_not_count_what_was_before_it(scene: Scene) -> None:
    """Nobody can tell the failures of an earlier try from those of this one; it takes longer, and is never wrong."""
    seen = scene.deployment("2026-01-01T00:00:00Z")
    await rounds(scene, (0, 0), (500, 500))
    scene.scrapes = Scrapes(scene.world, scene.pods)
    await rounds(scene, (500, 500), (520, 500))
    assert since(scene, seen) == {"rollout": (20, 0), "step": (20, 0)}
    (traffic,) = scene.scrapes.scraped(seen).traffic
    assert traffic.since_rollout is not None
    assert seen.status.rollout is not None
    assert seen.status.rollout.started_time is not None
    assert traffic.since_rollout.since > seen.status.rollout.started_time


async def test_an_answer_wakes_only_when_a_decision_depends_on_it(scene: Scene) -> None:
    scene.deployment("2026-01-01T00:00:01Z")
    scene.pods.router("10.0.0.1", "g1", 0)
    await scene.round()
    assert scene.woken == ["churn"]
    scene.pods.router("10.0.0.1", "g1", 1002)
    await scene.round()
    assert scene.woken == ["churn"] * 2
    scene.pods.router("10.0.0.1", "g1", 1003)
    await scene.round()
    assert scene.woken == ["churn"] * 2, "one request more changes nothing"
    scene.pods.router("10.0.0.1", "g2", 1003)
    await scene.round()
    assert scene.woken == ["churn"] * 3


async def test_an_idle_deployment_is_asked_seldom_and_wakes_nobody(scene: Scene) -> None:
    scene.deployment()
    scene.pods.router("10.0.0.1", "g1", 10)
    scene.pods.server("10.0.0.2", (0, 0), (500, 500))
    await scene.round()
    woken = len(scene.woken)
    scene.pods.asked.clear()
    for _ in range(30):
        await scene.round(1.0)
    assert len(scene.woken) == woken
    assert len(scene.pods.asked) <= 9, "three pages every 10 s"


async def test_a_deployment_is_read_when_it_changed_or_is_due_and_not_every_tick(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = api.Deployment.model_validate
    monkeypatch.setattr(api.Deployment, "model_validate", lambda one: reads.append("read") or read(one))
    scene.deployment()
    reads.clear()
    for _ in range(19):
        await scene.round(0.5)
    assert reads == ["read"]
    scene.deployment("2026-01-01T00:00:01Z")
    reads.clear()
    await scene.round(0.1)
    assert reads == ["read"], "a rollout that begins is noticed at once"


async def test_what_was_known_of_a_deployment_goes_with_it(scene: Scene) -> None:
    seen = scene.deployment("2026-01-01T00:00:01Z")
    scene.pods.router("10.0.0.1", "g1", 10)
    await scene.round()
    assert scene.scrapes.router("ml", "churn", "uid-r-0") is not None
    scene.world.store.drop(resources.DEPLOYMENTS, "ml", "churn")
    await scene.round()
    assert scene.scrapes.router("ml", "churn", "uid-r-0") is None
    assert not scene.scrapes.scraped(seen).traffic


async def test_a_malformed_deployment_is_left_alone_until_it_is_mended(scene: Scene) -> None:
    scene.pods.router("10.0.0.1", "g1", 10)
    scene.put(make_manifest(resources.DEPLOYMENTS, "churn", namespace="ml", spec={"replicas": "many"}, status={}))
    await scene.round()
    assert scene.pods.asked == []
    scene.deployment("2026-01-01T00:00:01Z")
    await scene.round()
    assert scene.pods.asked


async def test_a_rollout_is_asked_about_every_two_seconds(scene: Scene) -> None:
    scene.deployment("2026-01-01T00:00:01Z")
    scene.pods.router("10.0.0.1", "g1", 10)
    for _ in range(10):
        await scene.round(1.0)
    assert scene.pods.asked.count("10.0.0.1/generation") == 5


async def test_the_answer_of_a_router_that_falls_silent_expires(scene: Scene) -> None:
    scene.deployment("2026-01-01T00:00:01Z")
    scene.pods.router("10.0.0.1", "g1", 10)
    await scene.round()
    assert scene.scrapes.router("ml", "churn", "uid-r-0") is not None
    scene.pods.answers.clear()
    for _ in range(8):
        await scene.round()
    assert scene.scrapes.router("ml", "churn", "uid-r-0") is None
    assert len(scene.woken) == 2


async def test_drift_is_judged_on_the_rows_of_the_stable_servers(scene: Scene) -> None:
    seen = scene.deployment()
    scene.pods.router("10.0.0.1", "g1", 0)
    scene.pods.server("10.0.0.2", (900, 100), (5000, 5000))
    await scene.round()
    watched = scene.scrapes.scraped(seen).drift
    assert watched is not None
    assert (watched.revision, watched.verdict.state, watched.verdict.worst_feature) == (STABLE, "Drifted", "tenure")


async def test_an_operator_that_starts_over_counts_from_the_pods_own_counters(scene: Scene) -> None:
    seen = scene.deployment()
    scene.pods.server("10.0.0.2", (300, 300), (5000, 5000))
    await scene.round()
    again = Scrapes(scene.world, scene.pods)
    await again.round()
    assert again.scraped(seen) == scene.scrapes.scraped(seen)
    assert again.scraped(seen).drift is not None


async def test_a_replica_that_leads_again_asks_over_connections_of_its_new_term(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_terms: list[int] = []
    asked: list[int] = []
    terms = itertools.count(1)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[scrape.Fetch]:
        term = next(terms)
        open_terms.append(term)

        async def fetch(host: str, port: int, path: str) -> str:
            assert term in open_terms, "Session is closed"
            asked.append(term)
            return await scene.pods(host, port, path)

        try:
            yield fetch
        finally:
            open_terms.remove(term)

    monkeypatch.setattr(scrape, "opened", opened)
    scene.deployment()
    scrapes = Scrapes(scene.world)
    for term in (1, 2):
        leading = asyncio.create_task(scrapes.run())
        for _ in range(1000):
            if term in asked or leading.done():
                break
            await asyncio.sleep(0)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    assert set(asked) == {1, 2}


async def test_pages_of_nonsense_are_survived(scene: Scene) -> None:
    scene.deployment("2026-01-01T00:00:01Z")
    for path in ("/generation", "/stats/prometheus"):
        scene.pods.answers["10.0.0.1", path] = "\x00{{{"
    scene.pods.answers["10.0.0.2", "/metrics"] = "a b c d"
    await scene.round()
    assert scene.scrapes.router("ml", "churn", "uid-r-0") is None


async def test_a_pod_is_asked_briefly_and_for_little() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.query.get("status", 200)), text="x" * int(request.query["size"]))

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with scrape.opened(largest=1000) as fetch:
            assert await fetch("127.0.0.1", port, "/metrics?size=1000") == "x" * 1000
            with pytest.raises(ScrapeFailed, match="more than 1000 bytes"):
                await fetch("127.0.0.1", port, "/metrics?size=1001")
            with pytest.raises(ScrapeFailed, match="503"):
                await fetch("127.0.0.1", port, "/metrics?size=1&status=503")
    finally:
        await runner.cleanup()
    async with scrape.opened(seconds=0.5) as fetch:
        with pytest.raises(ScrapeFailed):
            await fetch("127.0.0.1", port, "/metrics?size=1")
