"""Infrastructure is not the model's fault: a rollout holds, says in whose words, and goes on by itself."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.api import conditions
from millrace.decide.deployment.observation import Trouble
from millrace_kit.simulation import SimulatedCluster, make_model

SECOND = f"sha256:{2:064x}"
NO_NODE = Trouble(reason="Unschedulable", message="0/3 nodes are available: 3 Insufficient cpu.")
NO_IMAGE = Trouble(reason="ImagePullBackOff", message='Back-off pulling image "millrace/server:typo"')
NO_OBJECT = Trouble(reason="ModelNotFound", message="s3://millrace/2/model.onnx does not exist in the store")
NO_STORE = Trouble(reason="StoreUnavailable", message="the store did not serve s3://millrace/2/model.onnx: refused")
QUOTA = Trouble(reason="FailedCreate", message="pods churn-2 is forbidden: exceeded quota: small, used: cpu=1")
EVICTED = Trouble(reason="Evicted", message="The node was low on resource: memory.")
CRASHED = Trouble(reason="OOMKilled", message="container server:")
AWAY = [NO_NODE, NO_IMAGE, NO_OBJECT, NO_STORE, QUOTA, EVICTED, CRASHED]


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves with two servers."""
    cluster = SimulatedCluster()
    cluster.change(replicas=2)
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    assert cluster.status.stable is not None
    return cluster


def condition(cluster: SimulatedCluster, kind: str) -> conditions.Condition:
    found = conditions.find(cluster.status.conditions, kind)
    assert found is not None
    return found


def truth(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = condition(cluster, kind)
    return found.status, found.reason


@pytest.mark.parametrize("trouble", AWAY, ids=lambda one: one.reason)
def test_what_keeps_servers_away_holds_the_rollout_and_condemns_nobody(
    serving: SimulatedCluster, trouble: Trouble
) -> None:
    serving.broken[SECOND] = trouble
    serving.add(make_model("churn", 2))
    serving.settle(30, seconds=60)
    assert serving.status.quarantined == ()
    assert serving.status.canary is not None
    assert (serving.status.canary.model, serving.status.canary.weight) == ("churn-2", 0)
    assert serving.status.stable is not None
    assert (serving.status.stable.model, serving.status.stable.weight) == ("churn-1", 100)
    serving.broken.clear()
    serving.settle(6)
    assert serving.status.stable.model == "churn-2", "and it goes on by itself"
    assert truth(serving, "Stalled")[0] == "False"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("exceeded quota: small, used: cpu=1", "kubectl -n ml describe resourcequotas,limitranges"),
        ("failed quota: small: must specify limits.cpu", "kubectl -n ml describe resourcequotas,limitranges"),
        ("maximum memory usage per Pod is 1Gi, but limit is 2Gi", "kubectl -n ml describe resourcequotas,limitranges"),
        ('violates PodSecurity "restricted:latest": seccompProfile', "kubectl describe namespace ml"),
        ("no PriorityClass with name high was found", "kubectl describe namespace ml"),
    ],
    ids=["quota", "quota asks for limits", "limit range", "Pod Security", "priority class"],
)
def test_the_command_of_a_refusal_shows_what_refuses(serving: SimulatedCluster, words: str, command: str) -> None:
    serving.broken[SECOND] = Trouble(reason="FailedCreate", message=f"pods churn-2 is forbidden: {words}")
    serving.add(make_model("churn", 2))
    serving.settle(3)
    assert truth(serving, "Progressing") == ("True", "PodRefused")
    assert (serving.status.message or "").endswith(f" Next: {command}")


@pytest.mark.parametrize("trouble", AWAY, ids=lambda one: one.reason)
def test_the_words_of_the_kubelet_and_the_api_server_are_in_what_kubectl_get_prints(
    serving: SimulatedCluster, trouble: Trouble
) -> None:
    serving.broken[SECOND] = trouble
    serving.add(make_model("churn", 2))
    serving.settle(3)
    assert trouble.message in (serving.status.message or "")
    reason = "PodRefused" if trouble is QUOTA else "PodNotStarted"
    assert truth(serving, "Progressing") == ("True", reason)
    assert truth(serving, "Ready") == ("True", "Serving")
    (event,) = [one for one in serving.events if one.reason == reason]
    assert (event.type, trouble.message in event.message) == ("Warning", True)
    wanted = "describe resourcequotas,limitranges" if trouble is QUOTA else "describe pods"
    assert wanted in (serving.status.message or "").partition(" Next: ")[2]


