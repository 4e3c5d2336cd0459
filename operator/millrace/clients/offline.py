"""A cluster that is a file: reads answer from a cache, writes are refused. For ``millrace plan``."""

from __future__ import annotations

from collections.abc import Mapping

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Manifests, Store


class OfflineKube(Kube):
    """Reads from ``store`` as if it were live; every write raises NotLeader, since nobody here may write."""

    def __init__(self, store: Store) -> None:
        super().__init__(Credentials(server="http://offline.invalid"), may_write=bool)
        self._store = store

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        found = self._store.get(resource, namespace, name)
        if found is None:
            raise errors.NotFound(f"{resource.plural} {namespace}/{name} is not in the file", status=404)
        return found

    async def list(
        self,
        resource: ResourceType,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Manifests:
        if fields:
            return []  # the only thing that is selected by fields are Events, and a file has none
        return self._store.list(resource, namespace or None, labels)
