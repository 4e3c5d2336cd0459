"""The only place where Millrace asks what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Wall-clock time for what people read, monotonic time for every deadline."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, whatever happens to the time of day."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the one place

    def monotonic(self) -> float:
        return time.monotonic()


STEP_SECONDS: Final = 5.0
"""More than slewing the clock can change between two looks."""


class Steadiness:
    """Since when the time of day has gone on as the monotonic clock does: since the start, or since its last step.

    A clock that is set, and a machine that slept, make a step. A wait that ends in something harmful counts from here
    at the earliest.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()
        self._since = self._wall

    def since(self) -> datetime:
        """The moment, aware and in UTC; never after now."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        passed = (wall - self._wall).total_seconds()
        if abs(passed - (monotonic - self._monotonic)) > STEP_SECONDS:
            self._since = wall
        self._wall, self._monotonic = wall, monotonic
        return self._since
