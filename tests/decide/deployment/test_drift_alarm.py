"""How a drift alarm ends: another model, a person who names it, or a spec that asks for something else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from millrace.api import conditions
from millrace.api.base import rfc3339
from millrace.api.deployment_status import DriftStatus
from millrace.decide.deployment import monitoring
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift
from millrace_kit.simulation import SimulatedCluster, make_model

DRIFTED = Verdict("Drifted", 0.31, 0.2, "tenure", 1200, 0.4)
CALM = Verdict("None", 0.02, -0.1, "tenure", 900, 0.01)


@pytest.fixture
def alarmed() -> SimulatedCluster:
    """churn-1 serves, and its rows differ from those it was trained on."""
    cluster = SimulatedCluster()
    cluster.change(monitoring={"drift": {"interval": "10s"}})
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    judges(cluster, DRIFTED)
    cluster.settle(1)
    assert condition(cluster).reason == "DriftDetected"
    return cluster


def judges(cluster: SimulatedCluster, verdict: Verdict) -> None:
    """By the rule of now, and of the rows that count now."""
    stable, watched = cluster.status.stable, cluster.deployment.spec.monitoring
    assert stable is not None
    assert watched is not None
    known = monitoring.known_of(cluster.deployment, stable)
    since = known.acknowledged_time if known is not None else None
    basis = monitoring.basis_of(monitoring.rule_of(watched.drift), since)
    cluster.drift = RevisionDrift(revision=stable.revision, verdict=verdict, basis=basis)


def condition(cluster: SimulatedCluster) -> conditions.Condition:
    found = conditions.find(cluster.status.conditions, "DriftDetected")
    assert found is not None
    return found


def drift(cluster: SimulatedCluster) -> DriftStatus:
    assert cluster.status.monitoring is not None
    assert cluster.status.monitoring.drift is not None
    return cluster.status.monitoring.drift


def printed(cluster: SimulatedCluster) -> dict[str, Any]:
    """The patch in the command that the condition prints."""
    command = condition(cluster).message.partition(" Next: ")[2]
    assert command.startswith("kubectl -n ml patch mdep churn --type merge -p '")
    patch: dict[str, Any] = json.loads(command.partition("-p ")[2].strip("'"))
    return patch["spec"]


def named(cluster: SimulatedCluster, reason: str) -> int:
    return [event.reason for event in cluster.events].count(reason)


def test_an_alarm_stays_although_the_rows_are_as_they_were_again(alarmed: SimulatedCluster) -> None:
    judges(alarmed, CALM)
    alarmed.settle(60)
    assert condition(alarmed).reason == "DriftDetected"
    assert named(alarmed, "DriftDetected") == 1


def test_the_command_that_the_alarm_prints_ends_it_and_rows_are_counted_anew(alarmed: SimulatedCluster) -> None:
    alarmed.change(**printed(alarmed))
    alarmed.settle(1)
    assert (condition(alarmed).status, condition(alarmed).reason) == ("Unknown", "InsufficientData")
    assert drift(alarmed).acknowledged_time is not None
    assert named(alarmed, "DriftAcknowledged") == 1
    judges(alarmed, CALM)
    alarmed.settle(20)
    assert condition(alarmed).reason == "NoDrift"
    assert named(alarmed, "DriftAcknowledged") == 1
    assert alarmed.pending() == []


def test_a_verdict_on_rows_from_before_raises_no_new_alarm(alarmed: SimulatedCluster) -> None:
    """The operator may not have asked the servers since."""
    alarmed.change(**printed(alarmed))
    alarmed.settle(5)
    assert condition(alarmed).reason == "InsufficientData"
    assert named(alarmed, "DriftDetected") == 1


def test_a_request_that_stays_in_the_spec_does_not_end_the_next_alarm(alarmed: SimulatedCluster) -> None:
    first = printed(alarmed)
    alarmed.change(**first)
    alarmed.settle(20)
    judges(alarmed, DRIFTED)
    alarmed.settle(20)
    assert condition(alarmed).reason == "DriftDetected"
    assert named(alarmed, "DriftDetected") == 2
    assert printed(alarmed) != first, "the next alarm has its own command"
    alarmed.change(**printed(alarmed))
    alarmed.settle(1)
    assert named(alarmed, "DriftAcknowledged") == 2


@pytest.mark.parametrize("other", [{"revision": "0a1b2c3d"}, {"evaluatedTime": "2020-01-01T00:00:00Z"}])
def test_a_request_about_another_alarm_ends_nothing(alarmed: SimulatedCluster, other: dict[str, str]) -> None:
    asked = printed(alarmed)["actions"]["acknowledgeDrift"] | other
    alarmed.change(actions={"acknowledgeDrift": asked})
    alarmed.settle(20)
    assert condition(alarmed).reason == "DriftDetected"


def test_why_it_was_ended_stands_in_the_event(alarmed: SimulatedCluster) -> None:
    asked = printed(alarmed)["actions"]["acknowledgeDrift"]
    alarmed.change(actions={"acknowledgeDrift": {**asked, "reason": "a campaign"}})
    alarmed.settle(1)
    (told,) = [event for event in alarmed.events if event.reason == "DriftAcknowledged"]
    assert "drift alarm of churn-1 was ended by a person" in told.message
    assert "a campaign" in told.message


@pytest.mark.parametrize("rule", [{"margin": 0.5}, {"minSamples": 5000}, {"falseAlarmRate": 0.001}])
def test_another_rule_ends_the_alarm_that_was_raised_under_the_old_one(
    alarmed: SimulatedCluster, rule: dict[str, Any]
) -> None:
    alarmed.change(monitoring={"drift": {"interval": "10s", **rule}})
    alarmed.settle(5)
    assert condition(alarmed).reason == "InsufficientData", "the old verdict is by the old rule"
    judges(alarmed, CALM)
    alarmed.settle(20)
    assert condition(alarmed).reason == "NoDrift"


def test_another_interval_changes_no_verdict(alarmed: SimulatedCluster) -> None:
    before = drift(alarmed)
    alarmed.change(monitoring={"drift": {"interval": "1m"}})
    alarmed.settle(20)
    assert drift(alarmed) == before


def test_an_alarm_of_an_operator_that_wrote_no_rule_stays(alarmed: SimulatedCluster) -> None:
    assert alarmed.status.monitoring is not None
    older = alarmed.status.monitoring.model_copy(update={"drift": drift(alarmed).model_copy(update={"rule": None})})
    status = alarmed.status.model_copy(update={"monitoring": older})
    alarmed.deployment = alarmed.deployment.model_copy(update={"status": status})
    alarmed.drift = None
    alarmed.settle(5)
    assert condition(alarmed).reason == "DriftDetected"
    assert drift(alarmed).rule is not None


# --- what it says


def test_an_alarm_says_what_is_compared_with_what_over_how_many_rows(alarmed: SimulatedCluster) -> None:
    alarmed.add(make_model("churn", 1, dataset={"name": "customers", "version": 3, "digest": f"sha256:{1:064x}"}))
    alarmed.change(monitoring={"drift": {"interval": "10s", "margin": 0.06}})
    judges(alarmed, replace(DRIFTED, window=400))
    alarmed.settle(2)
    told = condition(alarmed).message
    assert "tenure in the newest 400 of 1,200 rows served" in told
    assert "than in the rows it was trained on (version 3 of Dataset customers)" in told
    assert "the distance is 0.310 (Kolmogorov-Smirnov, from 0 to 1), where 0.06 is allowed" in told
    assert "A false alarm in all the time that a model serves has a probability of 0.01 at most" in told
    assert "(minSamples counts all of them)" in told, "400 rows are fewer than minSamples"


def test_an_alarm_says_as_of_when_its_numbers_are_and_that_they_stay(alarmed: SimulatedCluster) -> None:
    raised = condition(alarmed).message
    judges(alarmed, replace(DRIFTED, samples=90_000, score=0.6))
    alarmed.settle(60)
    assert condition(alarmed).message == raised
    evaluated = drift(alarmed).evaluated_time
    assert evaluated is not None
    assert f"churn-1: as of {rfc3339(evaluated)}, tenure in 1,200 rows served" in raised
    assert "The alarm is not evaluated again: it stays until another model serves" in raised


def test_an_alarm_that_nothing_answers_says_how_to_end_it_and_what_that_does(alarmed: SimulatedCluster) -> None:
    told = condition(alarmed).message
    assert "stays until another model serves, or the next command ends it and counts rows anew" in told
    assert "spec.retraining has no trigger for drift" in told
    assert set(printed(alarmed)["actions"]) == {"acknowledgeDrift"}


def test_the_one_line_of_a_deployment_says_that_it_drifts(alarmed: SimulatedCluster) -> None:
    told = alarmed.status.message or ""
    assert told.startswith("churn-1 serves")
    assert "the rows served drift in tenure" in told
    assert told.partition(" Next: ")[2] == condition(alarmed).message.partition(" Next: ")[2]


def test_too_few_rows_show_no_score_and_no_feature(alarmed: SimulatedCluster) -> None:
    alarmed.change(**printed(alarmed))
    alarmed.settle(1)
    judges(alarmed, replace(DRIFTED, state="InsufficientData", samples=477))
    alarmed.settle(20)
    found = drift(alarmed)
    assert (found.samples, found.score, found.psi, found.worst_feature, found.window) == (477, None, None, None, None)
    assert "has answered 477 of the 500 rows that the first verdict needs in all" in condition(alarmed).message


def test_rows_that_nobody_has_counted_yet_are_not_called_none() -> None:
    """They were answered as a canary: right after its promotion nobody has asked its servers."""
    cluster = SimulatedCluster()
    cluster.change(monitoring={"drift": {"interval": "10s"}})
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert (
        "its rows are not counted yet; the first verdict needs 500 in all, including those answered as a canary"
        in condition(cluster).message
    )


def test_an_operator_that_has_asked_nobody_yet_keeps_the_number_of_rows() -> None:
    cluster = SimulatedCluster()
    cluster.change(monitoring={"drift": {"interval": "10s"}})
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    judges(cluster, Verdict(samples=477))
    cluster.settle(20)
    cluster.drift = None
    cluster.settle(60)
    assert drift(cluster).samples == 477


def test_no_verdict_is_promised_for_fewer_rows_than_the_test_takes(alarmed: SimulatedCluster) -> None:
    alarmed.change(monitoring={"drift": {"interval": "10s", "minSamples": 50}})
    alarmed.settle(2)
    judges(alarmed, Verdict(samples=60))
    alarmed.settle(20)
    assert "60 of the 100 rows" in condition(alarmed).message


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (0.0562, ": 0.05 is allowed, and what is above it is within sampling noise for 700 rows"),
        (0.0412, ", and 0.05 is allowed"),
    ],
)
def test_a_distance_over_the_margin_that_is_no_drift_is_said_to_be_noise(
    alarmed: SimulatedCluster, score: float, why: str
) -> None:
    alarmed.change(**printed(alarmed))
    alarmed.settle(1)
    judges(alarmed, Verdict("None", score, -0.04, "tenure", 900, 0.01, 700))
    alarmed.settle(20)
    told = condition(alarmed).message
    assert "no drift is shown; the largest distance from the rows it was trained on is" in told
    assert told.endswith(
        f"{score:.3f} (Kolmogorov-Smirnov, from 0 to 1), of tenure in the newest 700 of 900 rows served{why}"
    )


def test_of_rows_that_are_all_in_the_window_none_is_called_the_newest(alarmed: SimulatedCluster) -> None:
    alarmed.change(**printed(alarmed))
    alarmed.settle(1)
    judges(alarmed, Verdict("None", 0.01, -0.04, "tenure", 900, 0.01, 900))
    alarmed.settle(20)
    assert "of tenure in all 900 rows served" in condition(alarmed).message


def test_beside_an_alarm_that_only_a_person_ends_it_is_not_said_that_nobody_is_waited_for(
    alarmed: SimulatedCluster,
) -> None:
    stalled = conditions.find(alarmed.status.conditions, "Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.message.rpartition("condition ")[2]) == ("False", "DriftDetected")


def test_the_command_that_an_alarm_printed_ends_it_also_after_the_clock_was_set_back(alarmed: SimulatedCluster) -> None:
    command = printed(alarmed)
    alarmed.tick(-3600)
    alarmed.change(**command)
    alarmed.settle(1)
    assert named(alarmed, "DriftAcknowledged") == 1
    assert condition(alarmed).reason == "InsufficientData"
