"""Nothing is stuck in silence: pods that stable lacks, and pods that cannot go, are stalled once they took too long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from millrace.api import conditions
from millrace.api.reasons.deployment import DeploymentReason
from millrace.decide import status
from millrace.decide.deployment.observation import Observation, Trouble
from millrace_kit import kstatus
from millrace_kit.routers import Envoy
from millrace_kit.simulation import START, SimulatedCluster, make_model

QUOTA = Trouble(reason="FailedCreate", message="pods churn-1 is forbidden: exceeded quota: small")


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves with one server."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    return cluster


def of(cluster: SimulatedCluster) -> str:
    return kstatus.compute(cluster.deployment.model_dump(mode="json", by_alias=True, exclude_none=True))


def condition(cluster: SimulatedCluster, kind: str) -> conditions.Condition:
    found = conditions.find(cluster.status.conditions, kind)
    assert found is not None
    return found


def truth(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = condition(cluster, kind)
    return found.status, found.reason


def next_step(message: str | None) -> str:
    return (message or "").partition(" Next: ")[2]


def scaled_beyond_the_quota(cluster: SimulatedCluster) -> None:
    """Five servers are wanted, and the quota takes one."""
    cluster.change(replicas=5)
    cluster.pass_once()
    cluster.broken[f"sha256:{1:064x}"] = QUOTA


def passes(cluster: SimulatedCluster, count: int, seconds: float = 60) -> None:
    """Nothing happens but that time goes by."""
    for _ in range(count):
        cluster.pass_once()
        cluster.tick(seconds)


def test_servers_that_a_quota_refuses_are_said_at_once_with_an_event_and_the_quotas_command(
    serving: SimulatedCluster,
) -> None:
    scaled_beyond_the_quota(serving)
    serving.pass_once()
    assert truth(serving, "Ready") == ("True", "Serving")
    assert truth(serving, "Available") == ("False", "PodRefused")
    for told in (serving.status.message, condition(serving, "Available").message):
        assert QUOTA.message in (told or "")
        assert next_step(told) == "kubectl -n ml describe resourcequotas,limitranges"
    assert " Next: " not in condition(serving, "Ready").message, "it does answer"
    assert [event.type for event in serving.events if event.reason == "PodRefused"] == ["Warning"]


def test_servers_that_stable_lacks_for_too_long_are_stalled_and_come_by_themselves(serving: SimulatedCluster) -> None:
    scaled_beyond_the_quota(serving)
    passes(serving, 5)
    assert of(serving) == "InProgress"
    plan = serving.pass_once()
    assert plan.wake_after == 300, "when the ten minutes of strategy.progressDeadline end"
    passes(serving, 7)
    assert of(serving) == "Failed"
    assert truth(serving, "Ready") == ("True", "Serving")
    assert truth(serving, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert serving.status.phase == "Stalled"
    assert "churn-1 has lacked pods for longer than strategy.progressDeadline (10m)" in (serving.status.message or "")
    assert serving.pending() == []
    serving.broken.clear()
    serving.settle(2)
    assert of(serving) == "Current"


def test_a_node_that_is_lost_with_all_servers_is_stalled_too(serving: SimulatedCluster) -> None:
    serving.ready = dict.fromkeys(serving.ready, 0)
    passes(serving, 12)
    assert of(serving) == "Failed"
    assert truth(serving, "Ready") == ("False", "ServersNotReady")


def test_routers_that_are_away_make_nothing_available_and_are_what_is_said(serving: SimulatedCluster) -> None:
    serving.routers = []
    passes(serving, 1)
    assert truth(serving, "Available") == ("False", "RoutersNotReady")
    assert "1 of 1 servers are ready, but no router is" in condition(serving, "Available").message
    assert "component=router" in next_step(condition(serving, "Available").message)
    passes(serving, 12)
    assert of(serving) == "Failed"


def test_what_lacks_pods_stays_stalled_when_the_clock_is_set_back(serving: SimulatedCluster) -> None:
    scaled_beyond_the_quota(serving)
    passes(serving, 12)
    serving.tick(-7200)
    serving.steady_since = serving.now
    serving.pass_once()
    assert of(serving) == "Failed"
    assert serving.pending() == []


class Unready(SimulatedCluster):
    """Its routers answer, and their pods are not ready yet."""

    def observe(self) -> Observation:
        return super().observe().model_copy(update={"routers_ready": 0})


def test_a_first_model_that_took_long_to_start_has_not_lacked_pods_since_then() -> None:
    cluster = Unready()
    cluster.slow.add(f"sha256:{1:064x}")
    cluster.add(make_model("churn", 1))
    cluster.settle(20, seconds=60)
    cluster.slow.clear()
    cluster.settle(8)
    assert cluster.status.stable is not None
    assert truth(cluster, "Available") == ("False", "RoutersNotReady")
    assert truth(cluster, "Stalled")[0] == "False"


def test_one_wait_that_is_stalled_stalls_no_other_before_its_time() -> None:
    def at(seconds: int) -> datetime:
        return START + timedelta(seconds=seconds)

    reason = DeploymentReason.ProgressDeadlineExceeded
    stalled = conditions.Condition(
        type="Stalled", status="True", reason=reason.name, last_transition_time=at(600), observed_generation=1
    )
    another_process = at(700)
    assert status.stalled_from([stalled], reason, at(0), another_process, 600) == at(0), "it is what is stalled"
    assert status.stalled_from([stalled], reason, at(300), None, 600) == at(900), "it began later"


def test_a_canary_has_its_own_time_beside_a_stable_that_lacks_pods(serving: SimulatedCluster) -> None:
    scaled_beyond_the_quota(serving)
    passes(serving, 12)
    serving.slow.add(f"sha256:{2:064x}")
    serving.add(make_model("churn", 2))
    serving.pass_once()
    assert serving.status.canary is not None
    assert of(serving) == "InProgress"


def test_a_comparison_at_all_the_traffic_is_held_at_once_and_a_person_is_told_what_to_change(
    serving: SimulatedCluster,
) -> None:
    """It asked for a retry after its hour, and after each retry again."""
    compared = {"metrics": [{"name": "beside", "builtin": "ErrorRate", "compare": {}}]}
    early: list[dict[str, Any]] = [{"setWeight": 50}, {"analysis": compared}, {"setWeight": 100}]
    late: list[dict[str, Any]] = [{"setWeight": 50}, {"setWeight": 100}, {"analysis": compared}]
    serving.change(strategy={"canary": {"steps": late}})
    serving.add(make_model("churn", 2))
    for _ in range(10):
        serving.settle(1)
        serving.serve(500)
    assert truth(serving, "Stalled") == ("True", "NothingToCompare")
    assert serving.status.phase == "Held"
    told = serving.status.message or ""
    assert "beside compares with stable, which gets no requests beside a canary at 100 %" in told
    assert "Put that analysis before setWeight: 100, or give its metric a thresholdRange." in told
    assert next_step(told) == "kubectl -n ml edit mdep churn"
    serving.change(strategy={"canary": {"steps": early}})
    serving.settle(4)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


# --- pods that cannot go


class Wedged(Envoy):
    """A router that runs and says nothing."""


@pytest.fixture
def leaving() -> SimulatedCluster:
    """churn-2 serves in place of churn-1, whose pods are on their way out when a router stops answering."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    cluster.add(make_model("churn", 2))
    cluster.settle(5)
    assert [one.model for one in cluster.status.retiring] == ["churn-1"]
    cluster.routers.append(Wedged("router-1"))
    return cluster


