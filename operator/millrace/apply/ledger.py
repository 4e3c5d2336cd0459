"""What this process wrote and has not yet seen come back through the watches.

A pass that started before its own last writes arrived in the cache would decide on an old state: create twice, step
twice. So each write is noted under the object for whose sake it was made, and a pass is put off while the cache is
behind one of them, for at most `PATIENCE_SECONDS` a write: a lost event must not stop the object for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace.clients import store as stores
from millrace.clients.store import Key, Manifest, Store

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class _Write:
    version: str
    """The resourceVersion the API server answered with; empty for a delete."""
    uid: str
    until: float


class Ledger:
    """Pending writes by the key they were made for."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pending: dict[Key, dict[Key, _Write]] = {}

    def wrote(self, owner: Key, written: Key, answer: Manifest) -> None:
        """A create, apply or patch of ``written`` was answered with this manifest."""
        metadata = answer["metadata"]
        self._note(owner, written, _Write(metadata["resourceVersion"], metadata["uid"], self._deadline()))

    def deleted(self, owner: Key, gone: Key, uid: str) -> None:
        """A delete of that very object was accepted."""
        self._note(owner, gone, _Write("", uid, self._deadline()))

    def is_behind(self, owner: Key, store: Store) -> bool:
        """Whether the cache has yet to show a write made for ``owner``."""
        writes = self._pending.get(owner)
        if not writes:
            return False
        now = self._monotonic()
        for key, write in list(writes.items()):
            if now >= write.until or _has_arrived(write, store.get(*key)):
                del writes[key]
        if not writes:
            del self._pending[owner]
        return bool(writes)

    def overdue(self, owner: Key, store: Store) -> list[Key]:
        """What was written for ``owner``, is still not in the cache, and is not waited for any more."""
        now, writes = self._monotonic(), self._pending.get(owner, {})
        return [key for key, one in writes.items() if now >= one.until and not _has_arrived(one, store.get(*key))]

    def is_own(self, key: Key, version: str) -> bool:
        """Whether this version of an object came from a pass over the object itself: the echo of a status write."""
        write = self._pending.get(key, {}).get(key)
        return write is not None and write.version == version

    def dropped(self, gone: Key, uid: str) -> None:
        """The watch said that an object is gone: nobody needs to wait for it."""
        for owner, writes in list(self._pending.items()):
            if gone in writes and writes[gone].uid == uid:
                del writes[gone]
                if not writes:
                    del self._pending[owner]

    def forget(self, owner: Key) -> None:
        """The object itself is gone."""
        self._pending.pop(owner, None)

    def _note(self, owner: Key, written: Key, write: _Write) -> None:
        self._pending.setdefault(owner, {})[written] = write

    def _deadline(self) -> float:
        return self._monotonic() + PATIENCE_SECONDS


def _has_arrived(write: _Write, cached: Manifest | None) -> bool:
    if not write.version:
        return cached is None or cached["metadata"]["uid"] != write.uid or "deletionTimestamp" in cached["metadata"]
    if cached is None:
        return False
    version = cached["metadata"]["resourceVersion"]
    return version == write.version or stores.newer(version, write.version) is not False
