"""When an object still is as it was applied, and when a status differs from the one before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.api import resources
from millrace.apply import intent
from millrace_kit.manifests import make_manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
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


def _defaulted(intent: Any) -> Any:
    """The intent as an API server keeps it: with defaults beside every value."""
    if isinstance(intent, dict):
        return {**{name: _defaulted(value) for name, value in intent.items()}, "defaulted by the server": 1}
    return [_defaulted(one) for one in intent] if isinstance(intent, list) else intent


MAPPING = st.dictionaries(st.text(min_size=1, max_size=3), JSON, min_size=1, max_size=4)


@settings(deadline=None)
@given(MAPPING)
def test_defaults_of_the_api_server_are_no_difference(wanted: dict[str, Any]) -> None:
    assert intent.agrees(_defaulted(wanted), wanted)


@settings(deadline=None)
@given(st.data(), MAPPING)
def test_every_change_of_what_an_intent_speaks_about_is_a_difference(
    data: st.DataObject, wanted: dict[str, Any]
) -> None:
    found, where = copy.deepcopy(wanted), "found"
    at = found
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))), where)
        inner = at[key]
        if not (isinstance(inner, (dict, list)) and inner and data.draw(st.booleans(), "deeper")):
            break
        at = inner
    at[key] = data.draw(JSON.filter(lambda value: (type(value), value) != (type(inner), inner)), "another value")
    assert intent.agrees(found, wanted) is _says_as_much(at[key], inner)


def _says_as_much(value: Any, inner: Any) -> bool:
    """A mapping with more in it still says what the intent does."""
    return intent.agrees(value, inner) and isinstance(inner, dict)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("0.5", "500m", True), ("1024Mi", "1Gi", True), ("1.5Gi", "1536Mi", True), ("1e3", "1k", True),
        ("0.0001", "100u", True), ("1", "1000m", True), ("1", "1001m", False), ("1G", "1Gi", False),
        ("1", "one", False),
    ],
)  # fmt: skip
def test_quantities_are_compared_by_what_they_amount_to(wanted: str, found: str, same: bool) -> None:
    for part in ("requests", "limits"):
        assert intent.agrees({part: {"cpu": found, "memory": "1"}}, {part: {"cpu": wanted}}) is same
    assert not intent.agrees({"value": "500m"}, {"value": "0.5"}), "only where a quantity is meant"


def test_a_stamp_tells_an_intent_from_every_other() -> None:
    wanted = make_manifest(resources.CONFIG_MAPS, "c", data={"a": "1", "b": "2"})
    less = make_manifest(resources.CONFIG_MAPS, "c", data={"a": "1"})
    assert intent.stamped(wanted) == intent.stamped(copy.deepcopy(wanted))
    assert intent.agrees(intent.stamped(wanted), intent.stamped(wanted))
    assert intent.agrees(wanted, less), "what is not spoken about any more does not show in the values"
    assert not intent.agrees(intent.stamped(wanted), intent.stamped(less))
    named = make_manifest(resources.CONFIG_MAPS, "c")
    named["metadata"]["annotations"] = {"a": "b"}
    assert intent.stamped(named)["metadata"]["annotations"].items() >= {"a": "b"}.items()


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
