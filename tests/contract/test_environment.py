"""What the renderer writes into a pod's environment is what the server reads there."""

from __future__ import annotations

from dataclasses import fields

import pytest

from millrace.contract.environment import ServerEnvironment
from millrace.contract.record import MalformedRecord

GIVEN = ServerEnvironment("churn", "7", "churn-7", "7f9c2b00", "churn", "sha256:00", "s3://m", "s3://g", "s3://p")


def test_what_is_written_is_read_back():
    changed = ServerEnvironment(
        *(getattr(GIVEN, f.name) for f in fields(GIVEN)[:9]), port=9, drain_seconds=2.5, log_level="debug"
    )
    assert ServerEnvironment.from_env(GIVEN.to_env()) == GIVEN
    assert ServerEnvironment.from_env(changed.to_env()) == changed


def test_defaults_are_not_written():
    assert len(GIVEN.to_env()) == 9
    assert all(name.startswith("MILLRACE_") for name in GIVEN.to_env())


@pytest.mark.parametrize("name", sorted(GIVEN.to_env()))
def test_a_variable_that_is_absent_is_named(name):
    environ = GIVEN.to_env()
    del environ[name]
    with pytest.raises(MalformedRecord, match=f"{name}: required"):
        ServerEnvironment.from_env(environ)


def test_a_number_that_is_none_is_named():
    with pytest.raises(MalformedRecord, match="MILLRACE_PORT: 'http' is not a number"):
        ServerEnvironment.from_env(GIVEN.to_env() | {"MILLRACE_PORT": "http"})
