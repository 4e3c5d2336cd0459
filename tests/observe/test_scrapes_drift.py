"""Which rows drift is judged on, and by which rule, when a person ended an alarm or changed the spec."""

from __future__ import annotations

import copy

import pytest

from millrace import api
from millrace.api import resources
from millrace.decide.deployment import drift
from millrace.observe.scrapes import Scrapes

from .test_scrapes import STABLE, Scene, scene

__all__ = ["scene"]

BEFORE, AFTER = "2026-11-21T07:00:00Z", "2026-11-21T09:00:00Z"


def acknowledged(scene: Scene) -> api.Deployment:
    """The Deployment after a person ended a drift alarm."""
    manifest = copy.deepcopy(scene.world.store.get(resources.DEPLOYMENTS, "ml", "churn"))
    assert manifest is not None
    known = {"state": "InsufficientData", "revision": STABLE, "acknowledgedTime": "2026-11-21T08:00:00Z"}
    manifest["status"]["monitoring"] = {"drift": known}
    scene.put(manifest)
    return api.Deployment.model_validate(manifest)


def server_pod(scene: Scene, name: str, address: str, began: str) -> None:
    made = scene.pod(name, address, "server")
    made["status"]["startTime"] = began
    scene.put(made)


def watched(scrapes: Scrapes, seen: api.Deployment) -> drift.Verdict:
    found = scrapes.scraped(seen).drift
    assert found is not None
    return found.verdict


@pytest.mark.parametrize("starts_over", [False, True], ids=["goes-on", "starts-over"])
async def test_rows_served_before_an_alarm_was_ended_do_not_count(scene: Scene, starts_over: bool) -> None:
    scene.deployment()
    server_pod(scene, "s-0", "10.0.0.2", BEFORE)
    scene.pods.server("10.0.0.2", (900, 100), (5000, 5000))
    await scene.round()
    seen = acknowledged(scene)
    scrapes = Scrapes(scene.world, scene.pods) if starts_over else scene.scrapes
    scene.world.clock.advance(20)  # type: ignore[attr-defined]
    await scrapes.round()
    assert watched(scrapes, seen) == drift.Verdict(), "nothing was served since"
    scene.pods.server("10.0.0.2", (1200, 400), (5000, 5000))
    server_pod(scene, "s-1", "10.0.0.3", AFTER)
    scene.pods.server("10.0.0.3", (300, 300), (5000, 5000))
    scene.world.clock.advance(20)  # type: ignore[attr-defined]
    await scrapes.round()
    assert (watched(scrapes, seen).state, watched(scrapes, seen).samples) == ("None", 1200)


async def test_the_rows_counted_so_far_are_judged_again_under_another_rule(scene: Scene) -> None:
    seen = scene.deployment()
    scene.pods.server("10.0.0.2", (900, 100), (5000, 5000))
    await scene.round()
    first = scene.scrapes.scraped(seen).drift
    assert first is not None
    assert first.verdict.state == "Drifted"
    manifest = copy.deepcopy(scene.world.store.get(resources.DEPLOYMENTS, "ml", "churn"))
    assert manifest is not None
    manifest["spec"]["monitoring"]["drift"]["margin"] = 0.9
    scene.put(manifest)
    await scene.round(20)
    second = scene.scrapes.scraped(api.Deployment.model_validate(manifest)).drift
    assert second is not None
    assert (second.verdict.state, second.verdict.samples) == ("None", 1000)
    assert second.basis != first.basis
