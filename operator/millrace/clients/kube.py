"""The Kubernetes API, as far as Millrace speaks it: raw manifests in, raw manifests out.

aiohttp and nothing else: why is in ``operator/decisions/0003-kubernetes-client.md``.

* ``apply`` is server-side apply with ``force`` as field manager ``millrace``: send the whole intent each time.
* Requests that may be repeated (reads, applies, patches, deletes with preconditions) are tried three times when the API
  server is ``Unavailable``, obeying Retry-After up to 5 s; ``create`` is tried once, its caller finds out by name.
* Every write asks ``may_write`` right before it is sent, again before each repetition, and raises ``NotLeader`` on a
  no.
* There is no client-side rate limit: the API server has priority and fairness, and its 429 is obeyed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self

import aiohttp

from millrace import errors
from millrace.api.keys import FIELD_MANAGER
from millrace.api.resources import ResourceType
from millrace.clients.credentials import Bearer, Credentials
from millrace.clients.store import Manifest, Manifests

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 3
PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
CONNECTIONS: Final = 32
PAGE: Final = 500
DISCOVERY: Final = ResourceType(group="", version="v1", plural="discovery", kind="APIResourceList")
"""What requests for paths are counted as."""

_NOT_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

Propagation = Literal["Background", "Foreground", "Orphan"]
Observer = Callable[[str, str, str, float], None]
"""Told of every finished request: verb, resource, HTTP code (or ``<error>``), seconds."""


def _always() -> bool:
    return True


def _unobserved(verb: str, resource: str, code: str, seconds: float) -> None:
    """The default observer: does nothing."""


class Kube:
    """An async client for one API server. Use as an async context manager, on one event loop."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        may_write: Callable[[], bool] = _always,
        observer: Observer = _unobserved,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.may_write = may_write
        self._server = credentials.server
        self._credentials = credentials
        self._bearer = Bearer(credentials)
        self._observer = observer
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._credentials.ssl_context(), keepalive_timeout=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"Accept": JSON, "User-Agent": "millrace"},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        """One object, live. ``namespace`` is empty for cluster-scoped kinds. Raises NotFound."""
        return await self._call("get", resource, "GET", resource.path(namespace, name))

    async def list(
        self, resource: ResourceType, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> Manifests:
        """All objects of a kind, live, in pages; their ``apiVersion`` and ``kind`` are filled in."""
        params = {"limit": str(PAGE)}
        if labels:
            params["labelSelector"] = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        found: Manifests = []
        while True:
            page = await self._call("list", resource, "GET", resource.path(namespace), params)
            identity = {"apiVersion": resource.api_version, "kind": resource.kind}
            found.extend({**identity, **item} for item in page.get("items") or ())
            token = page["metadata"].get("continue")
            if not token:
                return found
            params["continue"] = token

    async def list_metadata(
        self, resource: ResourceType, namespace: str = "", selector: str = ""
    ) -> tuple[Manifests, str]:
        """The metadata of all objects of a kind from the API server's watch cache, and the list's resourceVersion.

        Cheap: neither specs nor statuses travel. May be as old as the cache, never older than what this client was
        shown by the same API server.
        """
        params = {"resourceVersion": "0"}
        if selector:
            params["labelSelector"] = selector
        answer = await self._call(
            "list", resource, "GET", resource.path(namespace), params, headers={"Accept": METADATA_ONLY}
        )
        return answer.get("items") or [], answer["metadata"].get("resourceVersion") or ""

    async def create(self, resource: ResourceType, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """POST. Raises AlreadyExists, Invalid, Forbidden (an admission policy). A dry run is not a write."""
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        path = resource.path(manifest["metadata"].get("namespace") or "")
        return await self._call(
            "create", resource, "POST", path, params, manifest, write=not dry_run, repeatable=dry_run
        )

    async def apply(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        """Server-side apply of a whole intent, forced. ``metadata.uid`` in it makes it an update of that very object.

        Raises Conflict (another UID), Invalid (an immutable field changed), Forbidden.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace") or "", metadata["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return await self._call("apply", resource, "PATCH", path, params, manifest, APPLY, write=True)

    async def patch_status(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        status: Mapping[str, Any],
        *,
        resource_version: str = "",
    ) -> Manifest:
        """Replace what we own of the status: the whole status, applied to the subresource.

        With ``resource_version`` it raises Conflict when the object has changed since it was read, or is another one.
        A UID would protect nothing: the API server ignores it in a status.
        """
        metadata = {"name": name, "namespace": namespace}
        if resource_version:
            metadata["resourceVersion"] = resource_version
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
        params = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        path = resource.path(namespace, name, "status")
        return await self._call("patch_status", resource, "PATCH", path, params, body, APPLY, write=True)

    async def patch(self, resource: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Manifest:
        """JSON merge patch of the main resource. Raises NotFound; Conflict if ``metadata.uid`` in it is another's."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._call(
            "patch", resource, "PATCH", resource.path(namespace, name), params, body, MERGE, write=True
        )

    async def replace(self, resource: ResourceType, manifest: Manifest, *, fenced: bool = True) -> Manifest:
        """PUT with the manifest's resourceVersion. ``fenced=False`` is for the lease alone. Raises Conflict,
        NotFound.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace") or "", metadata["name"])
        return await self._call("update", resource, "PUT", path, {}, manifest, write=fenced, repeatable=False)

    async def delete(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        """Delete that very object. Gone already is success. Raises Conflict if another object has taken the name,
        or if it changed since ``resource_version``.
        """
        preconditions = {"uid": uid}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        body = {"preconditions": preconditions, "propagationPolicy": propagation}
        try:
            await self._call("delete", resource, "DELETE", resource.path(namespace, name), {}, body, write=True)
        except errors.NotFound:
            return

    async def create_unfenced(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        """POST without asking ``may_write``: for the lease, which decides that very question."""
        path = resource.path(manifest["metadata"].get("namespace") or "")
        return await self._call("create", resource, "POST", path, {}, manifest, repeatable=False)

    async def raw(self, path: str) -> Manifest:
        """GET of any path that answers JSON, such as ``/apis/millrace.dev/v1alpha1`` (discovery)."""
        return await self._call("get", DISCOVERY, "GET", path)

    async def _call(
        self,
        verb: str,
        resource: ResourceType,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = JSON,
        *,
        headers: Mapping[str, str] | None = None,
        write: bool = False,
        repeatable: bool = True,
    ) -> Manifest:
        """One request with its repetitions, each counted and, if it writes, fenced."""
        for attempt in range(TRIES):
            if write and not self.may_write():
                raise errors.NotLeader(f"{verb} {resource.plural} was not sent: this replica does not hold the lease")
            started, code = time.perf_counter(), "200"
            try:
                return await self._request(method, path, params or {}, body, content, headers or {})
            except errors.ApiError as error:
                code = str(error.status) if error.status else "<error>"
                if isinstance(error, errors.Unauthorized):
                    self._bearer.expire()
                elif not (repeatable and isinstance(error, errors.Unavailable)):
                    raise
                if attempt == TRIES - 1:
                    raise
                pause = error.retry_after if error.retry_after is not None else PAUSE_SECONDS * 2**attempt
            finally:
                self._observer(verb, resource.plural, code, time.perf_counter() - started)
            await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None,
        content: str,
        headers: Mapping[str, str],
    ) -> Manifest:
        """One HTTP exchange. Raises the ApiError for a status of 400 and more, Unavailable for a broken one."""
        if self._session is None:
            raise RuntimeError("Kube is used outside its 'async with'")
        data = None if body is None else encode(body)
        sent = {**self._bearer.headers(), **headers}
        if data is not None:
            sent["Content-Type"] = content
        try:
            async with self._session.request(
                method, self._server + path, params=params, data=data, headers=sent
            ) as response:
                text = await response.read()
                if response.status >= 400:
                    raise errors.from_status(response.status, _status(text), _seconds(response.headers))
                answer: Manifest = json.loads(text)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise errors.Unavailable(f"the API server cannot be reached: {what}") from error


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON that is also YAML, which is what the API server reads an apply as.

    YAML knows no surrogate pairs, so characters beyond U+FFFF stand as they are; what YAML does not print is escaped.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _status(text: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"message": text[:200].decode("utf-8", "replace")}
    return answer if isinstance(answer, dict) else {}


def _seconds(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
