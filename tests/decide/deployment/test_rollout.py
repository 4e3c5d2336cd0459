"""A rollout from the first model to its end: a cluster is given, the operator passes, the status is compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millrace.decide.deployment.observation import Trouble
from millrace.render import server as servers
from millrace_kit.simulation import Crash, SimulatedCluster, make_model

ERRORS = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.01}, "minSamples": 100}
STEPS: list[dict[str, Any]] = [{"setWeight": 25}, {"pause": {"duration": "30s"}}, {"setWeight": 50}]


def canary(steps: list[dict[str, Any]] = STEPS, analysis: dict[str, Any] | None = None) -> dict[str, Any]:
    wanted: dict[str, Any] = {"steps": steps}
    return {"canary": wanted | ({"analysis": analysis} if analysis is not None else {})}


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves with four servers."""
    cluster = SimulatedCluster()
    cluster.change(replicas=4)
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


def event_reasons(cluster: SimulatedCluster) -> list[str]:
    return [event.reason for event in cluster.events]


def condition(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = next(one for one in cluster.status.conditions if one.type == kind)
    return found.status, found.reason


def until(cluster: SimulatedCluster, reached: Callable[[], bool], *, traffic: int = 0, errors: float = 0.0) -> None:
    for _ in range(200):
        if reached():
            return
        cluster.settle(1)
        cluster.serve(traffic, errors=errors)
    raise AssertionError(cluster.status.message)


def test_without_an_approved_model_nothing_serves_and_the_message_says_what_to_do() -> None:
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1, approved=False))
    cluster.settle(2)
    assert condition(cluster, "Ready") == ("False", "NoApprovedModel")
    assert "wait for approval" in (cluster.status.message or "")
    assert "kubectl -n ml get mmd" in (cluster.status.message or "")
    assert cluster.routers[0].weights == {}


def test_the_first_model_goes_straight_to_all_traffic(serving: SimulatedCluster) -> None:
    stable = serving.status.stable
    assert stable is not None
    assert (stable.model, stable.weight, stable.ready_replicas) == ("churn-1", 100, 4)
    assert serving.routers[0].weights == {stable.revision: 100}
    assert condition(serving, "Ready") == ("True", "Serving")
    assert event_reasons(serving).count("Promoted") == 1


def test_a_canary_takes_its_steps_in_order_and_is_promoted(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    shares = []
    for _ in range(40):
        serving.settle(1)
        weights = serving.routers[0].weights
        assert sum(weights.values()) == 100
        shares.append(weights.get(serving.status.canary.revision, 0) if serving.status.canary else None)
    assert [share for share, before in zip(shares, [-1, *shares], strict=False) if share != before] == [0, 25, 50, None]
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"
    assert serving.status.rollout is not None
    assert serving.status.rollout.last_verdict == "Promoted"
    assert [one.outcome for one in serving.status.history] == ["Serving", "Replaced"]


def test_a_canary_has_as_many_servers_as_its_share_needs(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 50}, {"pause": {"duration": "1h"}}]))
    serving.add(make_model("churn", 2))
    serving.settle(5)
    replicas = {
        bundle.model: one["spec"]["replicas"]
        for one in serving.objects.values()
        if (bundle := servers.read(one)) is not None
    }
    assert replicas == {"churn-1": 4, "churn-2": 2}


def test_no_weight_before_every_router_has_a_healthy_server(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.pass_once()
    serving.kubelet()
    serving.scrape()  # the routers have not read their files: none of them knows the canary's cluster
    serving.pass_once()
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 0
    assert "every router to find a healthy server" in (serving.status.rollout.waiting_for or "")  # type: ignore[union-attr]


def test_no_weight_before_enough_servers_are_ready(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 50}]))
    serving.add(make_model("churn", 2))
    serving.pass_once()
    assert serving.status.canary is not None
    for ready, weight in ((1, 0), (2, 50)):
        serving.ready[serving.status.canary.revision] = ready
        serving.sync()
        serving.scrape()
        serving.pass_once()
        assert serving.status.canary.weight == weight, f"{ready} of the 2 servers that 50 % of 4 need are ready"


def test_a_failed_analysis_returns_all_traffic_to_stable(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"analysis": {"metrics": [ERRORS]}}]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: bool(serving.status.quarantined), traffic=50, errors=0.5)
    stable = serving.status.stable
    assert stable is not None
    assert (stable.model, stable.weight, serving.status.canary) == ("churn-1", 100, None)
    assert serving.status.quarantined[0].digest == f"sha256:{2:064x}"
    assert event_reasons(serving).count("RolledBack") == 1
    told = next(event for event in serving.events if event.reason == "RolledBack")
    assert "kubectl -n ml patch mdep churn" in told.message
    assert "unquarantine" in told.message
    serving.settle(30)
    assert serving.status.canary is None, "a quarantined digest is not tried again"


