"""What an audit takes for gone, and what for not shown."""

from __future__ import annotations

from millrace.api import resources
from millrace.clients.store import Manifest, Store
from millrace.controller import audit
from millrace_kit.manifests import make_manifest


def _store(*manifests: Manifest) -> Store:
    store = Store()
    for one in manifests:
        store.put(resources.JOBS, one)
    return store


def _job(name: str, version: str, uid: str = "") -> Manifest:
    return make_manifest(resources.JOBS, name, version=version, uid=uid)


def test_what_is_cached_but_not_listed_is_a_ghost() -> None:
    found = audit.compare(_store(_job("a", "5")), resources.JOBS, [], "10")
    assert found.ghosts == {("default", "a")}


def test_what_was_made_after_the_list_is_no_ghost() -> None:
    found = audit.compare(_store(_job("a", "11")), resources.JOBS, [], "10")
    assert found.ghosts == frozenset()


def test_a_successor_in_the_list_makes_its_predecessor_a_ghost_and_is_itself_missing() -> None:
    found = audit.compare(_store(_job("a", "5", "one")), resources.JOBS, [_job("a", "8", "two")], "10")
    assert (found.ghosts, found.missing) == ({("default", "a")}, {("default", "a")})


def test_what_is_listed_newer_or_not_cached_is_missing_and_what_is_cached_newer_is_not() -> None:
    store = _store(_job("older", "5"), _job("same", "6"), _job("newer", "9"))
    listed = [_job("older", "7"), _job("same", "6"), _job("newer", "8"), _job("unknown", "3")]
    found = audit.compare(store, resources.JOBS, listed, "10")
    assert found.missing == {("default", "older"), ("default", "unknown")}
    assert found.ghosts == frozenset()