def test_a_way_back_that_waits_for_earlier_pods_says_so_and_is_stalled_if_they_do_not_go(
    leaving: SimulatedCluster,
) -> None:
    leaving.change(modelSelector=None, modelRef={"name": "churn-1"})
    leaving.pass_once()
    assert truth(leaving, "Progressing") == ("True", "Retiring")
    assert "waiting for earlier pods of churn-1 to go before churn-1 starts" in (leaving.status.message or "")
    passes(leaving, 13)
    assert truth(leaving, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert "churn-1 cannot start: the earlier pods of churn-1 stay" in (leaving.status.message or "")
    for told in (leaving.status.message, condition(leaving, "Progressing").message):
        assert "component=router" in next_step(told)
    leaving.routers.pop()
    leaving.settle(30)
    assert leaving.status.stable is not None
    assert leaving.status.stable.model == "churn-1"


def test_pods_that_cannot_go_are_not_said_to_go_at_a_time_that_has_passed(leaving: SimulatedCluster) -> None:
    passes(leaving, 2)
    told = condition(leaving, "Reconciling").message
    assert told.startswith("the pods of churn-1 go once every router has said again that it sends them nothing.")
    passes(leaving, 12)
    assert of(leaving) == "Failed"
    assert "the earlier pods of churn-1 stay" in condition(leaving, "Stalled").message
    leaving.routers.pop()
    leaving.settle(3)
    assert of(leaving) == "Current"


def test_the_thirty_seconds_in_which_pods_linger_are_no_delay(serving: SimulatedCluster) -> None:
    serving.change(strategy={"progressDeadline": "1s"})
    serving.add(make_model("churn", 2))
    serving.settle(5)
    for _ in range(13):
        assert serving.status.retiring != ()
        serving.settle(1)
        assert truth(serving, "Stalled")[0] == "False"


@pytest.mark.parametrize("lost", ["started_time", "step_started_time", "all of it"])
def test_a_canary_whose_times_are_missing_is_judged_all_the_same(serving: SimulatedCluster, lost: str) -> None:
    """Of no moment nothing is counted: it waited for callers that it had, and for ever."""
    analysed = {"metrics": [{"name": "beside", "builtin": "ErrorRate", "compare": {}}]}
    serving.change(strategy={"canary": {"steps": [{"setWeight": 50}, {"analysis": analysed}]}})
    serving.add(make_model("churn", 2))
    serving.settle(4)
    assert serving.status.canary is not None
    assert serving.status.rollout is not None
    rollout = None if lost == "all of it" else serving.status.rollout.model_copy(update={lost: None})
    edited = serving.status.model_copy(update={"rollout": rollout})
    serving.deployment = serving.deployment.model_copy(update={"status": edited})
    serving.settle(1)
    for _ in range(10):
        serving.serve(500)
        serving.settle(1)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"
