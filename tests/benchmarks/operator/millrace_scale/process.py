"""Our operator as a process under measurement: `python -m millrace_scale.process whole|kernel`.

Settings come from MILLRACE_* variables.

`whole` is the operator as installed. Only scraping is off, because fake pods answer nothing: what routers would say is
read off their ConfigMap, so that a Deployment reaches 100 %. `kernel` is the same process with one small kind in place
of ours, the very work of the Go twin: one ConfigMap and one status for each Widget.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

# ruff: noqa: E402 - the operator's image lacks this test dependency, which kopf would import: 10 MiB
sys.modules["kubernetes"] = None  # type: ignore[assignment]

from millrace import api, settings, telemetry, wiring
from millrace.api import keys, resources
from millrace.clients import credentials
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.controller.routing import Controller
from millrace.decide.deployment.observation import Router, Scraped
from millrace.decide.plan import Plan
from millrace.observe import policy
from millrace.render import names
from millrace_kit import widgets
from millrace_kit.widgets import WIDGETS

_GENERATION = re.compile(r"inline_string: '?([0-9a-f]{16})")
_REVISION = re.compile(r"^- '@type': .*\n  name: '?([0-9a-f]{8})'?$", re.MULTILINE)

Duties = list[Callable[[], Awaitable[None]]]


class ObedientRouters:
    """Stands in for the scrapes: every router applies what its ConfigMap says and finds every server healthy."""

    def __init__(self, world: World) -> None:
        self._world = world

    def scraped(self, _: api.Deployment) -> Scraped:
        """Nobody sends requests."""
        return Scraped()

    def router(self, namespace: str, name: str, pod_uid: str) -> Router | None:
        """What the router would answer now; None before it has files."""
        files = self._world.store.get(resources.CONFIG_MAPS, namespace, names.router(name))
        found = _GENERATION.search(files["data"]["rds.yaml"]) if files is not None else None
        if files is None or found is None:
            return None
        healthy = dict.fromkeys(_REVISION.findall(files["data"]["cds.yaml"]), 1)
        return Router(pod=pod_uid, generation=found[1], healthy=healthy, asked=self._world.clock.now())


def without_scraping(world: World) -> tuple[Duties, Duties]:
    """The background tasks of `wiring.background`, with routers that are asked in memory."""
    world.scrapes = ObedientRouters(world)

    async def watch_policies() -> None:
        await policy.watch(world)

    return [], [watch_policies]


def decide_widget(seen: widgets.WidgetSeen) -> Plan:
    """One ConfigMap, one status, no Event: what the twin does."""
    metadata, text = seen.widget["metadata"], seen.widget["spec"]["text"]
    child: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": metadata["name"], "labels": {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}},
        "data": {"text": text},
    }
    return Plan(children=(child,), status={"said": text, "observedGeneration": metadata["generation"]})


def operator(role: str, environ: dict[str, str]) -> wiring.Operator:
    """The operator of that role. Raises SettingsError, CredentialsError."""
    chosen, identity = settings.parse(environ), credentials.load(environ)
    telemetry.configure_logs(chosen.log_level)
    if role == "kernel":
        kind: Any = Controller(WIDGETS, widgets.observe_widget, decide_widget)
        return wiring.Operator(chosen, identity, [kind], children=[resources.CONFIG_MAPS])
    return wiring.Operator(chosen, identity, wiring.controllers(), tasks=without_scraping)


if __name__ == "__main__":
    uvloop.run(operator(sys.argv[1], dict(os.environ)).run())
