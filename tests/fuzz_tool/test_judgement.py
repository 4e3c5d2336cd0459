"""How answers and ends are judged."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_fuzz import lanes, report, rest, seeds
from millrace_fuzz.client import Answer
from millrace_fuzz.lanes import Outcome
from millrace_fuzz.mutations import Expected, Mutation

SPEC = seeds.SPECS["Dataset"]["small"]


def mutation(expected: Expected) -> Mutation:
    return Mutation("Dataset/x-1", "Dataset", "small", "f", "spec.x", SPEC, expected, ("spec.split.seed",))


def judged(expected: Expected, code: int, message: str = "", **spec: Any) -> Outcome:
    body = seeds.manifest("Dataset", "d", "n", {**SPEC, **spec}) if code < 300 else {"message": message}
    return lanes._judge(mutation(expected), Answer(code, body))


@pytest.mark.parametrize(
    ("outcome", "answer", "fault"),
    [
        (judged("refused", 422, "Dataset is invalid: spec.split.seed: Invalid value: -1"), "refused", ""),
        (judged("refused", 400, 'unknown field "spec.split.seed"'), "refused", ""),
        (judged("refused", 422, "Dataset is invalid: spec.split.seeds: no"), "refused", "no path"),
        (judged("refused", 422, "Dataset is invalid: <nil>"), "refused", "no path"),
        (judged("refused", 500, "spec.split.seed"), "refused", "other refusal"),
        (judged("refused", 201), "accepted", "accepted"),
        (judged("accepted", 422, "spec.split.seed"), "refused", "refused"),
        (judged("accepted", 201), "accepted", ""),
        (judged("either", 201), "accepted", ""),
        (judged("either", 422, "spec.split.seed"), "refused", ""),
        (judged("accepted", 201, format="Avro"), "accepted", "unreadable"),
    ],
)
def test_an_answer_is_held_against_what_must_be(outcome: Outcome, answer: str, fault: str) -> None:
    assert (outcome.answer, outcome.fault) == (answer, fault)


def condition(kind: str, status: str, reason: str, generation: int = 2) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": "m", "observedGeneration": generation}


def standing(*conditions: dict[str, Any], observed: int = 2, **status: Any) -> dict[str, Any]:
    told = {"observedGeneration": observed, "conditions": list(conditions), **status}
    return {"metadata": {"generation": 2}, "status": told}


READY = condition("Ready", "True", "VersionAvailable")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (standing(READY), ""),
        (standing(READY, observed=1), "observedGeneration 1"),
        (standing(), "no conditions"),
        (standing(READY, condition("Reconciling", "True", "LookingAtSource")), "still LookingAtSource"),
        (standing(condition("Reconciling", "True", "PendingApproval")), ""),
        (standing(READY, condition("Reconciling", "True", "InternalError")), "InternalError"),
        (standing(condition("Stalled", "True", "InvalidSpec")), "InvalidSpec"),
        (standing(condition("Stalled", "True", "Refused")), "Refused"),
        (standing(condition("Ready", "True", "NobodyKnowsThis")), "NobodyKnowsThis"),
        (standing(condition("Ready", "True", "Serving", generation=1)), "about generation 1"),
    ],
)
def test_an_object_is_at_rest_when_every_condition_was_decided_about_this_generation(
    found: dict[str, Any], why: str
) -> None:
    assert (why in rest.trouble(found)) if why else rest.trouble(found) == ""


def test_at_home_nothing_of_another_revision_may_be_left() -> None:
    analysing = condition("Reconciling", "True", "CanaryAnalysing")
    assert rest.trouble(standing(analysing)) == ""
    assert "CanaryAnalysing" in rest.trouble(standing(analysing), home=True)
    assert "revision" in rest.trouble(standing(READY, retiring=[{"revision": "x"}]), home=True)


def test_there_and_back_differs_in_nothing_but_what_counts_and_remembers() -> None:
    now = standing(READY, jobName="d-2", current={"version": 3, "digest": "a"}, message="Version 3 since 10:11:12")
    then = standing(READY, jobName="d-1", current={"version": 1, "digest": "a"}, message="Version 1 since 09:00:00")
    for one in (now, then):
        one["spec"] = SPEC
    assert rest.differences(rest.canonical(now, []), rest.canonical(then, [])) == []
    now["status"]["current"]["digest"] = "b"
    assert rest.differences(rest.canonical(now, []), rest.canonical(then, [])) == [
        "status.current.digest is 'b', with the seed it was 'a'"
    ]


def outcomes(*faults: tuple[Expected, str, str]) -> list[Outcome]:
    return [Outcome(mutation(expected), answer, fault) for expected, answer, fault in faults]  # type: ignore[arg-type]


def test_a_run_is_good_when_all_but_two_in_a_hundred_invalid_ones_are_refused_and_nothing_else_is_wrong() -> None:
    fine = outcomes(*([("refused", "refused", "")] * 98), ("accepted", "accepted", ""))
    leaked = outcomes(("refused", "accepted", "accepted"), ("refused", "refused", "no path"))
    assert report.is_good(fine + leaked, [])
    assert not report.is_good(fine + leaked * 2, [])
    assert not report.is_good(fine, ["a pod that no node could start"])
    for fault in ("stuck", "not restored", "unreadable", "refused"):
        assert not report.is_good(fine + outcomes(("accepted", "accepted", fault)), [])
    assert report.line(fine + outcomes(("accepted", "accepted", "stuck"))) == (
        "mutations=100 refused=98 accepted=2 accepted-stuck=1"
    )
