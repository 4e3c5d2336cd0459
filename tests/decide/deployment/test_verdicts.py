"""A rollout that is right about the model: not blamed for its callers, not passed unseen, held for a person's word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import retraining_worlds
from millrace import api
from millrace.decide.deployment.observation import RevisionDrift
from millrace.observe.counting import Windows
from millrace_kit.simulation import Crash, SimulatedCluster, make_model
from verdict_worlds import canary, condition, rolled_back, serving_cluster, stable, until

ERRORS = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.05}, "minSamples": 100}
ANALYSED = canary([{"setWeight": 25}, {"analysis": {"metrics": [ERRORS]}}])
WATCHED = canary(analysis={"metrics": [ERRORS]})


@pytest.fixture
def serving() -> SimulatedCluster:
    return serving_cluster()


# --- 1: refusals count, beside stable


@pytest.mark.parametrize("strategy", [canary(), ANALYSED, WATCHED], ids=["canary alone", "analysis step", "background"])
def test_a_model_that_answers_400_to_everybody_goes_back(serving: SimulatedCluster, strategy: Any) -> None:
    serving.change(strategy=strategy)
    serving.add(make_model("churn", 2))
    until(serving, lambda: rolled_back(serving), 50, refused=1.0)
    assert stable(serving) == "churn-1"
    reason = serving.status.quarantined[0].reason
    assert reason.startswith("AnalysisFailed")
    assert "refused (4xx)" in reason


@pytest.mark.parametrize("strategy", [canary(), ANALYSED, WATCHED], ids=["canary alone", "analysis step", "background"])
def test_a_caller_who_sends_nonsense_to_both_costs_the_canary_nothing(serving: SimulatedCluster, strategy: Any) -> None:
    serving.change(strategy=strategy)
    serving.add(make_model("churn", 2))
    until(serving, lambda: stable(serving) == "churn-2" or rolled_back(serving), 500, everywhere=0.2)
    assert stable(serving) == "churn-2"


def test_callers_who_go_mad_as_the_canarys_share_grows_condemn_nobody(serving: SimulatedCluster) -> None:
    """Under 5 % nobody sends nonsense, under 50 % half of all do: added up, the canary would look far worse."""
    serving.change(strategy=canary([{"setWeight": 5}, {"pause": {"duration": "20s"}}, {"setWeight": 50}]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 50, 5)
    for _ in range(40):
        serving.settle(1)
        serving.serve(50, everywhere=0.5)
        assert not rolled_back(serving)
    until(serving, lambda: stable(serving) == "churn-2", 500)


# --- 3: minSamples


@pytest.mark.parametrize("strategy", [canary(), ANALYSED], ids=["canary alone", "analysis step"])
def test_fewer_failures_than_min_samples_decide_nothing(serving: SimulatedCluster, strategy: Any) -> None:
    serving.change(strategy=strategy)
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25)
    serving.settle(1)
    for requests in (2, 97):
        serving.serve(requests, errors=1.0)
        serving.settle(3)
        assert not rolled_back(serving)
    serving.serve(1, errors=1.0)
    serving.settle(1)
    assert rolled_back(serving), "once minSamples are there it is immediate"


def test_a_canary_that_fails_everything_on_little_traffic_is_held_and_rolled_back_when_it_has_had_enough(
    serving: SimulatedCluster,
) -> None:
    analysis = {"metrics": [ERRORS], "maxDuration": "60s"}
    serving.change(strategy=canary([{"setWeight": 25}, {"analysis": analysis}]))
    serving.add(make_model("churn", 2))
    for _ in range(60):
        serving.settle(1)
        serving.serve(1, errors=1.0)
    assert condition(serving, "Stalled")[:2] == ("True", "AnalysisInconclusive")
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 25
    until(serving, lambda: rolled_back(serving), 20, errors=1.0)


# --- 4: judged unless a person says otherwise


def test_a_canary_that_fails_is_not_promoted_because_nobody_wrote_an_analysis(serving: SimulatedCluster) -> None:
    """Stable answers what it fails, so callers see nothing: without a rule of its own it went to 100 %."""
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: rolled_back(serving), 50, errors=0.3)
    assert stable(serving) == "churn-1"
    told = next(event for event in serving.events if event.reason == "RolledBack")
    assert "default-error-rate" in told.message


def test_the_rule_of_every_canary_is_turned_off_by_its_name(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary(disableDefaults=["ErrorRate"]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: stable(serving) == "churn-2", 50, errors=0.3)
    assert serving.status.analysis == ()


def test_a_comparison_that_the_spec_states_itself_takes_its_place(serving: SimulatedCluster) -> None:
    own = {"name": "mine", "builtin": "ErrorRate", "compare": {"maxIncrease": 0.5}, "minSamples": 10}
    serving.change(strategy=canary(analysis={"metrics": [own]}))
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25, 20)
    serving.settle(1)
    assert [one.name for one in serving.status.analysis] == ["mine"]
    until(serving, lambda: stable(serving) == "churn-2", 100, errors=0.3)


def test_a_canary_without_callers_waits_and_says_how_to_go_on(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(30)
    status, reason, message = condition(serving, "Progressing")
    assert (status, reason) == ("True", "NoTraffic")
    assert "no request has reached churn-2 beside stable yet, and no data never promotes" in message
    assert message.endswith(
        "kubectl -n ml patch mdep churn --type merge -p "
        """'{"spec":{"strategy":{"canary":{"disableDefaults":["ErrorRate"]}}}}'"""
    )
    assert condition(serving, "Ready")[0] == "True", "stable serves meanwhile"


def test_after_an_hour_without_callers_a_person_is_asked(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(30)
    serving.settle(4, seconds=1200)
    assert condition(serving, "Stalled")[:2] == ("True", "NoTraffic")
    serving.change(strategy=canary(disableDefaults=["ErrorRate"]))
    until(serving, lambda: stable(serving) == "churn-2")


def test_a_person_may_give_a_canary_without_callers_more_time(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(30)
    serving.settle(4, seconds=1200)
    assert serving.status.canary is not None
    serving.change(actions={"retry": {"revision": serving.status.canary.revision}})
    serving.settle(1)
    assert condition(serving, "Progressing")[:2] == ("True", "NoTraffic")
    until(serving, lambda: stable(serving) == "churn-2", 100)


def test_the_first_model_and_one_without_a_canary_wait_for_no_callers(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    until(serving, lambda: stable(serving) == "churn-2")


def test_a_canary_takes_everything_only_after_it_was_compared(serving: SimulatedCluster) -> None:
    """At 100 % there is no stable beside it: a step of 100 waits for what can only be shown before."""
    serving.change(strategy=canary([{"setWeight": 25}, {"setWeight": 100}, {"pause": {"duration": "10s"}}]))
    serving.add(make_model("churn", 2))
    serving.settle(20)
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 25
    until(serving, lambda: stable(serving) == "churn-2", 100)


def test_an_operator_that_starts_over_at_100_percent_asks_for_no_second_comparison(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"setWeight": 100}, {"pause": {"duration": "60s"}}]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 100, 100)
    serving.windows = Windows()
    until(serving, lambda: stable(serving) == "churn-2")


def test_the_hour_of_the_rule_begins_anew_when_the_operator_does(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(20)
    serving.tick(3000)
    serving.windows = Windows()
    serving.settle(1)
    serving.tick(1000)
    serving.settle(1)
    assert condition(serving, "Stalled")[0] == "False", "1,000 s of the second count"
    serving.tick(3000)
    serving.settle(1)
    assert condition(serving, "Stalled")[:2] == ("True", "NoTraffic")


# --- 1: another signature is held

STRATEGIES = [None, canary(), canary(disableDefaults=["ErrorRate"]), WATCHED]
IDS = ["no strategy", "canary alone", "unjudged", "background"]


def with_canary(strategy: Any, **more: Any) -> dict[str, Any]:
    return {**(strategy or {}), **more}


def test_a_canary_goes_on_beside_a_newer_version_that_a_person_has_to_allow_first(serving: SimulatedCluster) -> None:
    """It gave way to one that could not start, and with it a good model that everybody had approved."""
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25, 50)
    serving.add(make_model("churn", 3, inputs=11))
    until(serving, lambda: stable(serving) == "churn-2", 50)
    serving.settle(2)
    assert condition(serving, "Stalled")[:2] == ("True", "SignatureChanged")
    serving.change(strategy={**canary(), "allowSignatureChange": "churn-3"})
    until(serving, lambda: stable(serving) == "churn-3", 50)


def test_a_canary_that_the_spec_does_not_ask_for_any_more_gives_way_also_to_what_is_held(
    serving: SimulatedCluster,
) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2), make_model("churn", 9, inputs=11))
    serving.change(modelSelector=None, modelRef={"name": "churn-2"})
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25, 50)
    serving.change(modelRef={"name": "churn-9"})
    serving.settle(1)
    assert serving.status.canary is None
    assert condition(serving, "Stalled")[:2] == ("True", "SignatureChanged")
    assert stable(serving) == "churn-1"


@pytest.mark.parametrize("strategy", STRATEGIES, ids=IDS)
def test_a_model_of_other_inputs_gets_no_traffic_until_a_person_allows_it(
    serving: SimulatedCluster, strategy: Any
) -> None:
    serving.change(strategy=strategy)
    serving.add(make_model("churn", 2, inputs=11))
    for _ in range(20):
        serving.settle(1)
        serving.serve(100)
        assert serving.status.canary is None, "before any weight"
    assert stable(serving) == "churn-1"
    assert condition(serving, "Ready")[0] == "True"
    assert condition(serving, "Stalled")[:2] == ("True", "SignatureChanged")
    message = serving.status.message or ""
    assert "input numeric is FP32 [-1, 11], not FP32 [-1, 2]" in message
    assert message.endswith(
        """kubectl -n ml patch mdep churn --type merge -p '{"spec":{"strategy":{"allowSignatureChange":"churn-2"}}}'"""
    )
    assert [event.reason for event in serving.events].count("SignatureChanged") == 1
    serving.change(strategy=with_canary(strategy, allowSignatureChange="churn-2"))
    until(serving, lambda: stable(serving) == "churn-2", 500)


def test_what_was_allowed_once_does_not_let_the_next_change_through(serving: SimulatedCluster) -> None:
    serving.change(strategy={"allowSignatureChange": "churn-2"})
    serving.add(make_model("churn", 2, inputs=11))
    until(serving, lambda: stable(serving) == "churn-2")
    serving.add(make_model("churn", 3, inputs=12))
    serving.settle(10)
    assert stable(serving) == "churn-2"
    assert condition(serving, "Stalled")[:2] == ("True", "SignatureChanged")


def test_the_first_model_may_have_any_signature() -> None:
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1, inputs=11))
    cluster.settle(5)
    assert stable(cluster) == "churn-1"


def test_going_back_to_another_signature_is_held_too(serving: SimulatedCluster) -> None:
    """A person who pins an old version may have forgotten what callers send today."""
    serving.change(strategy={"allowSignatureChange": "churn-2"})
    serving.add(make_model("churn", 2, inputs=11))
    until(serving, lambda: stable(serving) == "churn-2")
    serving.change(modelSelector=None, modelRef={"name": "churn-1"})
    serving.settle(10)
    assert stable(serving) == "churn-2"
    assert condition(serving, "Stalled")[:2] == ("True", "SignatureChanged")


def test_a_stable_model_that_is_gone_is_still_known_by_its_signature(serving: SimulatedCluster) -> None:
    serving.models.pop("churn-1")
    serving.add(make_model("churn", 2, inputs=11))
    serving.settle(10)
    assert stable(serving) == "churn-1"
    assert "other inputs or outputs than churn-1 had, whose Model is gone" in (serving.status.message or "")
    serving.add(make_model("churn", 3))
    until(serving, lambda: stable(serving) == "churn-3")


def test_a_model_that_is_held_starts_no_retraining(serving: SimulatedCluster) -> None:
    """The version that drift asked for is there, and waits for a person: another one would wait as well."""
    serving.add(make_model("churn", 2, inputs=11))
    serving.settle(3)
    limits = {"cooldown": "1s", "maxRunsPerDay": 9}
    serving.change(
        monitoring={"drift": {}},
        retraining={
            "trainingRunRef": {"name": "churn-gb"},
            "triggers": [{"name": "drifted", "drift": {}}],
            "limits": limits,
        },
    )
    serving.run = api.TrainingRun.model_validate(
        {"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": retraining_worlds.SPEC}
    )
    serving.dataset = retraining_worlds.dataset(2)
    serving.drift = _drifted(serving)
    serving.settle(5)
    assert condition(serving, "RetrainingBlocked")[:2] == ("True", "RolloutInProgress")


def _drifted(cluster: SimulatedCluster) -> RevisionDrift:
    assert cluster.status.stable is not None
    return RevisionDrift(revision=cluster.status.stable.revision, verdict=retraining_worlds.DRIFTED)


# --- 6: counters belong to one start


def test_a_second_try_seconds_after_a_rollback_is_not_judged_on_the_first(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    until(serving, lambda: rolled_back(serving), 100, errors=1.0)
    revision = serving.status.quarantined[0].revision
    serving.change(actions={"unquarantine": {"revision": revision}})
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25)
    serving.settle(3)
    assert not rolled_back(serving)
    until(serving, lambda: stable(serving) == "churn-2", 100)


def test_a_crash_in_the_middle_of_a_rollback_ends_in_the_same_rollback(serving: SimulatedCluster) -> None:
    """After each write: the record of the quarantine is there before the status that tells of it."""
    for writes in range(4):
        cluster = SimulatedCluster()
        cluster.change(strategy=canary())
        cluster.add(make_model("churn", 1))
        cluster.settle(5)
        cluster.add(make_model("churn", 2))
        until(cluster, lambda: bool(cluster.status.canary and cluster.status.canary.weight == 25))  # noqa: B023
        cluster.settle(1)
        cluster.serve(200, errors=1.0)
        try:
            cluster.pass_once(crash_after=writes)
        except Crash:
            cluster.windows = Windows()  # whoever comes next has counted nothing
        cluster.now += timedelta(seconds=1)
        for _ in range(5):
            cluster.settle(1)
            cluster.serve(200, errors=1.0)
        assert stable(cluster) == "churn-1"
        memory = cluster.status.rollout
        assert memory is not None
        assert (memory.last_verdict, [one.model for one in cluster.status.quarantined]) == ("RolledBack", ["churn-2"])
        assert (memory.last_verdict_reason or "").startswith("AnalysisFailed: ")
        assert len(cluster.records) == 1
