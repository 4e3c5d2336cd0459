"""So many at a time, whatever the cache knows already."""

from __future__ import annotations

from millrace.clients.turns import FORGOTTEN_SECONDS, Turns
from millrace_kit.clock import ManualClock


def test_no_more_are_let_start_than_may_go_on_although_none_is_seen_yet() -> None:
    turns = Turns(2, ManualClock().monotonic)
    assert [turns.take(name, ()) for name in "abc"] == [True, True, False]
    assert turns.take("a", ()), "asking again is no second turn"


def test_who_is_seen_to_go_on_counts_once() -> None:
    turns = Turns(2, ManualClock().monotonic)
    assert turns.take("a", ())
    assert turns.take("b", ("a",))
    assert not turns.take("c", ("a", "b"))
    assert turns.take("c", ("b",)), "a has ended"


def test_a_turn_that_nobody_took_is_given_to_another() -> None:
    clock = ManualClock()
    turns = Turns(1, clock.monotonic)
    assert turns.take("a", ())
    assert not turns.take("b", ())
    clock.advance(FORGOTTEN_SECONDS + 1)
    assert turns.take("b", ())
