"""What the API server says an object is, taken into a cache that the watches go on filling meanwhile.

An answer may arrive after the watch has shown what came later: the object gone, another one under its name. So a 404
is about the very object that was known when it was asked for, and an object is taken in only if nothing newer is known
and nothing of that name went while it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store

Learn = Callable[[ResourceType, Manifest, bool], None]
"""Told of an object that appeared or changed (False) or went (True), like by a watch."""


async def read(kube: Kube, store: Store, key: Key, learn: Learn) -> Manifest | None:
    """Learn what an object is, or that it is gone. Returns it as it was answered. Raises ApiError."""
    known = store.get(*key)
    with store.follow(key) as followed:
        try:
            live = await kube.get(*key)
        except errors.NotFound:
            if known is not None:
                learn(key.resource, known, True)
            return None
    if store.get(*key) is not None or not followed.dropped:
        learn(key.resource, live, False)
    return live
