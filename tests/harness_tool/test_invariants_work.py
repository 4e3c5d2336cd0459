"""Each law about what is made, unmade and written down finds the one thing that is wrong in a bad history."""

from __future__ import annotations

from millrace_harness import invariants
from millrace_harness.history import History
from millrace_harness.wire import Request

OURS = "millrace.dev/v1alpha1"


def thing(kind: str, name: str, *, version: int = 1, api: str = OURS, **more) -> dict:
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1}
    return {"apiVersion": api, "kind": kind, "metadata": metadata | more.pop("metadata", {}), **more}


def changed(manifest: dict, **more) -> dict:
    metadata = {**manifest["metadata"], "resourceVersion": str(int(manifest["metadata"]["resourceVersion"]) + 1)}
    return {**manifest, "metadata": metadata | more.pop("metadata", {}), **more}


def laws(history: History) -> set[str]:
    return {one.law for one in invariants.check(history)}


def job(name: str, run_uid: str) -> dict:
    return thing("Job", name, api="batch/v1", metadata={"labels": {"millrace.dev/training-run-uid": run_uid}})


def test_i4_a_second_job_of_a_run_is_found():
    history = History()
    history.add(1, "operator-1", None, job("run-1", "uid-run"))
    history.add(2, "operator-1", None, job("run-2", "uid-run"))
    assert laws(history) == {"I4"}


def test_i4_a_job_that_a_user_deleted_may_be_made_again():
    history = History()
    history.add(1, "operator-1", None, job("run-1", "uid-run"))
    history.add(2, "user", job("run-1", "uid-run"), None)
    history.add(3, "operator-1", None, job("run-1", "uid-run"))
    assert laws(history) == set()


def model(**spec) -> dict:
    return thing("Model", "churn-1", spec={"artifact": {"digest": "sha256:1"}, **spec})


def test_i5_an_approval_that_is_lost_is_found():
    one, two = (
        {"user": "bob", "digest": "sha256:1", "decision": "Approve"},
        {"user": "eve", "digest": "sha256:1", "decision": "Reject"},
    )
    history, before = History(), model(approvals=[one])
    history.add(1, "user", before, changed(model(approvals=[two, one])))
    assert laws(history) == {"I5"}
    history, before = History(), model(approvals=[one])
    history.add(1, "user", before, changed(model(approvals=[one, two])))
    assert laws(history) == set()


def test_i8_another_artifact_under_the_same_model_is_found():
    history = History()
    history.add(1, "user", model(), changed(model(artifact={"digest": "sha256:2"})))
    assert laws(history) == {"I8"}


def test_i9_an_observed_generation_that_goes_back_or_ahead_is_found():
    before = thing("Dataset", "visits", spec={}, status={"observedGeneration": 2}, metadata={"generation": 2})
    back, ahead = History(), History()
    back.add(1, "operator-1", before, changed(before, status={"observedGeneration": 1}))
    ahead.add(1, "operator-1", before, changed(before, status={"observedGeneration": 3}))
    assert laws(back) == laws(ahead) == {"I9"}


def test_i14_a_spec_that_the_operator_writes_is_found():
    before = thing("Dataset", "visits", spec={"format": "CSV"})
    history = History()
    history.add(1, "operator-1", before, changed(before, spec={"format": "Parquet"}))
    assert laws(history) == {"I14"}


def workload(replicas: int) -> dict:
    labels = {"millrace.dev/deployment": "churn", "millrace.dev/revision": "aaaaaaaa"}
    metadata = {"labels": labels, "ownerReferences": [{"uid": "uid-churn", "controller": True}]}
    return thing("Deployment", "churn-aaaaaaaa", api="apps/v1", metadata=metadata, spec={"replicas": replicas})


def serving(replicas: int) -> History:
    history = History()
    status = {"stable": {"revision": "aaaaaaaa", "weight": 0, "digest": "sha256:1", "model": "churn-1"}}
    history.add(1, "user", None, thing("Deployment", "churn", spec={"replicas": replicas}, status=status))
    history.add(2, "operator-1", None, workload(replicas))
    return history


def test_i7_a_stable_revision_that_shrinks_unasked_is_found():
    history = serving(3)
    history.add(60, "operator-1", workload(3), changed(workload(1)))
    assert laws(history) == {"I7"}


