"""A pass waits for its own last writes, but not for ever."""

from __future__ import annotations

import pytest

from millrace.api import resources
from millrace.apply.ledger import PATIENCE_SECONDS, Ledger
from millrace.clients.store import Key, Store
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest

OWNER = Key(resources.DATASETS, "default", "d")
CHILD = Key(resources.JOBS, "default", "j")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(clock: ManualClock) -> Ledger:
    return Ledger(clock.monotonic)


def test_a_pass_waits_until_the_cache_shows_the_write(ledger: Ledger) -> None:
    store = Store()
    ledger.wrote(OWNER, CHILD, make_manifest(resources.JOBS, "j", version="7"))
    assert ledger.is_behind(OWNER, store)
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="6"))
    assert ledger.is_behind(OWNER, store)
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="9"))
    assert not ledger.is_behind(OWNER, store)


def test_other_objects_do_not_wait(ledger: Ledger) -> None:
    ledger.wrote(OWNER, CHILD, make_manifest(resources.JOBS, "j", version="7"))
    assert not ledger.is_behind(Key(resources.DATASETS, "default", "other"), Store())


def test_a_lost_event_stops_nobody_for_ever(ledger: Ledger, clock: ManualClock) -> None:
    ledger.wrote(OWNER, CHILD, make_manifest(resources.JOBS, "j", version="7"))
    clock.advance(PATIENCE_SECONDS)
    assert not ledger.is_behind(OWNER, Store())


def test_what_was_created_and_went_at_once_is_not_waited_for(ledger: Ledger) -> None:
    ledger.wrote(OWNER, CHILD, make_manifest(resources.JOBS, "j", version="7"))
    ledger.dropped(CHILD, "another uid")
    assert ledger.is_behind(OWNER, Store())
    ledger.dropped(CHILD, "uid-j")
    assert not ledger.is_behind(OWNER, Store())


def test_a_delete_is_waited_for_until_the_object_goes_or_is_going(ledger: Ledger) -> None:
    store = Store()
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="7"))
    ledger.deleted(OWNER, CHILD, "uid-j")
    assert ledger.is_behind(OWNER, store)
    going = make_manifest(resources.JOBS, "j", version="8")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    store.put(resources.JOBS, going)
    assert not ledger.is_behind(OWNER, store)


def test_the_echo_of_an_own_status_write_is_known(ledger: Ledger) -> None:
    ledger.wrote(OWNER, OWNER, make_manifest(resources.DATASETS, "d", version="7"))
    assert ledger.is_own(OWNER, "7")
    assert not ledger.is_own(OWNER, "8")
