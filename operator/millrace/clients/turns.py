"""Of what only so many may go on at a time: whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Final

FORGOTTEN_SECONDS: Final = 30.0
"""After this long without being seen to go on, a turn that was given counts as not taken."""


class Turns:
    """Who was let start and may not have been seen to go on yet.

    The cache shows what goes on a little late, and several passes decide at once: without this memory each of them
    would see room for itself. A process that has just started leads alone and knows all that goes on from its cache.
    """

    def __init__(self, most: int, monotonic: Callable[[], float]) -> None:
        self.most = most
        self._monotonic = monotonic
        self._given: dict[Hashable, float] = {}

    def take(self, name: Hashable, going: Collection[Hashable]) -> bool:
        """Whether `name` may start now; `going` are those that are seen to go on. Asking again costs nothing."""
        now = self._monotonic()
        self._given = {one: until for one, until in self._given.items() if until > now and one not in going}
        if name not in going and name not in self._given:
            if len(set(going) | set(self._given)) >= self.most:
                return False
            self._given[name] = now + FORGOTTEN_SECONDS
        return True
