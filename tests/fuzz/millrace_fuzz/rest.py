"""When an object has come to rest, and what is left of it when everything that may differ is taken away."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from typing import Any

from millrace.api import keys, reasons
from millrace.api.reasons.any_kind import AnyKindReason

from .schema import Manifest

MOVING = frozenset(
    {
        "LookingAtSource", "NotLookedYet", "Fetching", "Training", "Evaluating", "PodNotStarted", "PolicyUnknown",
        "Starting", "ServersNotReady", "RoutersNotReady", "CanaryProgressing", "LookQueued", "ServersUpgrading",
        "PodRefused", "WeightsNotApplied",
    }
)  # fmt: skip
"""Reasons that pass by themselves within seconds."""
LEAVING = frozenset({"Retiring", "CanaryAnalysing", "CanaryPaused", "Superseded", "AnalysisInconclusive"})
"""Reasons at which a changed object may rest, but not one that went back to its seed."""
FORGOTTEN = frozenset(
    {
        "observedGeneration", "lastTransitionTime", "jobName", "version", "versions", "uri", "lastCheckTime",
        "nextCheckTime", "createdTime", "since", "startTime", "completionTime", "stageStartTime", "rollout", "history",
        "acceptedGeneration", "imageTime", "starts", "evaluatedTime", "nextAllowedTime", "candidate", "retiring",
        "analysis",
    }
)  # fmt: skip
"""Fields of a status that count or remember: after a way there and back they differ, and should."""
REMEMBERING = frozenset({"Progressing"})
"""Conditions that tell how the last rollout ended."""


def decided_reasons() -> frozenset[str]:
    """Names of all reasons of `millrace.api.reasons`, but for those of an operator that could not go on."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(reasons.__path__):
        for value in vars(importlib.import_module(f"{reasons.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, reasons.Reason):
                found.update(value.__members__)
    return frozenset(found - set(AnyKindReason.__members__))


REASONS = decided_reasons()


def trouble(found: Manifest, *, home: bool = False) -> str:
    """Why an object is not at rest; empty when it is. `home`: it went back to its seed, so nothing may be left."""
    status = found.get("status", {})
    generation = found["metadata"]["generation"]
    if status.get("observedGeneration") != generation:
        return f"observedGeneration {status.get('observedGeneration')} is not generation {generation}"
    if not status.get("conditions"):
        return "there are no conditions"
    moving = MOVING | LEAVING if home else MOVING
    why = next(filter(None, (_condition_trouble(one, generation, moving) for one in status["conditions"])), "")
    if not why and home and (status.get("retiring") or status.get("canary")):
        return "a revision that is not the seed's is still there"
    return why


def _condition_trouble(one: Manifest, generation: int, moving: frozenset[str]) -> str:
    if one["reason"] not in REASONS:
        return f"{one['type']} is {one['status']} for {one['reason']}: {one['message']}"
    if one.get("observedGeneration") != generation:
        return f"{one['type']} is about generation {one.get('observedGeneration')}, not {generation}"
    if one["type"] == "Reconciling" and one["status"] == "True" and one["reason"] in moving:
        return f"it is still {one['reason']}: {one['message']}"
    return ""


def canonical(found: Manifest, children: Iterable[Manifest]) -> Manifest:
    """Spec, status and children without names' suffixes, times and counts."""
    return {
        "spec": found["spec"],
        "status": _plain(found.get("status", {})),
        "children": sorted((_child(one) for one in children), key=lambda one: (one["kind"], one["name"])),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name not in FORGOTTEN}
    if isinstance(value, list):
        kept = [one for one in value if not (isinstance(one, dict) and one.get("type") in REMEMBERING)]
        return [_plain(one) for one in kept]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", text)
    text = re.sub(r"\b\d\d:\d\d(:\d\d)?( UTC)?\b", "<time>", text)
    text = re.sub(r"\b[Vv]ersion \d+", "version <n>", text)
    return re.sub(r"-\d+\b", "-<n>", text)


def _child(found: Manifest) -> Manifest:
    metadata = found["metadata"]
    spec = {name: item for name, item in found.get("spec", {}).items() if name not in ("clusterIP", "clusterIPs")}
    return {
        "kind": found["kind"],
        "name": metadata["name"],
        "labels": {name: item for name, item in metadata.get("labels", {}).items() if name.startswith(keys.GROUP)},
        "spec": spec,
        "data": found.get("data", {}),
    }


def differences(now: Any, before: Any, path: str = "") -> list[str]:
    """Where two canonical forms differ, as sentences."""
    if isinstance(now, dict) and isinstance(before, dict):
        names = sorted({*now, *before})
        return [text for name in names for text in differences(now.get(name), before.get(name), f"{path}.{name}")]
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        pairs = enumerate(zip(now, before, strict=True))
        return [text for number, (a, b) in pairs for text in differences(a, b, f"{path}[{number}]")]
    return (
        [] if now == before else [f"{path.removeprefix('.')} is {_short(now)}, with the seed it was {_short(before)}"]
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 160 else f"{text[:157]}..."
