"""What a request to the API server is about, and whether it changed anything there. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

UNCOUNTED = frozenset({"leases", "events"})
"""Leases say who is alive, Events are a courtesy: neither is part of the story's state."""

_TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"')
_HASH = re.compile(r"-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Target:
    """One object, or a collection when `name` is empty."""

    resource: str
    namespace: str
    name: str
    subresource: str = ""

    @property
    def kind(self) -> str:
        """`plural.group` or `plural.group/subresource`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Write:
    """A write that the API server committed and that changed something."""

    verb: str
    target: Target
    content: str
    """Hash of the body without times, versions and counts of the moment."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Verb, kind and name, whatever hash the name ends in: `visits-snapshot-*` is one place."""
        return self.verb, self.target.kind, _HASH.sub("-*", self.target.name)


def target(path: str) -> Target | None:
    """What a REST path names; None for discovery and other paths that hold no objects."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    if not rest or not rest[0]:
        return None
    resource = f"{rest[0]}.{group}" if group else rest[0]
    return Target(resource, namespace, *rest[1:3]) if len(rest) > 1 else Target(resource, namespace, "")


def is_counted(method: str, path: str) -> bool:
    """Whether a request may be an effective write: not a read, not a dry run, not a Lease or an Event."""
    if method in {"GET", "HEAD", "OPTIONS"} or "dryRun=" in path.partition("?")[2]:
        return False
    named = target(path)
    return named is not None and named.resource.partition(".")[0] not in UNCOUNTED


def is_effective(method: str, before: Manifest | None, answer: Manifest) -> bool:
    """Whether a write that was answered 2xx changed anything.

    `before` is the object right before the write, None if there was none. A stranger's write in between can make a
    write that changed nothing look effective: one kill too many, never one too few.
    """
    known = before["metadata"] if before is not None else {}
    if method == "DELETE":
        return before is not None and "deletionTimestamp" not in known
    version = answer.get("metadata", {}).get("resourceVersion")
    return bool(version) and version != known.get("resourceVersion")


def verb(method: str, content_type: str) -> str:
    """The verb as people know it: create, update, apply, patch or delete."""
    if method == "PATCH":
        return "apply" if "apply-patch" in content_type else "patch"
    return {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(method, method.lower())


def made(method: str, path: str, content_type: str, body: bytes) -> Write:
    """The write that a request asks for."""
    named = target(path)
    if named is None:
        raise ValueError(f"{path} names no object")
    wanted = _parsed(body)
    if not named.name:
        named = Target(named.resource, named.namespace, str(wanted.get("metadata", {}).get("name", "")))
    return Write(verb(method, content_type), named, content(wanted))


def content(body: Manifest) -> str:
    """The same for two bodies that differ in times and in the version they build on."""
    metadata = {name: value for name, value in body.get("metadata", {}).items() if name != "resourceVersion"}
    text = json.dumps({**body, "metadata": metadata}, sort_keys=True)
    return hashlib.sha256(_TIME.sub('"T"', text).encode()).hexdigest()[:16]


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"patch": found}
