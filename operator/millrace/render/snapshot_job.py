"""The Job that looks at a Dataset's source once and leaves a SnapshotReport."""

from __future__ import annotations

from typing import Any

from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetVersion
from millrace.contract import environment, report
from millrace.contract import task as told
from millrace.contract.dataset import DatasetSpec
from millrace.contract.erasure import KEY_PREFIX
from millrace.render import metadata, pod
from millrace.render.pod import Platform

DEADLINE_SECONDS = 3600
BACKOFF_LIMIT = 3
CONTAINER = "snapshot"


def render(dataset: Dataset, name: str, previous: DatasetVersion | None, platform: Platform) -> dict[str, Any]:
    """The Job `name`; rows of `previous` keep their split."""
    labels = metadata.labels("snapshot", dataset=dataset.metadata.name)
    source, erased = dataset.spec.source.secret_ref, dataset.spec.erasure
    secrets = [pod.secret(platform.store_secret)]
    if source is not None:
        secrets.append(pod.secret(source.name, environment.SOURCE_PREFIX))
    if erased is not None and erased.ids:
        secrets.append(pod.secret(erased.key_ref.name, KEY_PREFIX))
    snapshot = pod.container(
        CONTAINER,
        platform.trainer_image,
        ("python", "-m", "millrace_runtime.snapshot"),
        platform=platform,
        env=pod.told(platform),
        secrets=secrets,
        mounts={pod.TASK_VOLUME: told.DIRECTORY},
        resources=dataset.spec.worker.resources,
    )
    template = pod.spec([snapshot], configured=[pod.task_volume()], restart="Never", grace_seconds=10)
    text = task(dataset, previous, platform).to_json()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata.child("Dataset", dataset.metadata, name, labels),
        "spec": job_spec(BACKOFF_LIMIT, DEADLINE_SECONDS, labels, template, text),
    }


def task(dataset: Dataset, previous: DatasetVersion | None, platform: Platform) -> environment.SnapshotTask:
    """What the container is told."""
    return environment.SnapshotTask(
        namespace=dataset.metadata.namespace,
        name=dataset.metadata.name,
        store_uri=platform.store_uri,
        spec=DatasetSpec.from_dict(dataset.spec.wire()),
        previous=None
        if previous is None
        else environment.PreviousSnapshot(
            uri=previous.uri, digest=previous.digest, source_digest=previous.source_digest or ""
        ),
    )


def job_spec(
    backoff_limit: int, deadline_seconds: int, labels: dict[str, str], template: dict[str, Any], text: str
) -> dict[str, Any]:
    """A Job that runs one pod at a time, forgives disruptions and does not repeat what cannot end otherwise.

    `text` is the task's JSON, `template` a pod spec with `pod.task_volume()`.

    No ttlSecondsAfterFinished: it counts from the Job's end, and the answer must outlive an operator that is down. The
    operator deletes the Job once the answer is in a status.
    """
    return {
        "backoffLimit": backoff_limit,
        "activeDeadlineSeconds": deadline_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [report.EXIT_VERDICT]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [report.EXIT_INFRASTRUCTURE]}},
            ]
        },
        "template": {
            "metadata": {"labels": labels, "annotations": {told.ANNOTATION: told.pack(text)}},
            "spec": template,
        },
    }
