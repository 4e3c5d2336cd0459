"""Bytes that failed stay out, whatever becomes of the Deployment they failed in, until an approver lets them go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from millrace.decide import deployment as decision
from millrace.decide.deployment.observation import Trouble
from millrace.render import quarantine as records
from millrace_kit.simulation import Crash, SimulatedCluster, make_deployment, make_model

BROKEN = Trouble(reason="ModelNotLoadable", message="it does not fit")
HELD = {"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "1h"}}]}}


def serving(name: str = "churn", uid: str = "uid-churn", **shared: Any) -> SimulatedCluster:
    """A Deployment that serves churn-1; `shared` is what it has in common with others."""
    cluster = SimulatedCluster(deployment=make_deployment(name=name, uid=uid), **shared)
    cluster.add(make_model("churn", 1))
    cluster.settle(5)
    assert cluster.status.stable is not None
    return cluster


def failed() -> SimulatedCluster:
    """churn-2 was tried and could not be loaded."""
    cluster = serving()
    cluster.broken[f"sha256:{2:064x}"] = BROKEN
    cluster.add(make_model("churn", 2))
    cluster.settle(4)
    assert cluster.status.quarantined
    cluster.broken.clear()
    return cluster


def beside(cluster: SimulatedCluster, name: str, uid: str) -> SimulatedCluster:
    """Another Deployment in the same namespace."""
    first = {"churn-1": cluster.models["churn-1"]}
    other = SimulatedCluster(
        deployment=make_deployment(name=name, uid=uid), models=first, records=cluster.records, now=cluster.now
    )
    other.settle(5)
    other.models = cluster.models
    return other


def until(cluster: SimulatedCluster, reached: Callable[[], bool], requests: int = 0) -> None:
    for _ in range(200):
        if reached():
            return
        cluster.settle(1)
        cluster.serve(requests)
    raise AssertionError(cluster.status.message)


def stable(cluster: SimulatedCluster) -> str:
    return cluster.status.stable.model if cluster.status.stable is not None else ""


def said(cluster: SimulatedCluster, reason: str) -> int:
    return [event.reason for event in cluster.events].count(reason)


def test_of_several_versions_in_quarantine_the_newest_is_named() -> None:
    """By its number, wherever a list has it: by name churn-10 comes before churn-9."""
    cluster = SimulatedCluster()
    for version in (10, 9):
        cluster.broken[f"sha256:{version:064x}"] = BROKEN
        cluster.add(make_model("churn", version))
        cluster.settle(6)
    assert {one.model for one in cluster.status.quarantined} == {"churn-9", "churn-10"}
    assert "churn-10 is quarantined" in (cluster.status.message or "")


def test_a_deployment_that_is_deleted_and_applied_again_keeps_the_quarantine() -> None:
    before = failed()
    again = beside(before, "churn", "uid-of-the-second")
    again.settle(30)
    assert stable(again) == "churn-1"
    assert [(one.model, one.reason) for one in again.status.quarantined] == [
        ("churn-2", "ModelNotLoadable: it does not fit")
    ]


def test_a_deployment_that_is_deleted_in_the_moment_of_the_verdict_loses_nothing() -> None:
    """The record is written before the status: there is no moment at which only the Deployment knows."""
    cluster = serving()
    cluster.broken[f"sha256:{2:064x}"] = BROKEN
    cluster.add(make_model("churn", 2))
    for _ in range(10):
        cluster.kubelet()
        cluster.sync()
        cluster.scrape()
        plan = decision.decide(cluster.observe())
        if plan.records:
            break
        cluster.pass_once()
    for writes in range(10):
        if cluster.records:
            break
        with pytest.raises(Crash):
            cluster.pass_once(crash_after=writes)
    assert cluster.records, "the record is written"
    assert cluster.status.quarantined == (), "and the status does not tell of it yet"
    again = beside(cluster, "churn", "uid-of-the-second")
    again.settle(30)
    assert stable(again) == "churn-1"


def test_other_deployments_of_the_same_bytes_honour_it_under_any_name_of_theirs() -> None:
    before = failed()
    other = beside(before, "other", "uid-other")
    other.add(make_model("churn", 3, digest=f"sha256:{2:064x}"))
    other.settle(30)
    assert stable(other) == "churn-1"
    assert other.status.quarantined[0].deployment == "churn"


@pytest.mark.parametrize("reason", ["DigestMismatch", "GoldenSetMismatch"])
def test_a_file_that_is_another_than_its_model_says_condemns_no_other_model_of_the_bytes(reason: str) -> None:
    digest = f"sha256:{2:064x}"
    first = serving()
    first.broken[digest] = Trouble(reason=reason, message="approved was another")
    first.add(make_model("churn", 2))
    first.settle(4)
    assert [one.model for one in first.status.quarantined] == ["churn-2"]
    first.broken.clear()
    second = beside(first, "other", "uid-other")
    second.settle(30)
    assert stable(second) == "churn-1", "the Model whose file it was stays out everywhere"
    second.add(make_model("churn", 3, digest=digest))
    until(second, lambda: stable(second) == "churn-3")
    until(first, lambda: stable(first) == "churn-3")
    assert [one.model for one in first.status.quarantined] == ["churn-2"]


def test_a_canary_gives_way_when_its_bytes_fail_elsewhere() -> None:
    first = serving()
    second = beside(first, "other", "uid-other")
    second.change(strategy=HELD)
    first.add(make_model("churn", 2))
    second.settle(6)
    assert second.status.canary is not None
    first.broken[f"sha256:{2:064x}"] = BROKEN
    first.settle(4)
    second.settle(2)
    assert second.status.canary is None
    memory = second.status.rollout
    assert memory is not None
    assert memory.last_verdict == "RolledBack"
    assert "churn-2 failed in mdep/churn: ModelNotLoadable" in (memory.last_verdict_reason or "")
    assert len(second.records) == 1, "one failure, one record"


def test_what_serves_already_goes_on_though_its_bytes_failed_elsewhere() -> None:
    first = serving()
    second = beside(first, "other", "uid-other")
    second.add(make_model("churn", 2))
    until(second, lambda: stable(second) == "churn-2")
    first.broken[f"sha256:{2:064x}"] = BROKEN
    first.settle(4)
    second.settle(10)
    assert stable(second) == "churn-2"
    assert second.status.stable is not None
    assert second.status.stable.weight == 100
    stalled = next(one for one in second.status.conditions if one.type == "Stalled")
    assert stalled.status == "False", "it serves the newest version, as it is asked to"
    assert "churn-2 goes on serving here, although it failed in mdep/churn" in (second.status.message or "")


@pytest.mark.parametrize("asked", ["by the revision that failed", "by the revision it would be here"])
def test_an_approver_lifts_it_anywhere_for_everybody(asked: str) -> None:
    first = failed()
    second = beside(first, "other", "uid-other")
    second.change(server={"resources": {"limits": {"memory": "1Gi"}}})
    second.settle(30)
    assert stable(second) == "churn-1"
    entry = second.status.quarantined[0]
    revision = entry.revision if asked == "by the revision that failed" else _revision_here(second)
    second.change(actions={"unquarantine": {"revision": revision}})
    until(second, lambda: stable(second) == "churn-2")
    assert second.status.quarantined == ()
    assert said(second, "Unquarantined") == 1
    until(first, lambda: stable(first) == "churn-2")
    assert first.status.quarantined == ()


def _revision_here(cluster: SimulatedCluster) -> str:
    from millrace.decide.deployment import target
    from millrace.render import server

    seen = cluster.observe()
    return server.bundle(cluster.models["churn-2"], target.template(seen)).revision


def test_retry_does_not_lift_what_failed() -> None:
    """It is a weaker verb than `approve`: it brings back what a person stopped, not what was shown to be bad."""
    cluster = failed()
    cluster.change(actions={"retry": {"revision": cluster.status.quarantined[0].revision}})
    cluster.settle(40)
    assert stable(cluster) == "churn-1"
    assert len(cluster.status.quarantined) == 1
    assert len(cluster.records) == 1


def test_retry_brings_back_what_a_person_stopped() -> None:
    cluster = serving()
    cluster.change(strategy=HELD)
    cluster.add(make_model("churn", 2))
    cluster.settle(6)
    assert cluster.status.canary is not None
    revision = cluster.status.canary.revision
    cluster.change(actions={"abort": {"revision": revision}})
    cluster.settle(30)
    assert [one.cause for one in cluster.status.quarantined] == ["Aborted"]
    cluster.change(actions={"retry": {"revision": revision}})
    until(cluster, lambda: cluster.status.canary is not None)


def test_what_failed_again_after_it_was_let_go_is_in_quarantine_again() -> None:
    cluster = failed()
    cluster.broken[f"sha256:{2:064x}"] = BROKEN
    cluster.change(actions={"unquarantine": {"revision": cluster.status.quarantined[0].revision}})
    cluster.settle(60)
    assert said(cluster, "RolledBack") == 2
    assert said(cluster, "Unquarantined") == 1, "the request was carried out once"
    assert len(cluster.status.quarantined) == 1
    facts = [type(fact).__name__ for fact in map(records.read, cluster.records.values())]
    assert sorted(facts) == ["Condemned", "Condemned", "Released"]


def test_a_crash_in_the_middle_of_a_release_lets_go_once() -> None:
    for writes in range(3):
        cluster = failed()
        cluster.settle(30)
        cluster.change(actions={"unquarantine": {"revision": cluster.status.quarantined[0].revision}})
        with contextlib.suppress(Crash):
            cluster.pass_once(crash_after=writes)
        until(cluster, lambda: stable(cluster) == "churn-2")  # noqa: B023
        assert said(cluster, "Unquarantined") == 1
        assert cluster.status.rollout is not None
        assert len(cluster.status.rollout.handled) == 1, "and not again, should it fail later"


@pytest.mark.parametrize("hidden", ["Condemned", "Released", "all"])
def test_a_list_from_the_past_brings_nothing_back_and_lets_nothing_go(hidden: str) -> None:
    """A process that starts may be shown less than was written."""
    cluster = failed()
    kept = dict(cluster.records)
    if hidden == "Released":
        cluster.change(actions={"unquarantine": {"revision": cluster.status.quarantined[0].revision}})
        until(cluster, lambda: stable(cluster) == "churn-2")
        kept = dict(cluster.records)
    before = (stable(cluster), len(cluster.status.quarantined))
    shown = {name: one for name, one in kept.items() if one["data"]["kind"] != hidden and hidden != "all"}
    cluster.records.clear()
    cluster.records.update(shown)
    cluster.settle(10)
    assert (stable(cluster), len(cluster.status.quarantined)) == before
    cluster.records.update(kept)
    cluster.settle(10)
    assert (stable(cluster), len(cluster.status.quarantined)) == before


def test_an_entry_of_an_older_version_is_written_down() -> None:
    cluster = serving()
    entry = {
        "revision": "bbbbbbbb",
        "model": "churn-2",
        "digest": f"sha256:{2:064x}",
        "reason": "AnalysisFailed: errors",
        "time": cluster.now,
    }
    status = type(cluster.status).model_validate({**cluster.status.model_dump(by_alias=True), "quarantined": [entry]})
    cluster.deployment = cluster.deployment.model_copy(update={"status": status})
    cluster.add(make_model("churn", 2))
    cluster.settle(10)
    assert stable(cluster) == "churn-1"
    assert len(cluster.records) == 1
    assert cluster.pending() == []
    again = beside(cluster, "churn", "uid-of-the-second")
    again.settle(20)
    assert stable(again) == "churn-1"


def test_a_record_of_somebody_elses_is_no_quarantine() -> None:
    cluster = serving()
    cluster.records["statefulset-1"] = {"metadata": {"name": "statefulset-1"}, "data": {"spec": {"kind": "Condemned"}}}
    cluster.records["odd"] = {"metadata": {"name": "odd"}, "data": {"kind": "Condemned", "digest": "sha256:zz"}}
    cluster.records["none"] = {"metadata": {"name": "none"}}
    cluster.add(make_model("churn", 2))
    until(cluster, lambda: stable(cluster) == "churn-2")


def test_more_than_the_status_holds_is_still_in_quarantine() -> None:
    cluster = failed()
    (one,) = cluster.records.values()
    for number in range(60):
        name = f"millrace-quarantine-{number}"
        later = f"2026-11-22T08:00:{number:02d}Z"
        cluster.records[name] = {**one, "metadata": {"name": name}, "data": {**one["data"], "time": later}}
    cluster.settle(20)
    assert len(cluster.status.quarantined) == 50
    assert cluster.pending() == []
    assert stable(cluster) == "churn-1"


def test_of_more_releases_than_are_remembered_none_is_told_twice() -> None:
    cluster = serving()
    for number in range(60):
        facts = {"digest": f"sha256:{2:064x}", "deployment": "churn", "time": cluster.now - timedelta(days=number)}
        condemned = records.condemned(
            f"uid-{number}", cluster.now, **facts, model="churn-2", revision="4b3817d5", reason="AnalysisFailed: so"
        )
        released = records.released(
            **facts, deployment_uid="uid-churn", request=f"{number:08x}", lifts=(condemned.record,)
        )
        for fact in (condemned, released):
            cluster.records[fact.record] = records.manifest("ml", fact)
    cluster.settle(1)
    told = said(cluster, "Unquarantined")
    cluster.change(strategy=HELD)
    cluster.add(make_model("churn", 2))
    cluster.settle(6)
    assert cluster.status.canary is not None
    assert said(cluster, "Unquarantined") == told
    assert len(cluster.status.released) == 50
    assert cluster.pending() == []


def test_what_a_person_stopped_is_not_said_to_have_failed() -> None:
    first = serving()
    second = beside(first, "other", "uid-other")
    for cluster in (first, second):
        cluster.change(strategy=HELD)
    first.add(make_model("churn", 2))
    first.settle(6)
    second.settle(6)
    assert first.status.canary is not None
    first.change(actions={"abort": {"revision": first.status.canary.revision, "reason": "wrong column"}})
    first.settle(1)
    second.settle(1)
    assert second.status.rollout is not None
    told = "churn-2 was stopped by a person in mdep/churn: Aborted: wrong column"
    assert told in (second.status.rollout.last_verdict_reason or "")
