"""From a write request to a new version of an object: create, apply, patch, replace, delete."""

from __future__ import annotations

import itertools
import marshal
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from millrace.api.resources import ResourceType
from millrace_harness.wire import APPLY, JSON_PATCH, Request, Response

from . import admission, answers, ownership, patches, schema, types
from .ownership import SYSTEM, Manager, Managers
from .storage import Manifest, Name, Storage, Stored

WITHOUT_STATUS: Final = frozenset(
    {"configmaps", "controllerrevisions", "events", "leases", "secrets", "serviceaccounts"}
)
GENERATED: Final = frozenset({"jobs", "deployments", "replicasets", "pods", "poddisruptionbudgets"})
"""Built-in kinds whose generation counts."""


def clone(value: Any) -> Any:
    """A deep copy of JSON."""
    return marshal.loads(marshal.dumps(value))


def rfc3339(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Writes:
    """Carries out writes on a storage."""

    def __init__(self, storage: Storage, now: Callable[[], tuple[float, datetime]]) -> None:
        self._storage = storage
        self._now = now
        self._uids = itertools.count(1)
        self._suffixes = itertools.count(1)

    def carry_out(self, resource: ResourceType, request: Request) -> Response:
        """Raises Refused."""
        target = request.target
        body: Manifest = clone(request.body) if request.body is not None else {}
        verb = request.verb
        if target.subresource == "binding":
            return self._bind(resource, request, body)
        if target.subresource not in {"", "status"} or (target.subresource and resource.plural in WITHOUT_STATUS):
            raise answers.no_such_path()
        if verb == "create":
            return Response(201, self._create(resource, target.namespace, body, request))
        if verb == "delete":
            return self._delete(resource, (target.namespace, target.name), body, request)
        return self._change(resource, (target.namespace, target.name), body, request)

    def _create(self, resource: ResourceType, namespace: str, body: Manifest, request: Request) -> Manifest:
        metadata = body.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise answers.bad("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._suffixes):05x}"
        _identify(resource, body, namespace)
        self._check_fields(resource, body, request)
        if self._storage.get(resource, (namespace, metadata["name"])) is not None:
            self._admit(resource, self._born(resource, body), None, request)
            raise answers.already_exists(resource, metadata["name"])
        made = self._born(resource, body)
        made = self._admit(resource, made, None, request)
        managers = ownership.update({}, {}, self._manager(request), made, kind_type(resource))
        return self._commit(resource, (namespace, made["metadata"]["name"]), Stored(made, managers), request)

    def _change(self, resource: ResourceType, name: Name, body: Manifest, request: Request) -> Response:
        applies = request.content == APPLY
        live = self._storage.get(resource, name)
        if applies or request.method == "PUT":
            _identify(resource, body, name[0], name[1])
            self._check_fields(resource, body, request)
        if live is None:
            return self._apply_new(resource, name, body, request, applies=applies)
        given = {} if request.content == JSON_PATCH else body.get("metadata") or {}
        _check_version(resource, live.manifest, given.get("resourceVersion"))
        _check_identity(resource, live.manifest, given.get("uid"), request)
        if request.method == "PUT" and resource.group == "millrace.dev" and not given.get("resourceVersion"):
            raise answers.invalid(resource, name[1], ["metadata.resourceVersion: must be specified for an update"])
        kind, manager = kind_type(resource), self._manager(request, applies=applies)
        if applies:
            intent = _reset(resource, body, request.subresource)
            merge = ownership.apply(live.manifest, live.managers, manager, intent, kind)
            made, managers = _restore(resource, merge.manifest, live.manifest, request.subresource), merge.managers
            made = self._admit(resource, made, live.manifest, request)
        else:
            made = body if request.method == "PUT" else patch(resource, live.manifest, body, request)
            if request.method == "PATCH" and request.params.get("fieldValidation") == "Strict":
                admission.check_patched(resource, made)
            made = _restore(resource, made, live.manifest, request.subresource)
            made = self._admit(resource, made, live.manifest, request)
            managers = dict(ownership.update(live.manifest, live.managers, manager, made, kind))
        return Response(200, self._settle(resource, name, live, made, managers, request))

    def _apply_new(
        self, resource: ResourceType, name: Name, body: Manifest, request: Request, *, applies: bool
    ) -> Response:
        if not applies or request.subresource:
            raise answers.not_found(resource, name[1])
        if body["metadata"].get("uid"):
            why = f"uid mismatch: the provided object specified uid {body['metadata']['uid']}, and no existing object "
            raise answers.conflict(resource, name[1], why + "was found")
        if body["metadata"].get("resourceVersion"):
            raise answers.not_found(resource, name[1])
        intent = _reset(resource, body, "")
        owned = frozenset(ownership.leaves(intent, kind_type(resource)))
        made = self._admit(resource, self._born(resource, intent), None, request)
        managers = {self._manager(request, applies=True): owned}
        return Response(201, self._commit(resource, name, Stored(made, managers), request))

    def _settle(
        self,
        resource: ResourceType,
        name: Name,
        live: Stored,
        made: Manifest,
        managers: Managers,
        request: Request,
    ) -> Manifest:
        """Store what changed; nothing that did not."""
        if made == live.manifest and managers == live.managers:
            return live.manifest
        metadata = made["metadata"] = dict(made["metadata"])
        if _counts(resource) and _differ(made, live.manifest):
            metadata["generation"] = metadata.get("generation", 0) + 1
        over = "deletionTimestamp" in metadata and not metadata.get("deletionGracePeriodSeconds")
        if over and not metadata.get("finalizers"):
            return self._commit(resource, name, None, request, shown=made)
        return self._commit(resource, name, Stored(made, managers), request)

    def _delete(self, resource: ResourceType, name: Name, body: Manifest, request: Request) -> Response:
        live = self._storage.get(resource, name)
        if live is None:
            raise answers.not_found(resource, name[1])
        asked = body.get("preconditions") or {}
        _check_uid(resource, live.manifest, asked.get("uid"))
        _check_version(resource, live.manifest, asked.get("resourceVersion"))
        metadata = dict(live.manifest["metadata"])
        finalizers = list(metadata.get("finalizers") or ())
        added = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(body.get("propagationPolicy", ""))
        if added and added not in finalizers:
            metadata["finalizers"] = finalizers = [*finalizers, added]
        grace = _grace(resource, live.manifest, body)
        if not finalizers and not grace:
            self._commit(resource, name, None, request, shown=live.manifest)
            details = {"name": name[1], "group": resource.group, "kind": resource.plural, "uid": metadata["uid"]}
            success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            return Response(200, success)
        known = metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" not in metadata or (known is not None and grace < known):
            if "deletionTimestamp" not in metadata and "generation" in metadata:
                metadata["generation"] += 1
            metadata["deletionTimestamp"] = rfc3339(self._now()[1] + timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
        made = {**live.manifest, "metadata": metadata}
        if made == live.manifest:
            return Response(200, made)
        return Response(200, self._commit(resource, name, Stored(made, live.managers), request))

    def _bind(self, resource: ResourceType, request: Request, body: Manifest) -> Response:
        """`POST pods/x/binding`: what a scheduler does."""
        name = (request.target.namespace, request.target.name)
        live = self._storage.get(resource, name)
        if live is None:
            raise answers.not_found(resource, name[1])
        if live.manifest["spec"].get("nodeName"):
            raise answers.conflict(resource, name[1], "pod is already assigned to a node")
        made = clone(live.manifest)
        made["spec"]["nodeName"] = body["target"]["name"]
        made["status"].setdefault("conditions", []).append({"type": "PodScheduled", "status": "True"})
        self._commit(resource, name, Stored(made, live.managers), request)
        return Response(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _check_fields(self, resource: ResourceType, body: Manifest, request: Request) -> None:
        applied = request.content == APPLY
        if request.params.get("fieldValidation") == "Strict" or applied:
            admission.check_fields(resource, body, applied=applied)

    def _born(self, resource: ResourceType, body: Manifest) -> Manifest:
        """A new object: the API server's own fields, no status but a pod's phase."""
        metadata = {name: value for name, value in body["metadata"].items() if name not in SYSTEM}
        metadata |= {"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]}
        metadata["uid"] = f"00000000-0000-4000-8000-{next(self._uids):012x}"
        metadata["creationTimestamp"] = rfc3339(self._now()[1])
        if _counts(resource):
            metadata["generation"] = 1
        made = {**body, "metadata": metadata}
        if resource.plural not in WITHOUT_STATUS:
            made.pop("status", None)
        if resource.plural == "pods":
            made["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        return made

    def _admit(self, resource: ResourceType, made: Manifest, live: Manifest | None, request: Request) -> Manifest:
        checked = request.content == APPLY or request.params.get("fieldValidation") == "Strict"
        made = admission.with_defaults(resource, made, checked=checked)
        if made is not live:
            admission.check(resource, made, live, request)
        return made

    def _manager(self, request: Request, *, applies: bool = False) -> Manager:
        name = request.params.get("fieldManager") or request.sender.split("-")[0]
        return Manager(name, "Apply" if applies else "Update", request.subresource)

    def _commit(
        self,
        resource: ResourceType,
        name: Name,
        stored: Stored | None,
        request: Request,
        shown: Manifest | None = None,
    ) -> Manifest:
        """Store, unless it is a dry run; the manifest to answer with."""
        manifest = stored.manifest if stored is not None else shown
        assert manifest is not None
        if request.is_write:
            self._storage.commit(resource, name, stored, request, *self._now())
        return manifest


def kind_type(resource: ResourceType) -> types.Type:
    """How objects of a kind merge."""
    if resource.group == "millrace.dev":
        return schema.definitions()[resource.kind].type
    return types.BUILTIN.get(resource.kind, types.OTHER)


def patch(resource: ResourceType, live: Manifest, body: Any, request: Request) -> Manifest:
    """A merge patch or a JSON patch of a live object. Raises Refused."""
    if request.content != JSON_PATCH:
        merged: Manifest = patches.merge(live, body)
        return merged
    try:
        return patches.json_patch(live, body)
    except (KeyError, IndexError, ValueError) as error:
        raise answers.invalid(resource, live["metadata"]["name"], [f"patch: {error}"]) from error


def _identify(resource: ResourceType, body: Manifest, namespace: str, name: str = "") -> None:
    """The path and the body must name the same object. Raises Refused."""
    if (body.get("apiVersion"), body.get("kind")) != (resource.api_version, resource.kind):
        raise answers.bad(f"the object provided is {body.get('kind')}, not {resource.kind}")
    metadata = body.setdefault("metadata", {})
    if metadata.setdefault("namespace", namespace) != namespace:
        raise answers.bad("the namespace of the provided object does not match the namespace sent on the request")
    if name and metadata.setdefault("name", name) != name:
        raise answers.bad("the name of the object does not match the name on the URL")
    if not metadata.get("name"):
        raise answers.invalid(resource, "", ["metadata.name: Required value: name or generateName is required"])


def _check_identity(resource: ResourceType, live: Manifest, uid: str | None, request: Request) -> None:
    """Another UID is a conflict in a PUT, an immutable field in a patch, and no matter in the status of our kinds."""
    metadata = live["metadata"]
    if not uid or uid == metadata["uid"]:
        return
    if request.method == "PUT":
        _check_uid(resource, live, uid)
    if request.subresource == "status" and resource.group == "millrace.dev":
        return
    raise answers.invalid(resource, metadata["name"], [f'metadata.uid: Invalid value: "{uid}": field is immutable'])


def _check_uid(resource: ResourceType, live: Manifest, uid: str | None) -> None:
    metadata = live["metadata"]
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise answers.conflict(resource, metadata["name"], why)


def _check_version(resource: ResourceType, live: Manifest, version: str | None) -> None:
    metadata = live["metadata"]
    if version and version != metadata["resourceVersion"]:
        raise answers.conflict(resource, metadata["name"])


def _reset(resource: ResourceType, body: Manifest, subresource: str) -> Manifest:
    """What of an intent this (sub)resource takes."""
    if subresource == "status":
        return {"status": body["status"]} if "status" in body else {}
    if resource.plural in WITHOUT_STATUS:
        return body
    return {name: value for name, value in body.items() if name != "status"}


def _restore(resource: ResourceType, made: Manifest, live: Manifest, subresource: str) -> Manifest:
    """The fields that a request to this (sub)resource cannot change."""
    if subresource == "status":
        rest = {name: value for name, value in live.items() if name != "status"}
        return {**rest, "status": made["status"]} if made.get("status") is not None else rest
    old = live["metadata"]
    metadata = {name: value for name, value in made.get("metadata", {}).items() if name not in SYSTEM}
    metadata |= {name: old[name] for name in SYSTEM if name in old}
    restored = {**made, "metadata": metadata}
    if resource.plural not in WITHOUT_STATUS:
        restored.pop("status", None)
        if "status" in live:
            restored["status"] = live["status"]
    return restored


def _counts(resource: ResourceType) -> bool:
    return resource.group == "millrace.dev" or resource.plural in GENERATED


def _differ(made: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether more than metadata and status changed."""
    ignored = {"metadata", "status"}
    return any(made.get(name) != live.get(name) for name in made.keys() | live.keys() if name not in ignored)


def _grace(resource: ResourceType, live: Manifest, body: Manifest) -> int:
    """How long a pod may take to end. None that was not started, or has ended, takes any time."""
    if resource.plural != "pods" or not live["spec"].get("nodeName"):
        return 0
    if live["status"].get("phase") in {"Succeeded", "Failed"}:
        return 0
    return int(body.get("gracePeriodSeconds", live["spec"].get("terminationGracePeriodSeconds", 30)))
