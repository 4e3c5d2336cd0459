"""The Job that erases the files of what was deleted, and leaves an EraseReport.

Of all that runs it alone is given the keys that may erase, and it is told folders, one by one: it looks nothing up.
"""

from __future__ import annotations

from typing import Any

from millrace.api.dataset import Dataset
from millrace.api.retention import Deletion
from millrace.api.training_run import bounded
from millrace.contract import task as told
from millrace.contract.removal import EraseTask
from millrace.render import metadata, pod, snapshot_job
from millrace.render.pod import Platform

DEADLINE_SECONDS = 900
BACKOFF_LIMIT = 3
CONTAINER = "erase"
RESOURCES = bounded("50m", "128Mi", "256Mi")


def render(dataset: Dataset, deletion: Deletion, platform: Platform) -> dict[str, Any]:
    """The Job `deletion.job_name`."""
    labels = metadata.labels("retention", dataset=dataset.metadata.name)
    erase = pod.container(
        CONTAINER,
        platform.trainer_image,
        ("python", "-m", "millrace_runtime.removal"),
        platform=platform,
        env=pod.told(platform),
        secrets=[pod.secret(platform.erase_secret or platform.store_secret)],
        mounts={pod.TASK_VOLUME: told.DIRECTORY},
        resources=RESOURCES,
    )
    template = pod.spec([erase], configured=[pod.task_volume()], restart="Never", grace_seconds=10)
    text = task(dataset, deletion, platform).to_json()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata.child("Dataset", dataset.metadata, deletion.job_name or "", labels),
        "spec": snapshot_job.job_spec(BACKOFF_LIMIT, DEADLINE_SECONDS, labels, template, text),
    }


def task(dataset: Dataset, deletion: Deletion, platform: Platform) -> EraseTask:
    """What the container is told."""
    return EraseTask(
        namespace=dataset.metadata.namespace,
        dataset=dataset.metadata.name,
        store_uri=platform.store_uri,
        folders=deletion.folders,
    )
