"""Logs are one JSON object a line: a constant message, key-values, a traceback as one field."""

from __future__ import annotations

import json
import logging

import pytest

from millrace import telemetry


def _line(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    found: dict[str, object] = json.loads(telemetry.JsonFormatter().format(caplog.records[-1]))
    return found


def test_details_are_fields_and_the_message_is_constant(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    telemetry.Log("millrace.test").info("a pass failed", key="datasets/ml/d", failures=3)
    line = _line(caplog)
    assert (line["msg"], line["key"], line["failures"], line["level"]) == ("a pass failed", "datasets/ml/d", 3, "info")
    assert str(line["ts"]).endswith("Z")


def test_a_traceback_is_one_field_of_one_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("a bug")  # noqa: TRY301 - a traceback is wanted
    except ValueError as error:
        telemetry.Log("millrace.test").failure("a duty failed", error=error)
    line = _line(caplog)
    assert line["error"] == "a bug"
    assert "Traceback" in str(line["traceback"])
    assert "\n" not in telemetry.JsonFormatter().format(caplog.records[-1])


def test_requests_are_counted_by_code_method_and_resource() -> None:
    series = telemetry.Series()
    series.observe_request("apply", "jobs", "200", 0.01)
    assert series.registry.get_sample_value(
        "rest_client_requests_total", {"code": "200", "method": "APPLY", "resource": "jobs"}
    ) == 1  # fmt: skip
