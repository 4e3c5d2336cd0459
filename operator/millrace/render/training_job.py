"""The Job of a TrainingRun: fetch → train → evaluate, of which only the first and the last may open the store."""

from __future__ import annotations

from typing import Any

from millrace.api.training_run import Resolved, TrainingRun
from millrace.contract import environment
from millrace.contract import task as told
from millrace.contract.training import TrainingSpec
from millrace.render import metadata, pod, snapshot_job
from millrace.render.pod import Platform

FETCH, TRAIN, EVALUATE = "fetch", "train", "evaluate"
WORK_VOLUME = "work"
TRAINER_TMP_VOLUME = "trainer-tmp"
"""The trainer's own /tmp: /tmp is also home, where libraries look for settings, and `evaluate` holds keys."""


def render(run: TrainingRun, resolved: Resolved, name: str, platform: Platform) -> dict[str, Any]:
    """The Job `name`, made of what was resolved and of nothing that may have changed since."""
    labels = metadata.labels("training", training_run=run.metadata.name, training_run_uid=run.metadata.uid)
    fetch, train, evaluate = (_container(stage, run, platform) for stage in (FETCH, TRAIN, EVALUATE))
    template = pod.spec(
        [evaluate],
        init=[fetch, train],
        volumes=[WORK_VOLUME, TRAINER_TMP_VOLUME],
        configured=[pod.task_volume()],
        restart="Never",
        grace_seconds=10,
    )
    text = task(run, resolved, platform).to_json()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata.child("TrainingRun", run.metadata, name, labels),
        "spec": snapshot_job.job_spec(run.spec.backoff_limit, run.spec.active_deadline_seconds, labels, template, text),
    }


def _container(stage: str, run: TrainingRun, platform: Platform) -> pod.Part:
    trains = stage == TRAIN
    return pod.container(
        stage,
        platform.trainer_image,
        ("python", "-m", "millrace_runtime.training", stage),
        platform=platform,
        env=pod.told(platform),
        # The trainer runs whatever a user names: it never holds a key to the store.
        secrets=() if trains else (pod.secret(platform.store_secret),),
        mounts={
            WORK_VOLUME: environment.WORK_DIR,
            pod.TASK_VOLUME: told.DIRECTORY,
            **({TRAINER_TMP_VOLUME: pod.TMP} if trains else {}),
        },
        resources=run.spec.trainer.resources_per_node if trains else run.spec.worker.resources,
    )


def task(run: TrainingRun, resolved: Resolved, platform: Platform) -> environment.TrainingTask:
    """What all three stages are told."""
    dataset, champion = resolved.dataset, resolved.champion
    return environment.TrainingTask(
        namespace=run.metadata.namespace,
        run=run.metadata.name,
        run_uid=run.metadata.uid,
        dataset=environment.DatasetVersion(
            name=dataset.name, version=dataset.version, digest=dataset.digest, uri=resolved.dataset_uri
        ),
        spec=TrainingSpec.from_dict(run.spec.wire()),
        store_uri=platform.store_uri,
        champion=None
        if champion is None
        else environment.Champion(name=champion.name, storage_uri=champion.storage_uri, digest=champion.digest),
    )
