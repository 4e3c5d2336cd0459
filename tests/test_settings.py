"""Settings are read once, and what is wrong with them is said all at once."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest

from millrace import errors, settings

GOOD = {
    "MILLRACE_NAMESPACE": "ml",
    "MILLRACE_TRAINER_IMAGE": "trainer:1",
    "MILLRACE_SERVER_IMAGE": "server:1",
    "MILLRACE_ROUTER_IMAGE": "router:1",
}


def test_only_the_namespace_and_the_images_are_needed() -> None:
    found = settings.parse(GOOD)
    assert (found.namespace, found.store_uri, found.store_secret) == ("ml", "s3://millrace", "millrace-store")
    assert (found.lease_name, found.metrics_port, found.image_pull_policy) == (
        "millrace-operator",
        8080,
        "IfNotPresent",
    )


def test_every_field_has_a_variable_and_every_variable_reaches_its_field() -> None:
    assert set(settings.PARSED.values()) == {field.name for field in dataclasses.fields(settings.Settings)}
    values = {"metrics_port": "9000", "workers": "3", "image_pull_policy": "Never", "store_uri": "s3://b/prefix"}
    values |= {"log_level": "DEBUG", "snapshots_at_a_time": "2", "upgrades_at_a_time": "7"}
    given = {variable: values.get(field, f"x-{field}") for variable, field in settings.PARSED.items()}
    found = dataclasses.asdict(settings.parse(given))
    assert {field: str(value) for field, value in found.items()} == {
        field: given[variable] for variable, field in settings.PARSED.items()
    }


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(errors.SettingsError) as caught:
        settings.parse({})
    assert all(name in str(caught.value) for name in settings.REQUIRED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILLRACE_METRICS_PORT", "eighty"),
        ("MILLRACE_METRICS_PORT", "70000"),
        ("MILLRACE_WORKERS", "0"),
        ("MILLRACE_IMAGE_PULL_POLICY", "Sometimes"),
        ("MILLRACE_LOG_LEVEL", "LOUD"),
        ("MILLRACE_STORE_URI", "bucket"),
        ("MILLRACE_STORE_URI", "gs://bucket"),
        ("MILLRACE_WATCH", "team-*"),
        ("MILLRACE_WATCH", "ML"),
        ("MILLRACE_WATCH", "ml;fraud"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(errors.SettingsError, match=re.escape(f"{name} is '{value}', not")):
        settings.parse({**GOOD, name: value})


@pytest.mark.parametrize(
    ("watch", "names", "label"),
    [
        ("", ("ml",), ""),
        ("fraud, lab,fraud", ("fraud", "lab"), ""),
        ("*", (), ""),
        ("millrace.dev/watched=true", (), "millrace.dev/watched=true"),
    ],
)
def test_namespaces_are_watched_by_name_all_or_by_label(watch: str, names: tuple[str, ...], label: str) -> None:
    found = settings.parse({**GOOD, "MILLRACE_WATCH": watch})
    assert (found.watched_namespaces, found.watched_label) == (names, label)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.parse(GOOD).namespace = "other"  # type: ignore[misc]
    assert typing.get_type_hints(settings.Settings)["namespace"] is str
