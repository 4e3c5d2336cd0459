"""The cache: what it keeps, what it finds, what it refuses to forget or to go back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import resources
from millrace.clients import store as stores
from millrace.clients.store import Store
from millrace.testing import make_manifest


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store()
    assert store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="10", spec={"n": 10}))
    assert not store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="9", spec={"n": 9}))
    assert not store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="10", spec={"n": 10}))
    found = store.get(resources.JOBS, "default", "j")
    assert found is not None
    assert found["spec"] == {"n": 10}


def test_a_successor_of_the_same_name_replaces_its_predecessor_whatever_the_version() -> None:
    store = Store()
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="10", uid="one"))
    assert store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version="9", uid="two"))


def test_a_late_delete_of_the_predecessor_does_not_drop_the_successor() -> None:
    store = Store()
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", uid="two"))
    assert store.drop(resources.JOBS, "default", "j", uid="one") is None
    assert store.get(resources.JOBS, "default", "j") is not None


def test_lists_are_by_kind_namespace_and_labels_and_sorted() -> None:
    store = Store()
    for name, namespace, labels in (("b", "x", {"l": "1"}), ("a", "x", {"l": "1", "m": "2"}), ("c", "y", {})):
        store.put(resources.PODS, make_manifest(resources.PODS, name, namespace=namespace, labels=labels))

    def names(found: stores.Manifests) -> list[str]:
        return [one["metadata"]["name"] for one in found]

    assert names(store.list(resources.PODS)) == ["a", "b", "c"]
    assert names(store.list(resources.PODS, "y")) == ["c"]
    assert names(store.list(resources.PODS, "x", {"l": "1", "m": "2"})) == ["a"]
    assert names(store.list(resources.JOBS)) == []
    assert store.count(resources.PODS) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["d", "e", None]), st.booleans()), max_size=30))
def test_the_index_by_owner_is_the_same_as_looking_at_every_object(steps: list[tuple[str, str | None, bool]]) -> None:
    store = Store()
    for version, (name, owner, gone) in enumerate(steps):
        parent = make_manifest(resources.DATASETS, owner) if owner else None
        if gone:
            store.drop(resources.JOBS, "default", name)
        else:
            store.put(resources.JOBS, make_manifest(resources.JOBS, name, version=str(version), owner=parent))
    for owner in ("d", "e"):
        expected = [
            one
            for one in store.list(resources.JOBS)
            if (reference := stores.controller_of(one)) is not None and reference["uid"] == f"uid-{owner}"
        ]
        assert store.owned(resources.JOBS, f"uid-{owner}") == expected


def test_bookkeeping_is_not_kept_and_the_event_is_not_changed() -> None:
    shown = make_manifest(resources.JOBS, "j")
    shown["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    shown["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"}
    store = Store()
    store.put(resources.JOBS, shown)
    found = store.get(resources.JOBS, "default", "j")
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" in shown["metadata"]


@pytest.mark.parametrize(
    ("one", "other", "answer"), [("2", "10", False), ("10", "2", True), ("2", "2", False), ("x", "2", None)]
)
def test_versions_are_ordered_as_numbers_or_not_at_all(one: str, other: str, answer: bool | None) -> None:
    assert stores.newer(one, than=other) is answer
