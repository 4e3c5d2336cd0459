"""Crashes, restarts and rollbacks of a Deployment that once ended wrongly."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from millrace import api
from millrace.api.deployment_status import Retiring
from millrace.api.reasons.deployment import DeploymentReason
from millrace.decide import deployment as decision
from millrace.decide.deployment import moves, rollout
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.finding import Finding, Signal
from millrace.decide.deployment.observation import RevisionDrift
from millrace.render import envoy, router
from millrace_kit.simulation import START, Crash, SimulatedCluster, make_model

METRIC = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.01}, "minSamples": 100}
HELD = {"canary": {"steps": [{"setWeight": 50}, {"pause": {"duration": "1h"}}]}}
ANALYSED = {"canary": {"steps": [{"setWeight": 50}, {"analysis": {"metrics": [METRIC], "maxDuration": "5m"}}]}}
RUN = {
    "author": "ada",
    "datasetRef": {"name": "customers"},
    "trainer": {"builtin": {"estimator": "sklearn.svm.SVC", "task": "Classification"}},
    "evaluation": {"metrics": ["roc_auc"], "gates": []},
    "output": {"modelName": "churn"},
}
RETRAINING = {
    "trainingRunRef": {"name": "churn-gb"},
    "triggers": [{"name": "drifted", "drift": {"for": "10s"}}],
    "limits": {"cooldown": "10m", "maxRunsPerDay": 2, "maxConcurrent": 1},
}


@pytest.fixture
def cluster() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


def reason(cluster: SimulatedCluster, kind: str) -> str:
    return next(one.reason for one in cluster.status.conditions if one.type == kind)


def test_a_crash_while_a_revision_is_taken_away_leaves_nothing_behind(cluster: SimulatedCluster) -> None:
    assert cluster.status.stable is not None
    gone = f"churn-{cluster.status.stable.revision}"
    cluster.add(make_model("churn", 2))
    for _ in range(100):
        cluster.kubelet()
        cluster.sync()
        cluster.scrape()
        plan = decision.decide(cluster.observe())
        if plan.deletes:
            break
        cluster.pass_once()
        cluster.tick(2)
    assert {one.name for one in plan.deletes} == {gone}
    before = set(cluster.objects)
    for _ in range(10):
        with contextlib.suppress(Crash):
            cluster.pass_once(crash_after=1)
        if set(cluster.objects) != before:
            break
    assert len(before - set(cluster.objects)) == 1, "the crash came between the two"
    cluster.settle(5)
    assert [key for key in cluster.objects if key[1] == gone] == []


@pytest.mark.parametrize("move", [moves.promote, moves.withdraw])
def test_no_more_than_eight_revisions_are_listed_as_retiring(cluster: SimulatedCluster, move: Any) -> None:
    cluster.change(strategy=HELD)
    cluster.add(make_model("churn", 2))
    cluster.settle(4)
    full = tuple(
        Retiring(revision=f"{number:08x}", model="churn-0", digest=f"sha256:{number:064x}", since=START)
        for number in range(8)
    )
    state = cluster.status.model_copy(update={"retiring": full})
    leaves = state.stable if move is moves.promote else state.canary
    assert leaves is not None
    finding = Finding(signal=Signal.WITHDRAWN, reason=DeploymentReason.ApprovalRevoked, why="it was taken back")
    before = moves.Transition(state=state)
    transition = move(moves.MoveContext(seen=cluster.observe(), transition=before, finding=finding))
    assert [one.revision for one in transition.state.retiring] == [*(one.revision for one in full[1:]), leaves.revision]


def test_a_rollback_changes_routes_and_no_cluster(cluster: SimulatedCluster) -> None:
    """Envoy reads the two files one after the other: in between, the canary's failures must still go to stable."""
    cluster.change(strategy=HELD)
    cluster.add(make_model("churn", 2))
    cluster.settle(8)
    assert cluster.status.canary is not None
    assert cluster.status.canary.weight > 0
    before = rollout.router_config(cluster.observe(), cluster.status)
    cluster.change(actions={"abort": {"revision": cluster.status.canary.revision}})
    cluster.settle(1)
    assert cluster.status.retiring
    after = rollout.router_config(cluster.observe(), cluster.status)
    assert router.clusters(after) == router.clusters(before)
    assert router.routes(after) != router.routes(before)


def analysing(cluster: SimulatedCluster) -> datetime:
    """Let the canary come to its analysis; when that began."""
    cluster.change(strategy=ANALYSED)
    cluster.add(make_model("churn", 2))
    for _ in range(20):
        cluster.settle(1)
        memory = cluster.status.rollout
        if memory is not None and memory.current_step_index == 1 and memory.step_started_time is not None:
            return memory.step_started_time
    raise AssertionError(cluster.status.message)


