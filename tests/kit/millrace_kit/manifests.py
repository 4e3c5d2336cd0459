"""Objects as the API server would show them."""

from __future__ import annotations

from typing import Any

from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest


def make_manifest(
    resource: ResourceType,
    name: str,
    *,
    namespace: str = "default",
    uid: str = "",
    version: str = "1",
    owner: Manifest | None = None,
    **rest: Any,
) -> Manifest:
    """An object as a watch shows it; ``rest`` are top-level fields, ``labels`` among them go to the metadata."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": version,
        "generation": 1,
    }
    if "labels" in rest:
        metadata["labels"] = rest.pop("labels")
    if owner is not None:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}]
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}
