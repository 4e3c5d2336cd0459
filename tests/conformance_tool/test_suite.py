"""The suite finds nothing in a server that conforms, and each falsified answer by the case that is meant for it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from millrace.conformance import report, suite
from millrace.conformance.case import Level
from millrace.conformance.exchange import Exchange
from millrace.conformance.subject import LENGTH, Subject
from millrace.conformance.suite import Outcome


class Lying(Exchange):
    """A server whose answers are changed on their way."""

    def __init__(self, url, lie):
        super().__init__(url, {}, 10.0)
        self.lie = lie

    def call(self, method, path, body=None, headers=None):
        return self.lie(path, super().call(method, path, body, headers))


def failed(server, lie, model="churn"):
    subject = Subject(Lying(f"http://127.0.0.1:{server.settings.port}", lie), model)
    return {one.case.name for one in suite.run(subject) if one.outcome is Outcome.FAILED}


def changed(answer, change):
    """The answer with its JSON object changed, and what follows it left alone."""
    length = int(answer.headers.get(LENGTH, len(answer.body)))
    try:
        found = json.loads(answer.body[:length])
    except ValueError:
        return answer
    text = json.dumps(change(found) or found).encode()
    headers = {**answer.headers, **({LENGTH: str(len(text))} if LENGTH in answer.headers else {})}
    return replace(answer, body=text + answer.body[length:], headers=headers)


def every(change):
    return lambda path, answer: changed(answer, change)


def at(ending, change):
    return lambda path, answer: changed(answer, change) if path.endswith(ending) else answer


def without(name):
    return every(lambda found: found.pop(name, None) and None if isinstance(found, dict) else None)


def outputs(change):
    def altered(found):
        if isinstance(found, dict) and "outputs" in found:
            found["outputs"] = change(found["outputs"])

    return at("/infer", altered)


def shorter(tensors):
    return [{**tensor, "data": tensor["data"][:-1]} if "data" in tensor else tensor for tensor in tensors]


def by_name(tensors):
    return sorted(tensors, key=lambda tensor: tensor["name"])


def status(wanted, given):
    return lambda path, answer: replace(answer, status=given) if answer.status == wanted else answer


def rudely(path, answer):
    """An error of the framework's in place of the protocol's."""
    return replace(answer, body=b'{"detail": "no"}') if answer.status >= 400 else answer


def bare_health(path, answer):
    return replace(answer, body=b"") if path.endswith(("live", "ready")) and answer.status == 200 else answer


def wrong_length(path, answer):
    if LENGTH not in answer.headers:
        return answer
    return replace(answer, body=answer.body + b"\0")


def frozen_statistics():
    seen = {}
    return lambda path, answer: seen.setdefault(path, answer) if path.endswith("stats") else answer


def leaking(path, answer):
    if answer.status != 400:
        return answer
    return replace(answer, body=json.dumps({"error": 'Traceback, File "serve.py", line 1'}).encode())


def unavailable(found):
    return [{**entry, "state": "UNAVAILABLE"} for entry in found]


def renumbered(found):
    found["model_version"] = 7


LIES = {
    "no id": (without("id"), {"id-comes-back"}),
    "no model name": (without("model_name"), {"model-name"}),
    "a number as version": (at("/infer", renumbered), {"model-version"}),
    "outputs in the model's order": (
        outputs(lambda all_of: sorted(all_of, key=lambda one: one["name"])),
        {"outputs-in-order"},
    ),
    "health without a body": (bare_health, {"live-body", "ready-body", "model-ready-body"}),
    "bytes behind the last tensor": (
        wrong_length,
        {"binary-outputs", "binary-output", "raw-body", "floats-are-exact"},
    ),
    "statistics that stand still": (frozen_statistics(), {"statistics-of-model"}),
    "an index of unavailable models": (at("index", unavailable), {"repository-index"}),
    "a traceback in errors": (leaking, {"no-internals"}),
    "405 as 404": (status(405, 404), {"wrong-method-is-405"}),
    "no extensions told": (at("v2", lambda found: {**found, "extensions": None}), {"server-metadata"}),
    "text for metadata": (
        lambda path, answer: replace(answer, headers={**answer.headers, "content-type": "text/plain"}),
        {"json-says-so"},
    ),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lie_is_found_by_the_case_that_is_for_it(server, lie):
    told, found_by = LIES[lie]
    assert failed(server, told) == found_by


def test_a_server_that_conforms_fails_nothing(server, mixed_server):
    def honest(path, answer):
        return answer

    assert failed(server, honest) == set()
    assert failed(mixed_server, honest) == set()


def test_every_case_can_fail(server, mixed_server):
    """Every case fails against a server that refuses everything, or against one that grants everything."""
    lies = (
        lambda path, answer: replace(answer, status=500, body=b""),
        lambda path, answer: replace(answer, status=200, headers={}, body=b"{}"),
        outputs(shorter),
        rudely,
        status(400, 500),
    )
    found = set[str]()
    for lie in lies:
        found |= failed(server, lie) | failed(mixed_server, lie)
    found |= set().union(*(failed(server, lie) for lie, _ in LIES.values()))
    assert found == {case.name for case in suite.CASES}


def test_an_error_object_is_asked_of_every_refusal(server):
    found = failed(server, rudely)
    assert {"unknown-model", "unknown-output"} < found
    robust = {case.name for case in suite.CASES if case.level is Level.ROBUST}
    assert found - robust == {"unknown-model", "unknown-output"}


def test_names_are_unique_and_every_case_says_what_it_requires():
    names = [case.name for case in suite.CASES]
    assert len(set(names)) == len(names) > 50
    assert all(case.about and case.source for case in suite.CASES)
    assert names[-1] == "still-there"


def test_the_matrix_has_a_row_for_each_case_and_the_failures_in_words(server):
    url = f"http://127.0.0.1:{server.settings.port}"
    honest = suite.run(Subject(Exchange(url, {}, 10.0), "churn"))
    lied = suite.run(Subject(Lying(url, without("id")), "churn"))
    text = report.matrix({"one": honest, "other": lied})
    assert "| The request's id comes back | spec | ok | **no** |" in text
    assert "* id-comes-back: `expected id c-1, got None`" in text
    assert "What one answered instead" not in text
    assert (suite.conforms(honest), suite.conforms(lied)) == (True, False)
