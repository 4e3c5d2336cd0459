"""What the audit log of the API server says: who wrote what, when, and with what answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

LEASES, EVENTS = "leases", "events"


@dataclass(frozen=True)
class Write:
    """One answered write. `at` is when the API server had answered, in seconds of the day's clock."""

    at: float
    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_effective(self) -> bool:
        """Whether it was carried out: not refused, not in conflict."""
        return 200 <= self.code < 300

    @property
    def makes(self) -> bool:
        """Whether it made an object: a create, or an apply that found nothing."""
        return self.code == 201 and not self.subresource


class Log:
    """The log of a running API server; `read` returns what was added since it was last called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def read(self) -> list[Write]:
        """The writes logged since the last call, in the order of the log."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [write for line in lines if line for write in parse(json.loads(line))]


def parse(entry: dict[str, Any]) -> Iterator[Write]:
    """The write that an entry of the log tells of; nothing for another stage, a dry run or a panic."""
    about = entry.get("objectRef") or {}
    if entry.get("stage") != "ResponseComplete" or "dryRun=" in entry.get("requestURI", ""):
        return
    yield Write(
        at=datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=int((entry.get("responseStatus") or {}).get("code", 0)),
    )


def of(writes: Iterable[Write], user: str, namespace: str) -> list[Write]:
    """A user's effective writes in a namespace, without the lease."""
    own = (one for one in writes if one.user == user and one.namespace == namespace)
    return [one for one in own if one.is_effective and one.resource != LEASES]
