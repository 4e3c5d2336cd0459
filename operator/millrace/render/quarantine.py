"""What is written of a quarantine: ControllerRevisions, one when bytes are condemned, one when a person lets them go.

    Condemned  these bytes failed, in this rollout of this Deployment          Released  these condemnations are lifted

Bytes are in quarantine while a condemnation of them is not lifted. Both are facts, never changed and owned by nobody:
they outlive the Deployment in which the bytes failed and the Model that they belong to. A ControllerRevision is what
Kubernetes has for immutable facts of controllers; its roles `edit` and `admin` may read but not write it, so whoever
may edit everything else can neither forge nor remove a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from millrace.api import resources
from millrace.api.base import Shape, Time, rfc3339
from millrace.api.deployment_status import Quarantined, Revision
from millrace.api.quantities import Digest, DnsName
from millrace.contract.reasons import Reason as PodReason
from millrace.render import metadata, names

Manifest = dict[str, Any]


class Condemned(Shape):
    """A digest failed."""

    kind: Literal["Condemned"] = "Condemned"
    record: str
    """Name of the object."""
    digest: Digest
    model: DnsName
    revision: Revision
    """The digest under the server template it failed with."""
    deployment: DnsName
    cause: Literal["Failed", "Aborted"] = "Failed"
    reason: Annotated[str, Field(max_length=256)]
    time: Time


class Released(Shape):
    """A person lifted condemnations."""

    kind: Literal["Released"] = "Released"
    record: str
    digest: Digest
    deployment: DnsName
    deployment_uid: str
    request: str
    """Hash of the entry of spec.actions that asked for it."""
    lifts: tuple[str, ...] = Field(default=())
    """The records of those condemnations."""
    time: Time


Record = Condemned | Released
_OF_FILES = frozenset({PodReason.DIGEST_MISMATCH.value, PodReason.GOLDEN_SET_MISMATCH.value})
"""Verdicts on the files that a Model names: the one that is not what was approved, the golden set that is not met."""


def is_about(entry: Condemned | Quarantined, model: str) -> bool:
    """Whether it keeps a Model of these bytes from being rolled out: every one where the bytes failed, and only the one
    that was tried where a file that it names is another than it says.
    """
    return entry.model == model or entry.reason.partition(":")[0] not in _OF_FILES


def condemned(deployment_uid: str, began: datetime, **facts: Any) -> Condemned:
    """The condemnation of a canary; the same rollout of the same Deployment condemns once."""
    record = names.quarantine(facts["digest"], deployment_uid, facts["revision"], rfc3339(began))
    return Condemned.model_validate({"record": record, **facts})


def released(**facts: Any) -> Released:
    """The end of these condemnations; asking again for others is another fact."""
    record = names.release(facts["digest"], facts["deployment_uid"], facts["request"], sorted(facts["lifts"]))
    return Released.model_validate({"record": record, **facts})


def manifest(namespace: str, fact: Record) -> Manifest:
    """The ControllerRevision."""
    return {
        "apiVersion": resources.CONTROLLER_REVISIONS.api_version,
        "kind": resources.CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": fact.record,
            "namespace": namespace,
            "labels": metadata.labels("quarantine", deployment=fact.deployment, digest=names.short(fact.digest)),
        },
        "revision": 1,
        "data": fact.wire(),
    }


def request(time: datetime) -> str:
    """The reason in the printed request that lifts a quarantine of that time. Another quarantine makes another request,
    so what is printed is never one that was carried out.
    """
    return f"quarantined at {rfc3339(time)}"


def read(found: Mapping[str, Any]) -> Record | None:
    """What a ControllerRevision says, or None if it is none of these."""
    data = {**(found.get("data") or {}), "record": found["metadata"]["name"]}
    kind = data.get("kind")
    try:
        if kind == "Condemned":
            return Condemned.model_validate(data)
        return Released.model_validate(data) if kind == "Released" else None
    except ValidationError:
        return None


def digest_of(found: Mapping[str, Any]) -> str:
    """The digest that it is about, or nothing."""
    return str((found.get("data") or {}).get("digest") or "")