def test_without_data_an_analysis_holds_and_a_person_may_give_it_more_time(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"analysis": {"metrics": [ERRORS], "maxDuration": "10s"}}]))
    serving.add(make_model("churn", 2))
    serving.settle(20)
    found = serving.status.canary
    assert found is not None
    assert found.weight == 25
    assert condition(serving, "Progressing") == ("False", "AnalysisInconclusive")
    assert condition(serving, "Stalled") == ("True", "AnalysisInconclusive")
    assert '"retry"' in (serving.status.message or "")
    serving.change(actions={"retry": {"revision": found.revision}})
    until(serving, lambda: serving.status.canary is None, traffic=2000)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"
    assert event_reasons(serving).count("AnalysisExtended") == 1


def test_the_background_analysis_must_pass_before_promotion(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}], {"metrics": [ERRORS]}))
    serving.add(make_model("churn", 2))
    serving.settle(10)
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 25
    until(serving, lambda: serving.status.canary is None, traffic=500)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


@pytest.mark.parametrize("reason", ["ModelNotLoadable", "GoldenSetMismatch", "DigestMismatch"])
def test_a_model_that_cannot_be_served_is_given_up_at_once(serving: SimulatedCluster, reason: str) -> None:
    serving.broken[f"sha256:{2:064x}"] = Trouble(reason=reason, message="it does not fit")
    serving.add(make_model("churn", 2))
    serving.settle(4)
    assert serving.status.quarantined[0].reason.startswith(reason)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-1"


def test_servers_that_do_not_get_ready_are_given_up_after_ten_minutes(serving: SimulatedCluster) -> None:
    serving.slow.add(f"sha256:{2:064x}")
    serving.add(make_model("churn", 2))
    serving.settle(9, seconds=60)
    assert serving.status.canary is not None
    serving.settle(5, seconds=60)
    assert serving.status.canary is None
    assert serving.status.rollout is not None
    assert (serving.status.rollout.last_verdict_reason or "").startswith("ProgressDeadlineExceeded")


def test_a_clock_that_is_set_an_hour_forward_condemns_nobody(serving: SimulatedCluster) -> None:
    serving.slow.add(f"sha256:{2:064x}")
    serving.add(make_model("churn", 2))
    serving.settle(3)
    serving.tick(3600)
    serving.steady_since = serving.now
    serving.settle(3)
    assert serving.status.canary is not None
    assert serving.status.quarantined == ()
    serving.settle(11, seconds=60)
    assert serving.status.canary is None, "but the ten minutes do end"


def test_a_newer_approval_restarts_with_the_newer_one_and_quarantines_nothing(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(4)
    serving.add(make_model("churn", 3))
    serving.pass_once()
    found = serving.status
    assert found.canary is not None
    assert found.rollout is not None
    assert (found.canary.model, found.canary.weight, found.rollout.current_step_index) == ("churn-3", 0, 0)
    assert found.rollout.last_verdict == "Superseded"
    assert not found.quarantined


def test_versions_are_compared_as_numbers(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 9), make_model("churn", 10))
    serving.settle(6)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-10"


def test_pods_stay_until_thirty_seconds_after_every_router_left_them(serving: SimulatedCluster) -> None:
    old = serving.status.stable
    assert old is not None
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.stable is not None and serving.status.stable.model == "churn-2")
    left = serving.now
    until(serving, lambda: old.revision in serving.deleted)
    assert (serving.now - left).total_seconds() >= 30
    assert not serving.status.retiring


