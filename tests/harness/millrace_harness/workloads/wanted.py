"""What a workload must end in, as data: so that a reference run that went wrong is noticed too."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from millrace.api import keys
from millrace.clients.store import Manifest
from millrace_harness.people import condition_of

NONE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Is:
    """One object of ours. A `*` in the name stands for a hash of what differs between tellings."""

    kind: str
    name: str
    conditions: Mapping[str, str] = field(default_factory=dict)
    """By type: `True/Reason`, `False/Reason`, or only the status."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """By dotted path into the object: the value there; None for nothing. Of a list, its length when a number is
    wanted."""

    def fits(self, manifest: Manifest) -> bool:
        same = manifest["kind"] == self.kind and manifest["apiVersion"] == keys.API_VERSION
        return same and fnmatch.fnmatchcase(manifest["metadata"]["name"], self.name)

    def findings(self, manifest: Manifest) -> Iterator[str]:
        """What is not as it should be with the object that fits."""
        who = f"{self.kind} {manifest['metadata']['name']}"
        for kind, wanted in self.conditions.items():
            mark = condition_of(manifest, kind)
            said = f"{mark.get('status', 'absent')}/{mark.get('reason', '')}"
            if said != wanted and said.split("/", maxsplit=1)[0] != wanted:
                yield f"{who}: {kind} is {said}, not {wanted}"
        current, generation = (
            (manifest.get("status") or {}).get("observedGeneration"),
            manifest["metadata"]["generation"],
        )
        if current != generation:
            yield f"{who}: the status is about generation {current}, not {generation}"
        for path, wanted in self.facts.items():
            found = at(manifest, path)
            if found != wanted and not (not found and wanted is None):
                yield f"{who}: {path} is {found}, not {wanted}"


def at(manifest: Any, path: str) -> Any:
    """The value at a dotted path: `status.history.0.model`, `status.versions.#` (how many), or None."""
    for part in path.split("."):
        if part == "#":
            return len(manifest or ())
        if isinstance(manifest, list):
            manifest = manifest[int(part)] if int(part) < len(manifest) else None
        else:
            manifest = (manifest or {}).get(part)
    return manifest


@dataclass(frozen=True)
class Wanted:
    """The end of a workload: exactly these objects of our kinds, and exactly their children."""

    objects: tuple[Is, ...] = ()
    servers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By Deployment: ready servers by Model."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """By component and owner, such as `training/churn-lr`: how many Jobs are left."""

    def findings(self, found: Iterable[Manifest]) -> list[str]:
        """What is missing, too much or wrong, in sentences; empty when the end is as it must be."""
        objects = list(found)
        return [*self._own(objects), *self._jobs(objects), *self._servers(objects), *_leftovers(objects)]

    def _own(self, found: list[Manifest]) -> Iterator[str]:
        ours = [one for one in found if one["apiVersion"] == keys.API_VERSION]
        for wanted in self.objects:
            fitting = [one for one in ours if wanted.fits(one)]
            if len(fitting) != 1:
                yield f"{wanted.kind} {wanted.name} is there {len(fitting)} times, not once"
            for one in fitting:
                yield from wanted.findings(one)
        for one in ours:
            if not any(wanted.fits(one) for wanted in self.objects):
                yield f"{one['kind']} {one['metadata']['name']} should not be there"

    def _jobs(self, found: list[Manifest]) -> Iterator[str]:
        counted: dict[str, int] = {}
        for one in found:
            if one["kind"] == "Job":
                owner = label(one, keys.TRAINING_RUN) or label(one, keys.DATASET)
                name = f"{label(one, keys.COMPONENT)}/{owner}"
                counted[name] = counted.get(name, 0) + 1
        for name, count in counted.items():
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.jobs):
                yield f"{count} Jobs {name} are left over"
        for pattern, wanted in self.jobs.items():
            total = sum(count for name, count in counted.items() if fnmatch.fnmatchcase(name, pattern))
            if total != wanted:
                yield f"{total} Jobs {pattern} are there, not {wanted}"

    def _servers(self, found: list[Manifest]) -> Iterator[str]:
        wanted = {(name, model): count for name, models in self.servers.items() for model, count in models.items()}
        for kind in ("Deployment", "Service"):
            named = sorted(_served(one) for one in found if one["kind"] == kind and _is_part(one, "server"))
            if named != sorted(wanted):
                yield f"{kind}s of servers are there of {named}, not of {sorted(wanted)}"
        for kind, name in (("Deployment", "{}-router"), ("ConfigMap", "{}-router"), ("Service", "{}")):
            named_so = sorted(
                one["metadata"]["name"] for one in found if one["kind"] == kind and _is_part(one, "router")
            )
            if named_so != sorted(name.format(one) for one in self.servers):
                yield f"{kind}s of routers are {named_so}, not those of {sorted(self.servers)}"
        running: dict[tuple[str, str], int] = {}
        for one in found:
            if one["kind"] == "Pod" and label(one, keys.COMPONENT) == "server":
                running[_served(one)] = running.get(_served(one), 0) + 1
        if running != wanted:
            yield f"pods of servers are there of {running}, not of {wanted}"


def _leftovers(found: list[Manifest]) -> Iterator[str]:
    """Children whose owner is not there, and objects that wait for their end."""
    uids = {one["metadata"]["uid"] for one in found}
    for one in found:
        who = f"{one['kind']} {one['metadata']['name']}"
        if "deletionTimestamp" in one["metadata"]:
            yield f"{who} is being deleted and still there"
        for reference in one["metadata"].get("ownerReferences") or ():
            if reference["uid"] not in uids and reference["kind"] != "ReplicaSet":
                yield f"{who} belongs to {reference['kind']} {reference['name']}, which is not there"


def _is_part(one: Manifest, component: str) -> bool:
    return label(one, keys.COMPONENT) == component and one["apiVersion"] != keys.API_VERSION


def _served(one: Manifest) -> tuple[str, str]:
    return label(one, keys.DEPLOYMENT), label(one, keys.MODEL)


def label(manifest: Manifest, name: str) -> str:
    """A label, or nothing."""
    return str((manifest["metadata"].get("labels") or {}).get(name, ""))