def test_after_the_deadline_the_rollout_is_stalled_and_still_goes_on_by_itself(serving: SimulatedCluster) -> None:
    serving.change(strategy={"progressDeadline": "3m"})
    serving.broken[SECOND] = NO_IMAGE
    serving.add(make_model("churn", 2))
    serving.settle(3, seconds=59)
    assert truth(serving, "Stalled")[0] == "False"
    serving.settle(3, seconds=60)
    assert truth(serving, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert truth(serving, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert truth(serving, "Reconciling")[0] == "False"
    assert truth(serving, "Ready") == ("True", "Serving"), "what served still serves"
    assert serving.status.phase == "Held"
    assert "progressDeadline (3m)" in (serving.status.message or "")
    assert NO_IMAGE.message in (serving.status.message or "")
    assert [event.reason for event in serving.events].count("ProgressDeadlineExceeded") == 1
    assert serving.pending() == []
    serving.broken.clear()
    serving.settle(6)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


def test_the_deadline_is_ten_minutes_where_the_spec_says_none(serving: SimulatedCluster) -> None:
    serving.slow.add(SECOND)
    serving.add(make_model("churn", 2))
    serving.settle(10, seconds=59)
    assert truth(serving, "Stalled")[0] == "False"
    serving.settle(3, seconds=60)
    assert truth(serving, "Stalled") == ("True", "ProgressDeadlineExceeded")


def test_a_pass_that_waits_for_pods_looks_again_at_the_deadline(serving: SimulatedCluster) -> None:
    serving.slow.add(SECOND)
    serving.add(make_model("churn", 2))
    serving.settle(2)
    plan = serving.pass_once()
    assert plan.wake_after == pytest.approx(600, abs=5)


def test_the_first_model_is_stalled_too_and_not_given_up() -> None:
    cluster = SimulatedCluster()
    cluster.broken[f"sha256:{1:064x}"] = NO_NODE
    cluster.add(make_model("churn", 1))
    cluster.settle(3)
    assert truth(cluster, "Ready") == ("False", "PodNotStarted")
    assert [event.reason for event in cluster.events].count("PodNotStarted") == 1
    cluster.settle(13, seconds=60)
    assert truth(cluster, "Ready") == ("False", "ProgressDeadlineExceeded")
    assert truth(cluster, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert NO_NODE.message in (cluster.status.message or "")
    cluster.broken.clear()
    cluster.settle(6)
    assert truth(cluster, "Ready") == ("True", "Serving")


def test_a_clock_that_is_set_an_hour_forward_stalls_nobody(serving: SimulatedCluster) -> None:
    serving.slow.add(SECOND)
    serving.add(make_model("churn", 2))
    serving.settle(3)
    serving.tick(3600)
    serving.steady_since = serving.now
    serving.settle(3)
    assert truth(serving, "Stalled")[0] == "False"
    serving.settle(11, seconds=60)
    assert truth(serving, "Stalled")[0] == "True", "but the ten minutes do end"


def test_what_is_stalled_stays_so_when_another_process_takes_over(serving: SimulatedCluster) -> None:
    serving.slow.add(SECOND)
    serving.add(make_model("churn", 2))
    serving.settle(13, seconds=60)
    assert truth(serving, "Stalled")[0] == "True"
    serving.steady_since = serving.now
    assert serving.pending() == []


@pytest.mark.parametrize("waits_for", ["servers", "a model"])
def test_what_is_stalled_stays_so_when_the_clock_is_set_back(serving: SimulatedCluster, waits_for: str) -> None:
    if waits_for == "servers":
        serving.slow.add(SECOND)
        serving.add(make_model("churn", 2))
    else:
        serving.models.clear()
    serving.settle(13, seconds=60)
    stalled = truth(serving, "Stalled")
    assert stalled[0] == "True"
    serving.tick(-3600)
    serving.steady_since = serving.now
    serving.settle(2)
    assert truth(serving, "Stalled") == stalled
    assert serving.pending() == []


def test_a_rollout_that_follows_a_stalled_one_has_its_own_time(serving: SimulatedCluster) -> None:
    serving.slow.add(SECOND)
    serving.add(make_model("churn", 2))
    serving.settle(13, seconds=60)
    serving.slow.add(f"sha256:{3:064x}")
    serving.add(make_model("churn", 3))
    serving.settle(3)
    assert serving.status.canary is not None
    assert serving.status.canary.model == "churn-3"
    assert truth(serving, "Stalled")[0] == "False"


def test_routers_that_do_not_start_hold_the_rollout_in_the_same_way(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.pass_once()
    serving.kubelet()
    serving.router_trouble = NO_NODE
    serving.scraped = []
    for _ in range(13):
        serving.tick(60)
        serving.pass_once()
    assert truth(serving, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert NO_NODE.message in (serving.status.message or "")
    assert "component=router" in (serving.status.message or "")
    assert serving.status.quarantined == ()


def test_a_server_of_stable_that_cannot_start_is_named_while_the_others_serve(serving: SimulatedCluster) -> None:
    stable = serving.status.stable
    assert stable is not None
    serving.ready[stable.revision] = 1
    serving.broken[stable.digest] = QUOTA
    serving.pass_once()
    assert truth(serving, "Ready") == ("True", "Serving")
    assert QUOTA.message in (serving.status.message or "")
    serving.ready[stable.revision] = 0
    serving.pass_once()
    assert truth(serving, "Ready") == ("False", "PodRefused")


def canary_under_analysis(cluster: SimulatedCluster) -> str:
    metric = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.05}, "minSamples": 100}
    steps: list[dict[str, Any]] = [{"setWeight": 50}, {"analysis": {"metrics": [metric], "maxDuration": "5m"}}]
    cluster.change(strategy={"canary": {"steps": steps}})
    cluster.add(make_model("churn", 2))
    cluster.settle(6)
    canary = cluster.status.canary
    assert canary is not None
    assert canary.weight == 50
    return canary.revision


def test_an_analysis_whose_servers_were_away_gets_its_time_once_they_are_back(serving: SimulatedCluster) -> None:
    canary_under_analysis(serving)
    serving.broken[SECOND] = Trouble(reason="NodeLost", message="Node n-1 is unresponsive")
    serving.settle(8, seconds=60)
    assert serving.status.canary is not None
    assert serving.status.canary.weight == 50, "Envoy sends to stable what the canary cannot answer"
    assert truth(serving, "Stalled")[0] == "False", "five minutes of silence are no lack of a verdict"
    assert "Node n-1 is unresponsive" in (serving.status.message or "")
    serving.broken.clear()
    serving.settle(2)
    assert truth(serving, "Stalled")[0] == "False"
    assert [event.reason for event in serving.events].count("AnalysisExtended") == 1
    serving.serve(500)
    serving.settle(6)
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-2"


def test_an_analysis_is_not_over_because_the_clock_was_set_forward(serving: SimulatedCluster) -> None:
    canary_under_analysis(serving)
    serving.tick(3600)
    serving.steady_since = serving.now
    serving.settle(3)
    assert truth(serving, "Stalled")[0] == "False"
    serving.settle(6, seconds=60)
    assert truth(serving, "Stalled") == ("True", "AnalysisInconclusive"), "but its five minutes do end"


def test_an_approved_version_that_is_passed_over_is_named(serving: SimulatedCluster) -> None:
    serving.broken[SECOND] = Trouble(reason="GoldenSetMismatch", message="row 3 differs")
    serving.add(make_model("churn", 2))
    serving.settle(6)
    (entry,) = serving.status.quarantined
    serving.change(server={"resources": {"limits": {"memory": "1Gi"}}})
    serving.settle(20)
    assert serving.status.rollout is not None
    assert serving.status.rollout.last_verdict == "Promoted", "another rollout has ended since"
    for told in (serving.status.message, condition(serving, "Progressing").message):
        assert "churn-2 is quarantined: GoldenSetMismatch: row 3 differs" in (told or "")
        assert entry.revision in (told or "").partition(" Next: ")[2]
    serving.add(make_model("churn", 3))
    serving.settle(20)
    assert "churn-2" not in (serving.status.message or ""), "a newer one serves"
