"""Clients of users and of the node on a real API server: through a door each, but lists come from the recorder.

They look at everything several times a second; what the recorder's watches have shown them costs nothing to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace import errors
from millrace.api import resources
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest

from .proxy import Door
from .recorder import Recorder
from .wire import Lost, Request

_PLURALS = {(one.api_version, one.plural): one for one in resources.ALL}


class UsersKube(Kube):
    """A `Kube` without sockets of its own."""

    def __init__(self, door: Door, recorder: Recorder) -> None:
        super().__init__(Credentials(server=""))
        self.door = door
        self._recorder = recorder

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None,
        content: str,
        headers: Mapping[str, str],
    ) -> Manifest:
        request = Request(self.door.sender, method, path, params, body, content, headers)
        if request.verb == "list" and await self._recorder.is_current(request.resource):
            return self._listed(request)
        try:
            answer = await self.door.exchange(request)
        except Lost as error:
            raise errors.Unavailable(f"the API server cannot be reached: {error}") from error
        if answer.status >= 400:
            raise errors.from_status(answer.status, answer.body, None)
        return dict(answer.body)

    def _listed(self, request: Request) -> Manifest:
        resource = _PLURALS[request.api_version, request.resource]
        wanted = dict(pair.split("=", 1) for pair in request.params.get("labelSelector", "").split(",") if pair)
        found = (one for one in self._recorder.objects(resource) if _has(one, wanted))
        return {"metadata": {}, "items": sorted(found, key=lambda one: str(one["metadata"]["name"]))}


def _has(manifest: Manifest, wanted: Mapping[str, str]) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in wanted.items())
