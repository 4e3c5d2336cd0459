"""The same request to a real API server and to the model, and what differs between the answers.

Compared of each answer: the status code, the reason of a refusal, the object (ours whole, built-in ones as far as the
model has them), whether resourceVersion changed, the generation, and who owns which field by server-side apply.
"""

from __future__ import annotations

import copy
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from millrace_harness.wire import APPLY, JSON, Request, Response, parse

from .server import SERVED, ApiServer

Manifest = dict[str, Any]
Body = Any

VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "deletionTimestamp")


@dataclass
class Both:
    """One request to both servers at a time; what each answered last about each path."""

    url: str
    token: str
    ca: Path
    model: ApiServer
    known: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    connection: http.client.HTTPSConnection | None = None

    def send(
        self,
        method: str,
        path: str,
        body: Body = None,
        content: str = JSON,
        *,
        headers: Mapping[str, str] | None = None,
        manager: str = "",
        **params: str,
    ) -> tuple[Response, Response]:
        """The real answer and the model's. `body` may be a function of what that server said of an object before."""
        if manager:
            params["fieldManager"] = manager
        if content == APPLY:
            params.setdefault("force", "true")
        real = self._ask_real(method, path, params, self._body("real", body), content, headers or {})
        request = Request("tester", method, path, params, self._body("model", body), content, headers or {})
        answers = real, self.model.handle(request)
        for which, answer in zip(("real", "model"), answers, strict=True):
            if answer.status < 300 and "uid" in answer.body.get("metadata", {}):
                self.known[which, answer.body["metadata"]["name"]] = dict(answer.body)
        return answers

    def _body(self, which: str, body: Body) -> Body:
        if callable(body):
            body = body(lambda name: self.known[which, name])
        return copy.deepcopy(body)

    def _ask_real(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Body,
        content: str,
        headers: Mapping[str, str],
    ) -> Response:
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": content, **headers}
        target = path + (f"?{urlencode(params)}" if params else "")
        self.connection = self.connection or self._connect()
        self.connection.request(method, target, None if body is None else json.dumps(body).encode(), sent)
        answer = self.connection.getresponse()
        text = answer.read()
        return Response(answer.status, json.loads(text) if text.startswith(b"{") else {})

    def _connect(self) -> http.client.HTTPSConnection:
        address = urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection(str(address.hostname), address.port, timeout=30, context=context)


def differences(
    both: Both,
    path: str,
    before: Mapping[tuple[str, str], Manifest],
    real: Response,
    modelled: Response,
    *,
    dry: bool = False,
) -> Iterator[str]:
    if real.status != modelled.status:
        yield f"{real.status}, not {modelled.status}: {real.body.get('message')} | {modelled.body.get('message')}"
        return
    if real.status >= 400:
        if real.body and real.body.get("reason", "") != modelled.body.get("reason"):
            yield f"{real.body.get('reason')}, not {modelled.body.get('reason')}: {real.body.get('message')}"
        return
    if "items" in real.body:
        names = [[one["metadata"]["name"] for one in answer.body["items"] or ()] for answer in (real, modelled)]
        if names[0] != names[1]:
            yield f"items {names[0]}, not {names[1]}"
        return
    if "uid" not in modelled.body["metadata"]:
        return
    yield from _object_differences(both, path, before, real.body, modelled.body, dry=dry)


def _object_differences(
    both: Both,
    path: str,
    before: Mapping[tuple[str, str], Manifest],
    real: Mapping[str, Any],
    modelled: Mapping[str, Any],
    *,
    dry: bool,
) -> Iterator[str]:
    ours = "millrace.dev" in path
    names = {known["metadata"]["uid"]: f"uid of {name}" for (_, name), known in both.known.items()}
    wanted, found = stable(named(real, names)), stable(named(modelled, names))
    if "generateName" in wanted["metadata"]:
        wanted["metadata"].pop("name"), found["metadata"].pop("name")
    shown = wanted if ours else cut(wanted, found)
    yield from unequal(shown, found)
    moved = [
        (which, name) not in before or before[which, name]["metadata"]["resourceVersion"] != version
        for which, name, version in (
            (which, one["metadata"]["name"], one["metadata"]["resourceVersion"])
            for which, one in (("real", real), ("model", modelled))
        )
    ]
    if moved[0] != moved[1]:
        yield f"resourceVersion changed: {moved[0]}, not {moved[1]}"
    target = parse(path)
    stored = both.model.storage.get(SERVED[target[:2]], (target.namespace, modelled["metadata"]["name"]))
    if dry or stored is None:
        return
    if stored.manifest["metadata"]["resourceVersion"] == modelled["metadata"]["resourceVersion"]:
        said = {f"{one.name}/{one.operation}/{one.subresource}": {named(path, names) for path in readable(paths)}
                for one, paths in stored.managers.items()}  # fmt: skip
        for key, paths in managed(named(real, names)).items():
            if "Apply" in key and paths != said.get(key, set()):
                yield f"{key} owns {sorted(paths ^ said.get(key, set()))}, or does not"


def cut(wanted: Any, found: Any) -> Any:
    """What the model has of a real object; its lists whole."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {name: cut(wanted.get(name), one) for name, one in found.items()}
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [cut(one, other) for one, other in zip(wanted, found, strict=True)]
    return wanted


def unequal(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(wanted.keys() | found.keys()):
            yield from unequal(wanted.get(name), found.get(name), f"{path}.{name}")
    elif wanted != found:
        yield f"{path} is {wanted}, not {found}"


def stable(manifest: Mapping[str, Any]) -> Manifest:
    """Without what differs from server to server; without what the real one alone fills in."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in VOLATILE}
    return {**manifest, "metadata": metadata}


def named(value: Any, names: Mapping[str, str]) -> Any:
    """With the names of objects instead of their UIDs."""
    text = json.dumps(value)
    for uid, name in names.items():
        text = text.replace(uid, name)
    return json.loads(text)


def readable(paths: Any) -> set[str]:
    """Paths of the model, as far as they are values: `.` of a keyed item counts as one."""
    return {"/".join(str(part[1:]) if isinstance(part, tuple) else part for part in path) for path in paths}


def managed(manifest: Mapping[str, Any]) -> dict[str, set[str]]:
    """`manager/operation/subresource` -> paths, of real managedFields."""
    found: dict[str, set[str]] = {}
    for one in manifest["metadata"].get("managedFields") or ():
        key = f"{one['manager']}/{one['operation']}/{one.get('subresource', '')}"
        found[key] = {"/".join(path) for path in _fields(one["fieldsV1"], ())}
    return found


def _fields(tree: Manifest, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, below in tree.items():
        if name == ".":
            if path[-1].startswith("("):
                yield path
        else:
            here = (*path, _part(name))
            yield from _fields(below, here) if below else iter((here,))


def _part(name: str) -> str:
    kind, _, text = name.partition(":")
    if kind == "f":
        return text
    value = json.loads(text)
    return str(tuple(value.values()) if kind == "k" else (value,))
