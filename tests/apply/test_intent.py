"""When an object still is as it was applied, and when a status differs from the one before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import resources
from millrace.apply import intent
from millrace_kit.manifests import make_manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1, max_size=3), JSON, max_size=4))
def test_an_object_satisfies_itself_whatever_the_order_of_its_keys(manifest: dict[str, Any]) -> None:
    turned = dict(reversed(manifest.items()))
    assert intent.project(manifest, manifest) == intent.project(turned, manifest)
    assert intent.fingerprint(manifest) == intent.fingerprint(turned)


def test_what_the_intent_does_not_speak_about_is_cut_away() -> None:
    wanted = {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    found = {
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}, "type": "ClusterIP"},
        "status": {},
    }
    assert intent.project(found, wanted) == wanted


@pytest.mark.parametrize(
    "edited",
    [
        {"spec": {"ports": [{"port": 81}], "selector": {"a": "b"}}},
        {"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"a": "b"}}},
        {"spec": {"ports": [{"port": 80}], "selector": {}}},
        {"spec": {"ports": []}},
        {},
    ],
    ids=["changed", "added to a list", "removed", "emptied", "nothing left"],
)
def test_an_edit_of_what_the_intent_speaks_about_shows(edited: dict[str, Any]) -> None:
    wanted = {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    assert intent.project(edited, wanted) != intent.project(wanted, wanted)


def test_a_child_gets_its_owner_and_keeps_one_it_names_itself() -> None:
    owner = make_manifest(resources.DATASETS, "d")
    child = make_manifest(resources.JOBS, "j")
    (reference,) = intent.owned(child, owner)["metadata"]["ownerReferences"]
    assert (reference["uid"], reference["controller"], reference["kind"]) == ("uid-d", True, "Dataset")
    claimed = make_manifest(resources.JOBS, "j", owner=make_manifest(resources.MODELS, "m"))
    assert intent.owned(claimed, owner) is claimed


def _condition(status: str, at: str, message: str = "") -> dict[str, str]:
    return {"type": "Ready", "status": status, "reason": "R", "message": message, "lastTransitionTime": at}


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ({}, {"conditions": []}, True),
        ({"a": None}, {}, True),
        ({"conditions": [_condition("True", "now")]}, {"conditions": [_condition("True", "before")]}, True),
        ({"conditions": [_condition("True", "now")]}, {"conditions": [_condition("False", "before")]}, False),
        ({"conditions": [_condition("True", "x", "m")]}, {"conditions": [_condition("True", "x")]}, False),
        ({"version": 2}, {"version": 1}, False),
        ({}, {"version": 1}, False),
        ({"version": 1}, {}, False),
    ],
)
def test_a_status_is_new_unless_only_times_of_standing_conditions_differ(
    wanted: dict[str, Any], found: dict[str, Any], same: bool
) -> None:
    assert intent.same_status(wanted, found) is same
