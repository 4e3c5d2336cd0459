"""Records of quarantines, and the Models whose bytes they are about."""

from __future__ import annotations

from collections.abc import Iterable

from millrace.api import keys, resources
from millrace.clients.store import Manifest, Manifests
from millrace.clients.world import World
from millrace.render import names, quarantine
from millrace.render.quarantine import Record


def about(world: World, namespace: str, digests: Iterable[str]) -> tuple[Record, ...]:
    """What is written of these bytes, by name."""
    found = [
        manifest
        for digest in sorted(set(digests))
        for manifest in world.store.find(resources.CONTROLLER_REVISIONS, by_digest, digest, namespace)
    ]
    return tuple(fact for fact in map(quarantine.read, found) if fact is not None)


async def live(world: World, namespace: str, digest: str) -> tuple[Record, ...]:
    """The same, asked of the API server: a list of the past must not bring back what failed. Raises ApiError."""
    labels = {keys.DIGEST: names.short(digest)}
    found = await world.kube.list(resources.CONTROLLER_REVISIONS, namespace, labels)
    return tuple(fact for fact in map(quarantine.read, found) if fact is not None and fact.digest == digest)


def models_of(world: World, record: Manifest) -> Manifests:
    """The Models of the bytes that a record is about."""
    namespace = record["metadata"].get("namespace") or ""
    return world.store.find(resources.MODELS, by_artifact, quarantine.digest_of(record), namespace)


def by_digest(record: Manifest) -> Iterable[str]:
    """The bytes that a record is about."""
    return [quarantine.digest_of(record)]


def by_artifact(model: Manifest) -> Iterable[str]:
    """A Model's bytes."""
    return [str(((model.get("spec") or {}).get("artifact") or {}).get("digest") or "")]
