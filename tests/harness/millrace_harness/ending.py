"""Where a run ended, in a form that two runs of the same workload share: no UIDs, versions, times or counts of chance.

    Deployment churn: status.stable.model = churn-2
    ConfigMap churn-router: data.rds.yaml = ...

Pods are counted by their owner and readiness, since their names are random.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from .history import Manifest, kind_of

UNCOUNTED: Final = frozenset({"leases", "events", "endpoints", "endpointslices"})
"""Left out: Leases and Events say nothing about the end; endpoints are another controller's."""
FORGOTTEN: Final = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "observedGeneration"}
)
"""Fields that tell how often or when something was written, not what it says."""
BY_CHANCE: Final = frozenset(
    {"samples", "window", "value", "analysis", "score", "psi", "worstFeature", "handled", "drainedTime", "since"}
)
"""Counts and measurements of the moment: more or fewer when the operator was away for a while."""
TEXT: Final = frozenset({"message", "waitingFor", "lastVerdictReason"})
"""For people; may name moments and counts."""
BY_THE_CONTROL_PLANE: Final = frozenset({"jobs", "workloads", "services"})
"""Kinds whose defaults and status the API server and its controllers fill in."""

_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\buid-\d+\b")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")
_HASHED = re.compile(r"-[0-9a-f]{8,16}\b")

Canonical = Mapping[str, Any]
"""`<kind> <name>`: what is to be the same."""


def canonical(objects: Iterable[Manifest]) -> dict[str, Any]:
    """The objects in the form that is compared. Two objects that come out under one name are both kept."""
    found: dict[str, Any] = {}
    pods: Counter[str] = Counter()
    for manifest in objects:
        kind = kind_of(manifest)
        if kind in UNCOUNTED:
            continue
        if kind == "pods":
            pods[f"pods of {_owner(manifest)}, {_state(manifest)}"] += 1
            continue
        name = f"{kind} {bare(manifest['metadata']['name'])}"
        while name in found:
            name += " (another)"
        found[name] = _wanted(kind, manifest)
    return found | dict(pods)


def doubles(objects: Iterable[Manifest]) -> list[str]:
    """Objects that differ in nothing but a hash in their names and belong to one owner: made twice."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for manifest in objects:
        kind = kind_of(manifest)
        if kind == "jobs":
            counts[kind, bare(manifest["metadata"]["name"]), _owner_uid(manifest)] += 1
    return [f"{count} {kind} {name} of one owner" for (kind, name, _), count in counts.items() if count > 1]


def differences(end: Canonical, other: Canonical, alike: Sequence[str] = ()) -> list[str]:
    """On which fields two endings differ, as sentences: `other` is the undisturbed one.

    Objects of the names in `alike` were told to do the same at the same time: each may stand for any other.
    """
    orders = itertools.permutations(alike)
    found = (list(_differ("", _exchanged(end, dict(zip(alike, order, strict=True))), other)) for order in orders)
    return min(found, key=len)


def _exchanged(value: Any, names: Mapping[str, str]) -> Any:
    """The same with other names; words are names, and the parts of `<kind> <name>`."""
    if isinstance(value, Mapping):
        return {_exchanged(name, names): _exchanged(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [_exchanged(one, names) for one in value]
    if isinstance(value, str) and names:
        return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], value)
    return value


def bare(name: str) -> str:
    """The name without hashes of UIDs, which differ between runs."""
    return _HASHED.sub("-*", name)


def _wanted(kind: str, manifest: Manifest) -> Any:
    if kind == "jobs":  # its spec is in its name; of its status only the verdict counts
        conditions = (manifest.get("status") or {}).get("conditions") or ()
        return {"ended": sorted(one["type"] for one in conditions if one.get("status") == "True")}
    if kind == "services":
        return {"labels": _plain(manifest["metadata"].get("labels") or {})}
    if kind == "workloads":
        spec = manifest.get("spec") or {}
        return {"labels": _plain(manifest["metadata"].get("labels") or {}), "replicas": spec.get("replicas")}
    kept = {name: manifest[name] for name in ("spec", "status", "data") if name in manifest}
    if kind == "trainingruns" and _is_out_of_time(manifest):  # its pod is gone: who did not see its stage never will
        kept["status"] = {name: value for name, value in kept["status"].items() if name != "stage"}
    kept["labels"] = manifest["metadata"].get("labels") or {}
    return _plain(kept)


def _is_out_of_time(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return any(one.get("reason") == "DeadlineExceeded" for one in conditions)


def _plain(value: Any) -> Any:
    """Without what differs between runs; a list of conditions becomes a mapping by type."""
    if isinstance(value, Mapping):
        return {name: _plain(_short_reason(name, one)) for name, one in value.items() if _is_kept(name, one)}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(one, Mapping) and "type" in one and "status" in one for one in value):
            return {one["type"]: [one["status"], one.get("reason")] for one in value}
        return [_plain(one) for one in value]
    return bare(_UID.sub("<uid>", value)) if isinstance(value, str) else value


def _short_reason(name: str, value: Any) -> Any:
    """A reason in words, `AnalysisFailed: 41 of 120`, without the words."""
    return value.partition(": ")[0] if name == "reason" and isinstance(value, str) else value


def _is_kept(name: str, value: Any) -> bool:
    if name in FORGOTTEN | BY_CHANCE | TEXT or name.endswith(("Time", "Timestamp")):
        return False
    return not (isinstance(value, str) and _TIME.match(value))


def _differ(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted({*ours, *theirs}):
            where = f"{path}.{name}" if path else name
            if name not in theirs:
                yield f"{where} is {_short(ours[name])}, undisturbed it is not there"
            elif name not in ours:
                yield f"{where} is not there, undisturbed it is {_short(theirs[name])}"
            else:
                yield from _differ(where, ours[name], theirs[name])
    elif ours != theirs:
        yield f"{path} is {_short(ours)}, undisturbed {_short(theirs)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _owner(manifest: Manifest) -> str:
    """The bare name of what controls the pod: a ReplicaSet's name is its workload's with one more hash."""
    labels = manifest["metadata"].get("labels") or {}
    made_for = labels.get("millrace.dev/revision") or ""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            kind = "workload" if reference["kind"] in ("ReplicaSet", "Deployment") else reference["kind"].lower()
            component = labels.get("millrace.dev/component") or ""
            who = labels.get("millrace.dev/deployment") or bare(reference["name"])
            return " ".join(part for part in (kind, who, component, made_for) if part)
    return "nobody"


def _owner_uid(manifest: Manifest) -> str:
    references = manifest["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in references if one.get("controller")), "")


def _state(manifest: Manifest) -> str:
    status = manifest.get("status") or {}
    if "deletionTimestamp" in manifest["metadata"]:
        return "going"
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    return "ready" if ready else str(status.get("phase") or "Pending")
