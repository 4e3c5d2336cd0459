"""What kstatus says of an object: what Flux waits for, and what `kpt` and Argo CD's health checks are modelled on.

The rules are those of `Compute` in sigs.k8s.io/cli-utils/pkg/kstatus/status (v0.37) for a kind that it does not know by
name: deletion, generation, Reconciling and Stalled in the order in which the conditions stand, then Ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Result = Literal["Terminating", "InProgress", "Failed", "Current"]


def compute(manifest: Mapping[str, Any]) -> Result:
    """The status of a custom resource as the API server shows it."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and observed != generation:
        return "InProgress"
    conditions = status.get("conditions") or []
    for one in conditions:
        if one["type"] == "Reconciling" and one["status"] == "True":
            return "InProgress"
        if one["type"] == "Stalled" and one["status"] == "True":
            return "Failed"
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready is None or ready["status"] == "True":
        return "Current"
    return "InProgress"
