"""What routers and servers have counted, added up over answers, restarts and pods."""

from __future__ import annotations

import pytest

from millrace.contract.router import RevisionTraffic
from millrace.observe.counting import BinCounter, Look, TrafficCounter

STABLE, CANARY = "aaaaaaaa", "bbbbbbbb"


def traffic(requests: int, failed: int = 0, healthy: int = 1, untried: int = 0) -> RevisionTraffic:
    return RevisionTraffic(attempts=requests - untried, completed=requests, lost=failed, healthy=healthy)


def counted(*looks: Look | None) -> RevisionTraffic:
    """What the canary did in these looks."""
    total = RevisionTraffic()
    for look in looks:
        total = total.plus(look.counted[CANARY]) if look is not None else total
    return total


def test_what_pods_count_between_two_answers_is_added_up_over_restarts_and_pods() -> None:
    counter = TrafficCounter()
    assert counter.look("r-0", "g", {CANARY: traffic(10, 1)}) is None, "nobody knows since when that was counted"
    looks = [
        counter.look("r-0", "g", {CANARY: traffic(15, 2)}),
        counter.look("r-0", "g", {CANARY: traffic(4)}),  # it started again: all of it is new
        counter.look("r-1", "g", {CANARY: traffic(100)}),
        counter.look("r-1", "g", {CANARY: traffic(101)}),
    ]
    total = counted(*looks)
    assert (total.attempts, total.completed, total.failed) == (10, 10, 1)


@pytest.mark.parametrize(
    "before",
    [
        RevisionTraffic(attempts=5, completed=5, lost=5),
        RevisionTraffic(attempts=5, completed=5, saved=4),
        RevisionTraffic(attempts=5, completed=5, refused=5),
        RevisionTraffic(attempts=5, completed=5, latency_ms={100.0: 5, float("inf"): 99}),
    ],
    ids=["lost", "saved", "refused", "latency"],
)
def test_a_router_that_started_again_and_had_more_callers_since_is_known_by_any_of_its_counters(
    before: RevisionTraffic,
) -> None:
    """Its 3 failures of 90 were taken for none of 85."""
    latency = {100.0: 80, float("inf"): 90}
    now = RevisionTraffic(attempts=90, completed=90, saved=2, lost=1, refused=3, latency_ms=latency)
    assert now.since(before) == now
    assert now.since(RevisionTraffic(attempts=5, completed=5, latency_ms={float("inf"): 5})).completed == 85


def test_a_look_in_which_the_weights_changed_counts_nothing() -> None:
    """Whose requests came under which weights is not known, and their shares are what the comparison rests on."""
    counter = TrafficCounter()
    counter.look("r-0", "at 5 %", {CANARY: traffic(10)})
    assert counter.look("r-0", "at 50 %", {CANARY: traffic(900)}) is None
    assert counted(counter.look("r-0", "at 50 %", {CANARY: traffic(910)})).completed == 10


def test_a_cluster_that_came_back_counts_from_where_it_is() -> None:
    """Envoy may go on where it was: a revision that is tried again does not begin with its old failures."""
    counter = TrafficCounter()
    counter.look("r-0", "g", {CANARY: traffic(500, 500)})
    counter.look("r-0", "g", {})
    back = counter.look("r-0", "g", {CANARY: traffic(500, 500)})
    assert back is not None
    assert back.counted == {}
    assert counted(counter.look("r-0", "g", {CANARY: traffic(502, 500)})).failed == 0


@pytest.mark.parametrize(
    "before, now, counts",
    [
        (traffic(10), traffic(20), True),
        (traffic(10), traffic(10), True),  # by chance all went to stable
        (traffic(10, healthy=0, untried=10), traffic(20, healthy=0, untried=20), False),
        (traffic(10), traffic(20, healthy=0, untried=5), True),
    ],
    ids=["answered", "not asked", "no server to try", "a server died meanwhile"],
)
def test_stable_is_counted_only_while_a_server_of_the_canary_could_be_tried(
    before: RevisionTraffic, now: RevisionTraffic, counts: bool
) -> None:
    look = Look("g", {CANARY: before, STABLE: traffic(0)}, {CANARY: now.since(before), STABLE: traffic(30)})
    assert (look.stratum(CANARY, STABLE) is not None) == counts


def test_looks_in_which_a_server_died_are_added_up_apart() -> None:
    whole = Look("g", {CANARY: traffic(0)}, {CANARY: traffic(10)})
    broken = Look("g", {CANARY: traffic(0)}, {CANARY: traffic(10, healthy=0)})
    keys = [found[0] for found in (whole.stratum(CANARY, ""), broken.stratum(CANARY, "")) if found is not None]
    assert keys == [("g", True), ("g", False)]


def test_histograms_of_other_bounds_are_added_up_where_they_agree() -> None:
    """Routers of two releases may run at once."""
    one = RevisionTraffic(latency_ms={100.0: 5, 250.0: 9, float("inf"): 10})
    other = RevisionTraffic(latency_ms={100.0: 1, 200.0: 2, float("inf"): 3})
    assert one.plus(other).latency_ms == {100.0: 6, float("inf"): 13}


def test_bins_are_added_up_over_restarts_and_pods() -> None:
    counter = BinCounter()
    counter.add("s-0", {"x": (5, 5), "y": (1, 9)})
    counter.add("s-0", {"x": (6, 7), "y": (1, 12)})
    counter.add("s-0", {"x": (1, 0), "y": (0, 1)})
    counter.add("s-1", {"x": (0, 3), "y": (3, 0)})
    assert counter.totals == {"x": (7, 10), "y": (4, 13)}
