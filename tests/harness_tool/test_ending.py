"""Two runs of one workload end alike, whatever UIDs, versions and times they had; and not when they differ in fact."""

from __future__ import annotations

from millrace_harness import ending

OURS = "millrace.dev/v1alpha1"


def run(uid: str, version: str, job: str, moment: str, **status) -> dict:
    conditions = [{"type": "Complete", "status": "True", "reason": "Registered", "lastTransitionTime": moment}]
    metadata = {"name": "churn", "uid": uid, "resourceVersion": version, "creationTimestamp": moment}
    told = {"jobName": f"churn-{job}", "conditions": conditions, "message": f"done at {moment}", **status}
    spec = {"output": {"uri": f"s3://millrace/models/{uid}/model.onnx"}}
    return {"apiVersion": OURS, "kind": "TrainingRun", "metadata": metadata, "spec": spec, "status": told}


ONE = run("6cf16f03-6a5a-4b5e-8c52-0e6a4a4d7b11", "12", "0123abcd", "2026-11-21T08:00:00Z")
SAME = run("11111111-2222-3333-4444-555555555555", "99", "fedc9876", "2026-11-22T10:00:00Z")


def test_uids_versions_times_and_hashes_make_no_difference():
    assert ending.differences(ending.canonical([ONE]), ending.canonical([SAME])) == []


def test_a_field_that_differs_is_named():
    other = run("11111111-2222-3333-4444-555555555555", "99", "fedc9876", "2026-11-22T10:00:00Z", attempts=2)
    found = ending.differences(ending.canonical([other]), ending.canonical([ONE]))
    assert found == ["trainingruns churn.status.attempts is 2, undisturbed it is not there"]


def test_a_condition_that_differs_is_named():
    other = run("11111111-2222-3333-4444-555555555555", "1", "0123abcd", "2026-11-22T10:00:00Z")
    other["status"]["conditions"][0]["reason"] = "GatesFailed"
    [text] = ending.differences(ending.canonical([other]), ending.canonical([ONE]))
    assert "GatesFailed" in text
    assert "Registered" in text


def test_numbers_in_a_reason_make_no_difference_and_the_reason_does():
    held = [{"revision": "a", "reason": "AnalysisFailed: 41 of 120"}]
    same, other = [{**held[0], "reason": "AnalysisFailed: 9 of 99"}], [{**held[0], "reason": "Aborted: asked"}]
    first = ending.canonical([{**ONE, "status": {"quarantined": held}}])
    assert ending.differences(ending.canonical([{**ONE, "status": {"quarantined": same}}]), first) == []
    assert ending.differences(ending.canonical([{**ONE, "status": {"quarantined": other}}]), first) != []


def test_an_object_too_many_is_named():
    twin = {**ONE, "metadata": {**ONE["metadata"], "name": "churn-0a1b2c3d"}}
    other = {**ONE, "metadata": {**ONE["metadata"], "name": "churn-99998888"}}
    [text] = ending.differences(ending.canonical([twin, other]), ending.canonical([twin]))
    assert "(another)" in text


def pod(name: str, *, ready: bool) -> dict:
    owner = {"kind": "ReplicaSet", "name": "churn-aaaaaaaa-5d4f", "uid": "x", "controller": True}
    labels = {"millrace.dev/deployment": "churn", "millrace.dev/component": "server"}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def test_pods_are_counted_by_owner_and_readiness():
    here, there = [pod("a", ready=True), pod("b", ready=True)], [pod("c", ready=True), pod("d", ready=True)]
    assert ending.differences(ending.canonical(here), ending.canonical(there)) == []
    assert ending.differences(ending.canonical(here), ending.canonical([pod("c", ready=True), pod("d", ready=False)]))


def test_a_job_that_was_made_twice_is_a_double():
    owner = [{"kind": "TrainingRun", "name": "churn", "uid": "x", "controller": True}]
    jobs = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"churn-{mark}", "ownerReferences": owner}}
        for mark in ("0123abcd", "fedc9876")
    ]
    assert ending.doubles(jobs) == ["2 jobs churn-* of one owner"]
    assert ending.doubles(jobs[:1]) == []


def test_leases_and_events_are_not_part_of_an_ending():
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x"}, "spec": {}}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "y"}, "reason": "Promoted"}
    assert ending.canonical([lease, event]) == {}
