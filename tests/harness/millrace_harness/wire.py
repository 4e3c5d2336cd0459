"""One HTTP exchange with the API server, as every tier sees it: who asks what, and what the answer was.

An `Exchange` is an API server (the model, or a proxy in front of a real one); an injector wraps one and is one.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"

READS: Final = frozenset({"get", "list", "watch"})


class Target(NamedTuple):
    """What a path names. All empty for a path that is not of a resource, such as discovery."""

    api_version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@functools.lru_cache(maxsize=65536)
def parse(path: str) -> Target:
    """The resource that a REST path names."""
    parts = path.strip("/").split("/")
    if parts[0] == "apis" and len(parts) > 3:
        version, rest = "/".join(parts[1:3]), parts[3:]
    else:
        version, rest = (parts[1], parts[2:]) if parts[0] == "api" and len(parts) > 2 else ("", [])
    if not rest:
        return Target()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    rest = [*rest, "", ""]
    return Target(version, rest[0], namespace, rest[1], rest[2])


@dataclass(frozen=True)
class Request:
    """A request on its way. `sender` is an incarnation of a replica ("operator-1"), or "user", "kubelet", ..."""

    sender: str
    method: str
    path: str
    params: Mapping[str, str]
    body: Mapping[str, Any] | None
    content: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def target(self) -> Target:
        return parse(self.path)

    @property
    def api_version(self) -> str:
        return self.target.api_version

    @property
    def resource(self) -> str:
        """The plural, such as `configmaps`. Two groups have `deployments`: see `site`."""
        return self.target.plural

    @property
    def namespace(self) -> str:
        return self.target.namespace

    @property
    def name(self) -> str:
        """Of the object; of a created one as far as its manifest says."""
        if not self.target.name and self.method == "POST" and self.body is not None:
            return str(self.body.get("metadata", {}).get("name") or "")
        return self.target.name

    @property
    def subresource(self) -> str:
        return self.target.subresource

    @functools.cached_property
    def verb(self) -> str:
        """get, list, watch, create, apply, patch, update, delete; patch_status, update_status. As `Kube` calls them."""
        suffix = "_status" if self.target.subresource == "status" else ""
        if self.method == "GET":
            if self.params.get("watch") in {"1", "true"}:
                return "watch"
            return "list" if self.target.plural and not self.target.name else "get"
        if self.method == "PATCH":
            return "patch_status" if suffix else "apply" if self.content == APPLY else "patch"
        if self.method == "PUT":
            return f"update{suffix}"
        return {"POST": "create", "DELETE": "delete"}[self.method]

    @property
    def is_write(self) -> bool:
        """Whether it may change something: a dry run may not."""
        return self.method != "GET" and not self.params.get("dryRun")

    @property
    def is_watch(self) -> bool:
        return self.verb == "watch"

    @property
    def site(self) -> str:
        """The call site, `<verb> <plural>`; the workloads of group apps are `workloads`, since ours are deployments."""
        plural = "workloads" if self.target[:2] == ("apps/v1", "deployments") else self.target.plural or "discovery"
        return f"{self.verb}{'_dry' if self.params.get('dryRun') else ''} {plural}"


@dataclass(frozen=True)
class Response:
    """An answer. From 400 on `body` is a `metav1.Status`."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


Exchange = Callable[[Request], Awaitable[Response]]
"""Raises Lost."""


Event = Mapping[str, Any]
"""Of a watch: `type` (ADDED, MODIFIED, DELETED, or ERROR with a `metav1.Status`) and `object`."""

Show = Callable[[Request, AsyncIterator[Event]], AsyncIterator[Event]]
"""What is shown of the events of an open watch; its opening is an exchange like any other. May raise Lost."""


def show_all(request: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """Nothing is lost, doubled or late."""
    return events


class Lost(Exception):
    """The connection broke, or the answer never came; whether the request was carried out is not known."""