def test_a_router_that_does_not_answer_keeps_the_old_pods_alive(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    until(serving, lambda: bool(serving.status.retiring))
    serving.scraped = []
    for _ in range(30):
        serving.tick(10)
        serving.pass_once()
    assert serving.deleted == []


def test_routers_must_still_agree_when_the_pods_go(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    until(serving, lambda: any(one.drained_time for one in serving.status.retiring))
    serving.routers[0].files = {}
    serving.scrape()
    for _ in range(10):
        serving.tick(10)
        serving.pass_once()
    assert serving.deleted == []


def test_an_old_answer_that_is_right_by_accident_drains_nobody(serving: SimulatedCluster) -> None:
    """Before the canary got its share, and after it lost it again, the routes are the same."""
    serving.change(strategy=canary([{"setWeight": 25}, {"pause": {"duration": "1h"}}]))
    serving.add(make_model("churn", 2))
    until(serving, lambda: serving.status.canary is not None and serving.status.canary.weight == 25)
    assert serving.status.canary is not None
    serving.sync()  # the routers send a quarter to the canary now, and were not asked since they did not
    serving.change(actions={"abort": {"revision": serving.status.canary.revision}})
    serving.pass_once()
    assert serving.observe().reported(serving.scraped[0].generation or "")
    assert serving.status.retiring[0].drained_time is None


def test_an_aborted_canary_stays_away_until_it_is_retried(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary([{"setWeight": 25}, {"pause": {"duration": "1h"}}]))
    serving.add(make_model("churn", 2))
    serving.settle(5)
    found = serving.status.canary
    assert found is not None
    serving.change(actions={"abort": {"revision": found.revision, "reason": "wrong prices"}})
    serving.settle(30)
    assert serving.status.canary is None
    assert serving.status.rollout is not None
    assert serving.status.rollout.last_verdict == "Aborted"
    assert event_reasons(serving).count("Aborted") == 1
    both = {"abort": {"revision": found.revision, "reason": "wrong prices"}, "retry": {"revision": found.revision}}
    serving.change(actions=both)
    serving.settle(5)
    assert serving.status.canary is not None, "the old abort is not carried out again"
    assert serving.status.canary.revision == found.revision


def test_an_unquarantine_counts_once(serving: SimulatedCluster) -> None:
    serving.broken[f"sha256:{2:064x}"] = Trouble(reason="ModelNotLoadable")
    serving.add(make_model("churn", 2))
    serving.settle(4)
    revision = serving.status.quarantined[0].revision
    serving.change(actions={"unquarantine": {"revision": revision}})
    serving.settle(60)
    assert event_reasons(serving).count("Unquarantined") == 1
    assert event_reasons(serving).count("RolledBack") == 2
    assert len(serving.status.quarantined) == 1


def test_stable_goes_on_when_its_approval_is_taken_back(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 1, approved=False))
    serving.settle(5)
    assert serving.status.stable is not None
    assert serving.status.stable.weight == 100
    assert "keeps serving" in (serving.status.message or "")


def test_a_canary_whose_approval_is_taken_back_gives_way(serving: SimulatedCluster) -> None:
    serving.change(strategy=canary())
    serving.add(make_model("churn", 2))
    serving.settle(4)
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(1)
    assert serving.status.canary is None
    assert not serving.status.quarantined
    assert serving.status.rollout is not None
    assert (serving.status.rollout.last_verdict_reason or "").startswith("ApprovalRevoked")


def test_other_resources_are_a_new_revision_and_roll_like_one(serving: SimulatedCluster) -> None:
    before = serving.status.stable
    serving.change(strategy=canary(), server={"resources": {"limits": {"memory": "1Gi"}}})
    serving.settle(4)
    assert before is not None
    assert serving.status.canary is not None
    assert (serving.status.canary.model, serving.status.canary.digest) == ("churn-1", before.digest)
    serving.slow.add(before.digest)
    serving.ready[serving.status.canary.revision] = 0
    serving.settle(12, seconds=120)
    assert serving.status.stable is not None
    assert serving.status.stable.revision == before.revision
    serving.slow.clear()
    serving.change(server={"resources": {"limits": {"memory": "2Gi"}}})
    # The bytes that stable serves are not quarantined: another template is tried.
    until(serving, lambda: serving.status.stable is not None and serving.status.stable.revision != before.revision)


def test_nothing_is_promoted_while_the_policies_are_not_in_force(serving: SimulatedCluster) -> None:
    serving.policy_in_force = False
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.canary is None
    assert condition(serving, "Stalled") == ("True", "PolicyNotInForce")
    serving.policy_in_force = True
    serving.settle(6)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


def test_a_scaled_deployment_scales_its_servers_and_routers(serving: SimulatedCluster) -> None:
    serving.change(replicas=7)
    serving.settle(3)
    assert (serving.status.replicas, serving.status.ready_replicas) == (7, 7)
    assert serving.status.selector == "millrace.dev/component=server,millrace.dev/deployment=churn"
    assert serving.objects["Deployment", "churn-router"]["spec"]["replicas"] == 2


def test_the_selector_never_goes_back_but_a_reference_does(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.settle(25)
    serving.add(make_model("churn", 2, approved=False))
    serving.settle(5)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"
    serving.change(modelSelector=None, modelRef={"name": "churn-1"})
    until(serving, lambda: serving.status.stable is not None and serving.status.stable.model == "churn-1")


def test_pods_that_nobody_remembers_are_cleared_away(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    with pytest.raises(Crash):
        serving.pass_once(crash_after=4)
    serving.models.pop("churn-2")
    serving.settle(40)
    left = [one for one in serving.objects.values() if servers.read(one) is not None]
    assert len(left) == 1


def test_a_server_workload_that_somebody_deletes_is_made_again(serving: SimulatedCluster) -> None:
    stable = serving.status.stable
    assert stable is not None
    del serving.objects["Deployment", f"churn-{stable.revision}"]
    serving.settle(3)
    assert ("Deployment", f"churn-{stable.revision}") in serving.objects


def test_an_edited_status_breaks_no_law(serving: SimulatedCluster) -> None:
    status = serving.status
    assert status.stable is not None
    canary = status.stable.model_copy(update={"weight": 70})
    broken = status.model_copy(update={"canary": canary, "stable": status.stable.model_copy(update={"weight": 70})})
    serving.deployment = serving.deployment.model_copy(update={"status": broken})
    serving.settle(3)
    assert sum(serving.routers[0].weights.values()) == 100
