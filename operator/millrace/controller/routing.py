"""From an object that changed to the objects that must be looked at.

1. An object of one of our kinds wakes itself.
2. An object that one of ours controls wakes that one, through its ownerReference.
3. Any other object wakes whom its labels name: a pod of a Job of ours, a Model made for a run, a run made for a
   Deployment.
4. Controllers declare the rest (``watches``): a new Model wakes the Deployments that select it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.clients.store import Key, Manifest, controller_of
from millrace.clients.world import MapFunctions, Observe, World
from millrace.decide.plan import Plan

LABELS: Mapping[str, ResourceType] = {
    keys.DATASET: resources.DATASETS,
    keys.TRAINING_RUN: resources.TRAINING_RUNS,
    keys.DEPLOYMENT: resources.DEPLOYMENTS,
}


@dataclass(frozen=True)
class Controller:
    """One kind: what is looked at, what is decided, and who else wakes it."""

    resource: ResourceType
    observe: Observe
    decide: Callable[[Any], Plan]
    watches: MapFunctions = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The kind in lower case, as dashboards know it."""
        return self.resource.kind.lower()


def route(controllers: Iterable[Controller], world: World, resource: ResourceType, manifest: Manifest) -> Iterator[Key]:
    """The keys to look at because this object appeared, changed or went; may repeat itself."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace") or ""
    by_kind = {(one.resource.api_version, one.resource.kind): one for one in controllers}
    if (resource.api_version, resource.kind) in by_kind:
        yield Key(resource, namespace, metadata["name"])
    owner = controller_of(manifest)
    parent = by_kind.get((owner["apiVersion"], owner["kind"])) if owner is not None else None
    if owner is not None and parent is not None:
        yield Key(parent.resource, namespace, owner["name"])
    else:
        yield from _labelled(by_kind.values(), resource, namespace, metadata)
    for controller in by_kind.values():
        map_function = controller.watches.get(resource)
        if map_function is not None:
            for found in map_function(world, manifest):
                yield Key(controller.resource, *found)


def _labelled(
    controllers: Iterable[Controller], resource: ResourceType, namespace: str, metadata: Mapping[str, Any]
) -> Iterator[Key]:
    known = {controller.resource for controller in controllers}
    labels = metadata.get("labels") or {}
    for label, kind in LABELS.items():
        name = labels.get(label)
        if name and kind in known and (kind, name) != (resource, metadata["name"]):
            yield Key(kind, namespace, name)
