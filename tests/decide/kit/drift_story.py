"""What the scrapes say of drift while rows come in: one of the stories of `field_stories`."""

from __future__ import annotations

import asyncio
from typing import Any

from millrace import api
from millrace.api import keys, resources
from millrace.observe.scrapes import Scrapes
from millrace_kit.manifests import make_manifest
from one_pass import cache, one


def watched(spec: dict[str, Any]) -> Any:
    """What the scrapes say of drift: rows come in, and differ a little from some moment on."""
    revision = "aaaaaaaa"
    status = {
        "stable": {
            "revision": revision, "model": "churn-1", "version": 1, "digest": f"sha256:{1:064x}", "weight": 100,
            "since": "2026-11-21T07:00:00Z",
        }
    }  # fmt: skip
    found = one(resources.DEPLOYMENTS, "churn", spec, status)
    labels = {keys.COMPONENT: "server", keys.DEPLOYMENT: "churn", keys.REVISION: revision}
    pod = make_manifest(
        resources.PODS, "s-0", namespace="ml", labels=labels,
        status={"podIP": "10.0.0.2", "containerStatuses": [{"state": {"running": {}}}]},
    )  # fmt: skip
    world = cache(found, pod)
    served = [0]

    async def fetch(host: str, port: int, path: str) -> str:
        served[0] += 40
        shifted = max(0, served[0] - 600)
        bins = (served[0] - shifted, int(0.6 * shifted), shifted - int(0.6 * shifted))
        rows = [f'millrace_feature_bin_total{{feature="x",bin="{i}"}} {count}' for i, count in enumerate(bins)]
        reference = [f'millrace_reference_bin{{feature="x",bin="{i}"}} {c}' for i, c in enumerate((9000, 900, 100))]
        return "\n".join([*rows, *reference])

    scrapes = Scrapes(world, fetch)

    async def watch() -> list[str]:
        told = []
        for _ in range(60):
            world.clock.advance(5.0)  # type: ignore[attr-defined]
            await scrapes.round()
            told.append(str(scrapes.scraped(api.Deployment.model_validate(found)).drift))
        return told

    return asyncio.run(watch())
