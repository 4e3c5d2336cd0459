"""The snapshot Job: restricted, without credentials where it can be, and told everything in one file."""

from __future__ import annotations

from typing import Any

from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetVersion
from millrace.contract import task
from millrace.contract.dataset import Mode, Source
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


def told(job: dict[str, Any]) -> SnapshotTask:
    annotation: str = job["spec"]["template"]["metadata"]["annotations"][task.ANNOTATION]
    return SnapshotTask.from_json(task.unpack(annotation))


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]


def test_the_pod_is_told_the_whole_spec_and_where_to_write() -> None:
    job = snapshot_job.render(make_dataset(), "churn-snapshot-1", None, PLATFORM)
    found = told(job)
    assert (found.namespace, found.name, found.store_uri) == ("ml", "churn", "s3://millrace")
    assert found.spec.source == Source("s3://lake/churn.csv")
    assert found.spec.schema.mode is Mode.INFER
    assert found.previous is None


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
    found = told(snapshot_job.render(make_dataset(), "j", version, PLATFORM)).previous
    assert found is not None
    assert (found.uri, found.digest, found.source_digest) == ("s3://millrace/d/", A, "")


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


def test_a_spec_of_any_size_reaches_the_pod_and_none_of_it_is_a_variable() -> None:
    values = [f"{number:064}" for number in range(256)]
    fields = [{"name": f"f{number}", "type": "String", "allowedValues": values} for number in range(64)]
    metadata = {"name": "churn", "namespace": "ml", "uid": "u-1"}
    spec = {"source": {"storageUri": "s3://lake/c.csv"}, "format": "CSV", "schema": {"fields": fields}}
    dataset = Dataset.model_validate({"metadata": metadata, "spec": spec})
    job = snapshot_job.render(dataset, "j", None, PLATFORM)
    found = [one.to_dict() for one in told(job).spec.schema.fields]
    assert found == [{**field, "role": "Feature", "nullable": True} for field in fields]
    assert len(told(job).to_json()) > 1024 * 1024
    assert len(job["spec"]["template"]["metadata"]["annotations"][task.ANNOTATION]) < 256 * 1024
    assert max(map(len, variables(job).values())) < 1024
    assert {"name": "task", "mountPath": task.DIRECTORY} in container(job)["volumeMounts"]
    (volume,) = [one for one in job["spec"]["template"]["spec"]["volumes"] if one["name"] == "task"]
    source = {"path": task.FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{task.ANNOTATION}']"}}
    assert volume == {"name": "task", "downwardAPI": {"items": [source]}}


def test_the_container_has_a_limit_that_the_spec_may_change() -> None:
    usual = container(snapshot_job.render(make_dataset(), "j", None, PLATFORM))["resources"]
    assert usual == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    dataset = make_dataset()
    worker = {"resources": {"limits": {"memory": "3Gi"}}}
    changed = Dataset.model_validate({**dataset.wire(), "spec": {**dataset.spec.wire(), "worker": worker}})
    resources = container(snapshot_job.render(changed, "j", None, PLATFORM))["resources"]
    assert resources == {"requests": {"cpu": "100m"}, "limits": {"memory": "3Gi"}}


def test_the_container_logs_as_much_as_the_operator() -> None:
    job = snapshot_job.render(make_dataset(), "j", None, PLATFORM.model_copy(update={"log_level": "DEBUG"}))
    assert variables(job)["MILLRACE_LOG_LEVEL"] == "DEBUG"