def test_i7_a_stable_revision_that_shrinks_because_a_user_asked_is_no_fault():
    history = serving(3)
    before = history.changes[0].present
    history.add(59, "user", before, changed(before, spec={"replicas": 1}))
    history.add(60, "operator-1", workload(3), changed(workload(1)))
    assert laws(history) == set()


def test_i7_and_i11_a_stable_revision_that_is_deleted_is_found():
    history = serving(1)
    history.add(60, "operator-1", workload(1), None)
    assert laws(history) == {"I7", "I11"}


def clone(name: str, cause: str) -> dict:
    labels = {
        "millrace.dev/trigger": "drift",
        "millrace.dev/deployment-uid": "uid-churn",
        "millrace.dev/deployment": "churn",
    }
    metadata = {"labels": labels, "annotations": {"millrace.dev/cause": cause}}
    return thing("TrainingRun", name, metadata=metadata, spec={"datasetRef": {"name": "visits"}})


def test_i10_a_cause_that_is_answered_twice_is_found():
    history, first = History(), clone("churn-1", "drift: drift of churn-1")
    history.add(1, "operator-1", None, first)
    done = changed(first, status={"conditions": [{"type": "Complete", "status": "True"}]})
    history.add(2, "operator-1", first, done)
    history.add(3, "operator-1", None, clone("churn-2", "drift: drift of churn-1"))
    assert laws(history) == {"I10"}


def test_i10_more_runs_at_once_than_the_limit_are_found():
    history = History()
    history.add(1, "operator-1", None, clone("churn-1", "drift: drift of churn-1"))
    history.add(2, "operator-1", None, clone("churn-2", "drift: drift of churn-2"))
    assert laws(history) == {"I10"}


def test_i10_drift_that_nothing_comes_of_is_found():
    history = History()
    status = {"conditions": [{"type": "DriftDetected", "status": "True"}]}
    history.add(1, "user", None, thing("Deployment", "churn", spec={"retraining": {"x": 1}}, status=status))
    assert laws(history) == {"I10"}


def service(owner: str) -> dict:
    metadata = {"labels": {"millrace.dev/deployment": "churn"}, "ownerReferences": [{"uid": owner}]}
    return thing("Service", "churn-x", api="v1", metadata=metadata)


def delete(**preconditions: str) -> Request:
    return Request(
        "operator-1", "DELETE", "/api/v1/namespaces/ml/services/churn-x", {}, {"preconditions": preconditions}
    )


def test_i11_a_deletion_of_what_nobody_of_ours_controls_is_found():
    history = serving(1)
    history.add(3, "operator-1", service("uid-somebody"), None, delete(uid="uid-churn-x", resourceVersion="1"))
    assert laws(history) == {"I11"}


def test_i11_a_deletion_that_does_not_say_which_version_it_means_is_found():
    exact, blind = serving(1), serving(1)
    exact.add(3, "operator-1", service("uid-churn"), None, delete(uid="uid-churn-x", resourceVersion="1"))
    blind.add(3, "operator-1", service("uid-churn"), None, delete(uid="uid-churn-x"))
    assert (laws(exact), laws(blind)) == (set(), {"I11"})


def test_i11_a_deletion_of_a_users_object_is_found():
    history = History()
    history.add(1, "operator-1", model(), None)
    assert laws(history) == {"I11"}


def led_by_two() -> History:
    history = History()
    lease = thing("Lease", "millrace-operator", api="coordination.k8s.io/v1", spec={"holderIdentity": "a"})
    history.add(1, "operator-1", None, lease)
    history.add(2, "operator-1", None, service("uid-churn"))
    history.add(20, "operator-2", lease, changed(lease, spec={"holderIdentity": "b"}))
    return history


def test_i13_writes_of_an_operator_that_lost_the_lease_are_found():
    history, first = led_by_two(), service("uid-churn")
    history.add(22, "operator-1", first, changed(first))
    assert laws(history) == set()
    history.add(60, "operator-1", changed(first), changed(changed(first)))
    assert laws(history) == set()  # what it had in its hands
    history.add(61, "operator-1", changed(changed(first)), changed(changed(changed(first))))
    assert laws(history) == {"I13"}


def test_i13_a_late_write_that_moves_traffic_is_found():
    history = led_by_two()
    history.add(60, "operator-1", None, thing("ConfigMap", "churn-router", api="v1"))
    assert laws(history) == {"I13"}
