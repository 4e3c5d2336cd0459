"""The cache: what it keeps, what it finds, what it refuses to forget or to go back to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import resources
from millrace.clients import store as stores
from millrace.clients.store import Store
from millrace_kit.manifests import make_manifest


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store()
    assert store.put(resources.DATASETS, make_manifest(resources.DATASETS, "j", version="10", spec={"n": 10}))
    assert not store.put(resources.DATASETS, make_manifest(resources.DATASETS, "j", version="9", spec={"n": 9}))
    assert not store.put(resources.DATASETS, make_manifest(resources.DATASETS, "j", version="10", spec={"n": 10}))
    found = store.get(resources.DATASETS, "default", "j")
    assert found is not None
    assert found["spec"] == {"n": 10}


@pytest.mark.parametrize(
    ("version", "than", "replaces"),
    [("10", "9", True), ("9", "10", False), ("b", "a", True)],
    ids=["newer", "older", "of another order"],
)
def test_another_object_of_the_name_replaces_the_known_one_unless_it_is_older(
    version: str, than: str, replaces: bool
) -> None:
    store = Store()
    store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version=than, uid="one"))
    assert store.put(resources.JOBS, make_manifest(resources.JOBS, "j", version=version, uid="two")) is replaces
    found = store.get(resources.JOBS, "default", "j")
    assert found is not None
    assert found["metadata"]["uid"] == ("two" if replaces else "one")


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_what_is_kept_is_what_was_shown(said: object) -> None:
    store, shown = Store(), make_manifest(resources.DATASETS, "a", status={"said": said})
    store.put(resources.DATASETS, json.loads(json.dumps(shown)))
    assert store.get(resources.DATASETS, "default", "a") == shown


def test_a_text_that_many_objects_have_is_in_memory_once() -> None:
    store = Store()
    for name in ("a", "b"):
        shown = make_manifest(resources.CONFIG_MAPS, name, data={"bootstrap.yaml": "the same for all " * 100})
        store.put(resources.CONFIG_MAPS, json.loads(json.dumps(shown)))
    one, other = (dict(found["data"]) for found in store.list(resources.CONFIG_MAPS))
    assert [id(key) for key in one] == [id(key) for key in other]
    assert one["bootstrap.yaml"] is other["bootstrap.yaml"]


@pytest.mark.parametrize(
    ("one", "other", "answer"), [("2", "10", False), ("10", "2", True), ("2", "2", False), ("x", "2", None)]
)
def test_versions_are_ordered_as_numbers_or_not_at_all(one: str, other: str, answer: bool | None) -> None:
    assert stores.newer(one, than=other) is answer


def _said(manifest: stores.Manifest) -> list[str]:
    return list(manifest["spec"]["says"])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "d", "e", "de"]), st.booleans()), max_size=30))
def test_what_is_found_by_a_function_or_by_labels_is_the_same_as_looking_at_every_object(
    steps: list[tuple[str, str, bool]],
) -> None:
    store = Store()
    for version, (name, says, gone) in enumerate(steps):
        if gone:
            store.drop(resources.MODELS, "default", name)
        else:
            labels = {f"l-{letter}": "1" for letter in says}
            shown = make_manifest(resources.MODELS, name, version=str(version), labels=labels, spec={"says": says})
            store.put(resources.MODELS, shown)
        for letter in "de":
            expected = [one for one in store.list(resources.MODELS) if letter in one["spec"]["says"]]
            assert store.find(resources.MODELS, _said, letter) == expected
            assert store.list(resources.MODELS, "default", {f"l-{letter}": "1"}) == expected
        both = [one for one in store.list(resources.MODELS) if one["spec"]["says"] == "de"]
        assert store.list(resources.MODELS, None, {"l-e": "1", "l-d": "1"}) == both
        assert store.list(resources.MODELS, "elsewhere", {"l-d": "1"}) == []


def test_finding_looks_at_an_object_when_it_changes_and_not_when_it_is_looked_for() -> None:
    looked: list[str] = []

    def by_kind(manifest: stores.Manifest) -> list[str]:
        looked.append(manifest["metadata"]["name"])
        return [manifest["kind"]]

    store = Store()
    for number in range(100):
        store.put(resources.MODELS, make_manifest(resources.MODELS, f"j{number}"))
    assert len(store.find(resources.MODELS, by_kind, "Model")) == 100
    looked.clear()
    store.put(resources.MODELS, make_manifest(resources.MODELS, "j7", version="2"))
    for _ in range(100):
        store.find(resources.MODELS, by_kind, "Model")
    assert set(looked) == {"j7"}


def test_of_pods_the_names_of_containers_are_kept_and_of_jobs_no_spec() -> None:
    template = {"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b"}], "volumes": [{}]}
    store = Store()
    for resource in (resources.PODS, resources.JOBS, resources.WORKLOADS):
        store.put(resource, make_manifest(resource, "x", spec=template, status={"phase": "Running"}))
    found = {
        resource.kind: store.list(resource)[0] for resource in (resources.PODS, resources.JOBS, resources.WORKLOADS)
    }
    assert found["Pod"]["spec"] == {"initContainers": [{"name": "b"}], "containers": [{"name": "a"}]}
    assert "spec" not in found["Job"]
    assert found["Deployment"]["spec"] == template
    assert {one["status"]["phase"] for one in found.values()} == {"Running"}
    assert template["containers"] == [{"name": "a", "image": "i"}], "the event is not changed"
