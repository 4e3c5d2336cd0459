"""The snapshot Job: restricted, without credentials where it can be, and configured by one variable."""

from __future__ import annotations

from typing import Any

from millrace.api.dataset import Dataset, DatasetVersion
from millrace.contract.environment import SnapshotTask
from millrace.render import snapshot_job
from millrace_kit.simulation import PLATFORM

A = f"sha256:{'a' * 64}"


def make_dataset(secret: str | None = None) -> Dataset:
    source: dict[str, Any] = {"storageUri": "s3://lake/churn.csv"}
    if secret is not None:
        source["secretRef"] = {"name": secret}
    spec = {"source": source, "format": "CSV", "schema": {"mode": "Infer"}, "refresh": {"interval": "5m"}}
    metadata = {"name": "churn", "namespace": "ml", "uid": "u-1"}
    return Dataset.model_validate({"metadata": metadata, "spec": spec})


def variables(job: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(job)["env"]}


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]


def test_the_pod_is_told_the_whole_spec_and_where_to_write() -> None:
    job = snapshot_job.render(make_dataset(), "churn-snapshot-1", None, PLATFORM)
    task = SnapshotTask.from_json(variables(job)["MILLRACE_SPEC"])
    assert (task.namespace, task.name, task.store_uri) == ("ml", "churn", "s3://millrace")
    assert task.spec["source"] == {"storageUri": "s3://lake/churn.csv"}
    assert task.spec["schema"]["mode"] == "Infer"
    assert task.previous is None


def test_the_version_before_is_passed_on_so_that_rows_keep_their_split() -> None:
    version = DatasetVersion.model_validate(
        {
            "version": 1,
            "digest": A,
            "uri": "s3://millrace/d/",
            "rows": 1,
            "bytes": 1,
            "createdTime": "2026-11-21T08:00:00Z",
        }
    )
    task = SnapshotTask.from_json(
        variables(snapshot_job.render(make_dataset(), "j", version, PLATFORM))["MILLRACE_SPEC"]
    )
    assert task.previous is not None
    assert (task.previous.uri, task.previous.digest, task.previous.source_digest) == ("s3://millrace/d/", A, "")


def test_a_source_with_keys_of_its_own_gets_them_under_a_prefix() -> None:
    without = container(snapshot_job.render(make_dataset(), "j", None, PLATFORM))["envFrom"]
    with_own = container(snapshot_job.render(make_dataset("lake"), "j", None, PLATFORM))["envFrom"]
    assert without == [{"secretRef": {"name": "store"}}]
    assert with_own == [*without, {"prefix": "SOURCE_", "secretRef": {"name": "lake"}}]


def test_the_job_belongs_to_its_dataset_and_outlives_an_operator_that_is_down() -> None:
    job = snapshot_job.render(make_dataset(), "churn-snapshot-1", None, PLATFORM)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Dataset", "u-1", True)
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert job["metadata"]["labels"]["millrace.dev/dataset"] == "churn"
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["spec"]["activeDeadlineSeconds"] > 0


def test_the_pod_passes_pod_security_restricted() -> None:
    pod = snapshot_job.render(make_dataset(), "j", None, PLATFORM)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (only,) = pod["containers"]
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"name": "tmp", "mountPath": "/tmp"} in only["volumeMounts"]
