"""A law that did not hold, and what the laws read of manifests: from the API alone, without the operator's code."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from millrace_harness.history import Manifest, Name, World

GROUP: Final = "millrace.dev"
IN_FLIGHT_SECONDS: Final = 5.0
"""How old what a write was decided from may be: longer than any pass and its repetitions, far shorter than a stall."""
INTERVAL_SECONDS: Final = 30.0
"""How long a status may claim what is not (yet, or any more) so: until a successor has waited a dead leader's lease out
and looked at everything.
"""
OWN: Final = ("datasets", "trainingruns", "models", "deployments")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Finding:
    """A law that did not hold at a moment of a history."""

    law: str
    """`I1` to `I15`."""
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.law} at {self.at:.1f} s: {self.text}"


def label(manifest: Manifest, name: str) -> str:
    """The value of our label `millrace.dev/<name>`, or nothing."""
    return str((manifest["metadata"].get("labels") or {}).get(f"{GROUP}/{name}") or "")


def status_of(manifest: Manifest | None) -> Mapping[str, Any]:
    return (manifest or {}).get("status") or {}


def spec_of(manifest: Manifest | None) -> Mapping[str, Any]:
    return (manifest or {}).get("spec") or {}


def uid(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("uid"))


def says(manifest: Manifest | None, kind: str, truth: str = "True") -> bool:
    """Whether the condition `kind` has that status."""
    conditions = status_of(manifest).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == truth for one in conditions)


def is_router(manifest: Manifest) -> bool:
    """Whether a ConfigMap holds a router's files."""
    return "rds.yaml" in (manifest.get("data") or {})


def weights(config_map: Manifest | None) -> dict[str, int]:
    """Percent by revision, as the router's route file has it; revisions without traffic are left out."""
    text = ((config_map or {}).get("data") or {}).get("rds.yaml")
    return dict(_weights(text)) if text else {}


@functools.lru_cache(maxsize=4096)
def _weights(text: str) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for resource in yaml.load(text, _LOADER)["resources"]:
        for host in resource.get("virtual_hosts") or ():
            for route in host["routes"]:
                for one in ((route.get("route") or {}).get("weighted_clusters") or {}).get("clusters") or ():
                    found[one["name"].removesuffix("-route")] = int(one["weight"])
    return tuple((revision, weight) for revision, weight in found.items() if weight)


def claimed(deployment: Manifest | None) -> dict[str, int]:
    """Percent by revision, as the status of a Deployment says; revisions without traffic are left out."""
    roles = (status_of(deployment).get(role) for role in ("stable", "canary"))
    return {one["revision"]: one["weight"] for one in roles if one and one["weight"]}


def deployment_of(world: World, config_map: Manifest) -> Manifest | None:
    """Whose router's files a ConfigMap holds."""
    metadata = config_map["metadata"]
    return world.get(Name("deployments", metadata.get("namespace") or "", label(config_map, "deployment")))


def router_of(world: World, deployment: Manifest) -> Manifest | None:
    """The ConfigMap with a Deployment's router's files."""
    metadata = deployment["metadata"]
    return world.get(Name("configmaps", metadata["namespace"], f"{metadata['name']}-router"))


@dataclass(frozen=True)
class Bytes:
    """What a revision serves."""

    model: str
    digest: str


def served_by(world: World, deployment: Manifest, revision: str) -> Bytes | None:
    """What the servers of a revision were told to serve; None when there is no workload of it."""
    metadata = deployment["metadata"]
    found = world.get(Name("workloads", metadata["namespace"], f"{metadata['name']}-{revision}"))
    for container in _containers(found):
        environment = {one["name"]: one.get("value") for one in container.get("env") or ()}
        if environment.get("MILLRACE_DIGEST"):
            return Bytes(str(environment.get("MILLRACE_MODEL")), str(environment["MILLRACE_DIGEST"]))
    return None


def _containers(workload: Manifest | None) -> Iterator[Mapping[str, Any]]:
    pod = (spec_of(workload).get("template") or {}).get("spec") or {}
    yield from pod.get("containers") or ()
    yield from pod.get("initContainers") or ()


def is_approved(model: Manifest) -> bool:
    """A *live approval*: of each person the last decision about this artifact's digest counts; nobody rejects it, and
    as many people as the policy requires approve it, the author not among them where the policy says so.

    Read from the spec alone: the status is the operator's opinion.
    """
    spec = spec_of(model)
    policy = spec.get("approvalPolicy") or {}
    author = (spec.get("provenance") or {}).get("author")
    last: dict[str, str] = {}
    for one in spec.get("approvals") or ():
        if one["digest"] == spec["artifact"]["digest"]:
            last[one["user"]] = one["decision"]
    excluded = author if policy.get("distinctFromAuthor", True) else None
    granted = {user for user, decision in last.items() if decision == "Approve" and user != excluded}
    return "Reject" not in last.values() and len(granted) >= policy.get("required", 1)


def stable_of(deployment: Manifest | None) -> str:
    """The revision that the status calls stable, or nothing."""
    return str((status_of(deployment).get("stable") or {}).get("revision") or "")


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Each sentence once, where it was first true."""
    first: dict[tuple[str, str], Finding] = {}
    for one in findings:
        first.setdefault((one.law, one.text), one)
    return sorted(first.values(), key=lambda one: one.at)
