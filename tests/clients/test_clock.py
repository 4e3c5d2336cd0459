"""The clock's steadiness: what it takes for a step, and what not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.clients.clock import Steadiness

START = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)


class SetClock:
    """A clock that goes on when told to, and is set when told to."""

    def __init__(self) -> None:
        self.passed = self.set_by = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed + self.set_by)

    def monotonic(self) -> float:
        return self.passed


def test_a_clock_that_only_goes_on_has_been_steady_since_the_start() -> None:
    clock = SetClock()
    steadiness = Steadiness(clock)
    for _ in range(100):
        clock.passed += 600.0
        clock.set_by += 0.3  # as an adjustment by NTP does over time
        assert steadiness.since() == START


@pytest.mark.parametrize("step", [3600.0, -3600.0, 10.0])
def test_a_clock_that_was_set_is_steady_since_then(step: float) -> None:
    clock = SetClock()
    steadiness = Steadiness(clock)
    clock.passed += 60.0
    clock.set_by += step
    moment = clock.now()
    assert steadiness.since() == moment
    clock.passed += 60.0
    assert steadiness.since() == moment