def test_a_clock_that_was_set_back_does_not_lengthen_a_pause(cluster: SimulatedCluster) -> None:
    cluster.change(strategy={"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "30s"}}]}})
    cluster.add(make_model("churn", 2))
    cluster.settle(10)
    assert cluster.status.canary is not None, cluster.status.message
    cluster.now -= timedelta(hours=1)
    cluster.settle(60)
    assert cluster.status.stable is not None
    assert cluster.status.stable.model == "churn-2"
    assert cluster.status.retiring == (), "and churn-1 went 30 s later"


def test_an_analysis_has_all_its_time_after_a_restart(cluster: SimulatedCluster) -> None:
    began = analysing(cluster)
    cluster.now = began + timedelta(seconds=290)
    cluster.baselines.clear()
    cluster.counted.clear()  # the operator starts over: what was counted is forgotten
    cluster.settle(100, seconds=2)
    assert reason(cluster, "Progressing") == "CanaryAnalysing", "200 s of the second count"
    cluster.settle(60, seconds=2)
    assert reason(cluster, "Progressing") == "AnalysisInconclusive"


def test_an_analysis_is_not_over_before_anything_is_counted(cluster: SimulatedCluster) -> None:
    began = analysing(cluster)
    cluster.observe()  # and the counting begins
    cluster.now = began + timedelta(seconds=310)
    seen = cluster.observe()
    assert "AnalysisInconclusive" in str(decision.decide(seen).status)
    forgetful = seen.model_copy(update={"scraped": type(seen.scraped)()})
    assert "AnalysisInconclusive" not in str(decision.decide(forgetful).status)


def dataset(version: int, number: int, created: datetime) -> api.Dataset:
    current = {
        "version": version,
        "digest": f"sha256:{number:064x}",
        "uri": f"s3://millrace/datasets/ml/customers/{number}",
        "rows": 10,
        "bytes": 10,
        "createdTime": created,
    }
    spec = {"source": {"storageUri": "s3://millrace/raw/"}, "format": "CSV"}
    metadata = {"name": "customers", "namespace": "ml"}
    return api.Dataset.model_validate({"metadata": metadata, "spec": spec, "status": {"current": current}})


@pytest.fixture
def drifted(cluster: SimulatedCluster) -> SimulatedCluster:
    """churn-1, trained on version 3 of customers an hour ago, serves and drifts."""
    cluster.change(monitoring={"drift": {"interval": "10s"}}, retraining=RETRAINING, strategy=None)
    trained = {"name": "customers", "version": 3, "digest": f"sha256:{3:064x}"}
    model = make_model("churn", 1, dataset=trained)
    made = model.metadata.model_copy(update={"creation_timestamp": START - timedelta(hours=1)})
    cluster.add(model.model_copy(update={"metadata": made}))
    cluster.run = api.TrainingRun.model_validate({"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": RUN})
    cluster.dataset = dataset(3, 3, START - timedelta(hours=2))
    assert cluster.status.stable is not None
    verdict = Verdict("Drifted", 0.31, 0.2, "tenure", 1200, 0.4)
    cluster.drift = RevisionDrift(revision=cluster.status.stable.revision, verdict=verdict)
    cluster.settle(10)
    assert reason(cluster, "RetrainingBlocked") == "NoNewData"
    return cluster


@pytest.mark.parametrize(
    ("version", "number", "age", "starts"),
    [(1, 9, 0, 1), (3, 9, 0, 1), (1, 3, 0, 0), (1, 9, 2, 0), (4, 9, 2, 1)],
    ids=["made again", "made again up to the same version", "of the same bytes", "older than the model", "newer"],
)
def test_a_dataset_that_was_made_again_is_new_data(
    drifted: SimulatedCluster, version: int, number: int, age: int, starts: int
) -> None:
    drifted.dataset = dataset(version, number, START - timedelta(hours=age))
    drifted.settle(1)
    assert len(drifted.created) == starts


def test_a_retrained_model_that_was_rolled_back_is_reported_as_quarantined(drifted: SimulatedCluster) -> None:
    drifted.dataset = dataset(4, 4, START)
    drifted.settle(1)
    (run,) = drifted.runs
    done = {"type": "Complete", "status": "True", "reason": "x", "lastTransitionTime": "2026-11-21T08:00:00Z"}
    status = api.TrainingRunStatus.model_validate({"conditions": [done], "modelRef": {"name": "churn-2"}})
    drifted.runs = [run.model_copy(update={"status": status})]
    drifted.settle(2)
    assert reason(drifted, "RetrainingBlocked") == "RunStarted"
    assert drifted.status.stable is not None
    entry = {
        "revision": "bbbbbbbb",
        "model": "churn-2",
        "digest": f"sha256:{2:064x}",
        "reason": "AnalysisFailed: errors",
        "time": START,
    }
    changed = api.DeploymentStatus.model_validate({**drifted.status.model_dump(by_alias=True), "quarantined": [entry]})
    drifted.deployment = drifted.deployment.model_copy(update={"status": changed})
    drifted.settle(1)
    found = next(one for one in drifted.status.conditions if one.type == "RetrainingBlocked")
    assert (found.status, found.reason) == ("True", "AlreadyTried")
    assert "churn-2, which is quarantined: AnalysisFailed: errors" in (found.message or "")
    assert '"unquarantine":{"revision":"bbbbbbbb"}' in (found.message or "")


def test_a_routers_files_are_written_by_libyaml_and_read_as_before(cluster: SimulatedCluster) -> None:
    assert yaml.__with_libyaml__, "the wheels of PyYAML are built with it"
    assert issubclass(envoy.DUMPER, yaml.CSafeDumper)
    for text in cluster.objects["ConfigMap", "churn-router"]["data"].values():
        assert text == yaml.safe_dump(yaml.safe_load(text), sort_keys=False, width=120)


@pytest.mark.parametrize("builtin", ["ErrorRate", "LatencyP95"])
def test_a_threshold_that_nothing_can_meet_is_refused(builtin: str) -> None:
    metric = {"name": "m", "builtin": builtin, "thresholdRange": {"max": 0}}
    with pytest.raises(ValidationError, match=r"thresholdRange\.max"):
        api.deployment.AnalysisMetric.model_validate(metric)
