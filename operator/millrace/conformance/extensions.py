"""The model repository and statistics extensions."""

from __future__ import annotations

from typing import Any

from millrace.conformance.case import Cases, Level, expect
from millrace.conformance.subject import Subject

CASES = Cases(Level.EXTENSION, "extension_model_repository.md")
case = CASES.case


@case()
def repository_index(subject: Subject) -> None:
    """POST v2/repository/index lists the model as READY, with and without a filter"""
    subject.needs("model_repository")
    for body in ({}, {"ready": True}):
        answer = subject.post("v2/repository/index", body)
        expect(answer.status == 200, f"expected 200, got {answer.status}")
        entries = answer.json()
        states = [entry.get("state") for entry in entries if entry.get("name") == subject.model]
        expect("READY" in states, f"expected {subject.model} as READY, got {entries}")


@case(source="extension_statistics.md")
def statistics_of_model(subject: Subject) -> None:
    """GET v2/models/M/stats counts requests and rows"""
    subject.needs("statistics")
    before = _statistics(subject, f"{subject.path}/stats")
    subject.infer(subject.request())
    after = _statistics(subject, f"{subject.path}/stats")
    for name in ("inference_count", "execution_count"):
        expect(after[name] == before[name] + 1, f"expected {name} {before[name] + 1}, got {after[name]}")
    succeeded = after["inference_stats"]["success"]
    expect(succeeded["count"] > 0 and succeeded["ns"] > 0, f"expected counts and nanoseconds, got {succeeded}")


@case(source="extension_statistics.md")
def statistics_of_all(subject: Subject) -> None:
    """GET v2/models/stats has every model"""
    subject.needs("statistics")
    expect(_statistics(subject, "v2/models/stats")["name"] == subject.model, f"expected {subject.model}")


def _statistics(subject: Subject, path: str) -> dict[str, Any]:
    answer = subject.get(path)
    expect(answer.status == 200, f"expected 200, got {answer.status}")
    found = [one for one in answer.object().get("model_stats", []) if one.get("name") == subject.model]
    expect(found, f"expected statistics of {subject.model}, got {answer.body[:100]!r}")
    return dict(found[0])
