"""A small kind of its own, so that the kernel can be tested without ours: a Widget has one ConfigMap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.decide.plan import Event, Plan

WIDGETS = ResourceType(group="test.millrace.dev", version="v1", plural="widgets", kind="Widget")


def widget_definition() -> Manifest:
    """A CustomResourceDefinition with a status subresource and conditions, and nothing else."""
    condition = {
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in ("type", "status", "reason", "message", "lastTransitionTime")},
            "observedGeneration": {"type": "integer"},
        },
    }
    status = {
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer"},
            **{name: {"type": "string"} for name in ("said", "message")},
            "conditions": {
                "type": "array",
                "items": {**condition, "required": ["type"]},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    }
    spec = {"type": "object", "properties": {name: {"type": "string"} for name in ("text", "extra")}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    version = {
        "name": WIDGETS.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{WIDGETS.plural}.{WIDGETS.group}"},
        "spec": {
            "group": WIDGETS.group,
            "scope": "Namespaced",
            "names": {"plural": WIDGETS.plural, "singular": "widget", "kind": WIDGETS.kind},
            "versions": [version],
        },
    }


def make_widget(name: str, text: str = "hello", namespace: str = "default", **metadata: Any) -> Manifest:
    """A Widget to create."""
    return {
        "apiVersion": WIDGETS.api_version,
        "kind": WIDGETS.kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"text": text},
    }


@dataclass(frozen=True)
class WidgetSeen:
    """What there is to know about a Widget."""

    widget: Manifest
    child: Manifest | None
    now: datetime


async def observe_widget(world: World, namespace: str, name: str) -> WidgetSeen | None:
    """The Widget and its ConfigMap, from the cache."""
    widget = world.store.get(WIDGETS, namespace, name)
    if widget is None:
        return None
    children = world.store.owned(resources.CONFIG_MAPS, widget["metadata"]["uid"])
    return WidgetSeen(widget, children[0] if children else None, world.clock.now())


def decide_widget(seen: WidgetSeen) -> Plan:
    """One ConfigMap of the Widget's name holding its text; Ready once the cache shows it."""
    metadata, text = seen.widget["metadata"], seen.widget["spec"]["text"]
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": metadata["name"], "labels": {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}},
        "data": {"text": text},
    }
    before = {one["type"]: one for one in (seen.widget.get("status") or {}).get("conditions") or ()}
    ready = "True" if seen.child is not None and seen.child["data"].get("text") == text else "False"
    known = before.get("Ready")
    since = known["lastTransitionTime"] if known and known["status"] == ready else seen.now.isoformat()
    condition = {"type": "Ready", "status": ready, "reason": "Told", "message": "", "lastTransitionTime": since}
    return Plan(
        children=(child,),
        status={"said": text, "observedGeneration": metadata["generation"], "conditions": [condition]},
        events=(Event(reason="Told", message=f"said {text}"),) if ready == "True" else (),
    )
