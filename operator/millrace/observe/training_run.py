"""What is known about a TrainingRun: itself, its Dataset, its Job, and the Models it is compared and counted with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from millrace.api import keys, resources
from millrace.api.dataset import Dataset
from millrace.api.training_run import TrainingRun
from millrace.clients.store import Manifest
from millrace.clients.world import MapFunctions, World
from millrace.decide import training_run
from millrace.decide.job import Job
from millrace.decide.training_run import ModelView, Observation
from millrace.observe import jobs, policy
from millrace.observe.model import by_model_name
from millrace.render import names


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the run is gone. Raises pydantic.ValidationError on one that is no TrainingRun, ApiError."""
    manifest = world.store.get(resources.TRAINING_RUNS, namespace, name)
    if manifest is None:
        return None
    run = TrainingRun.model_validate(manifest)
    seen = Observation(
        now=world.clock.now(),
        steady_since=world.steadiness.since(),
        run=run,
        platform=jobs.platform(world),
        admitted=await _admitted(world, run),
    )
    if training_run.is_over(run):
        return seen.model_copy(update={"job": await _job(world, run)})
    if run.status.resolved is None:
        found = world.store.get(resources.DATASETS, namespace, run.spec.dataset_ref.name)
        dataset = Dataset.model_validate(found) if found is not None else None
        models = world.store.find(resources.MODELS, by_model_name, run.spec.output.model_name, namespace)
        return seen.model_copy(update={"dataset": dataset, "models": tuple(view(model) for model in models)})
    job = await _job(world, run)
    if job is None or job.state != "Succeeded":
        # A Model of this run that is already there counts even if the cache knows no better; absence proves nothing.
        own = world.store.list(resources.MODELS, namespace, {keys.TRAINING_RUN_UID: run.metadata.uid})
        return seen.model_copy(update={"job": job, "models": tuple(view(model) for model in own)})
    # Counting versions and finding our own Model must not depend on how far a watch has come.
    live = await world.kube.list(resources.MODELS, namespace)
    return seen.model_copy(update={"job": job, "models": tuple(view(model) for model in live), "models_are_live": True})


async def _job(world: World, run: TrainingRun) -> Job | None:
    """Its Job; once the run is over nothing is asked of the API server, as the answer is in its status."""
    wanted = run.status.job_name or names.training_job(run.metadata.name, run.metadata.uid)
    owned = await jobs.owned(world, run.metadata.uid, None if training_run.is_over(run) else wanted)
    return next((job for job in owned if job.name == wanted), None)


async def _admitted(world: World, run: TrainingRun) -> bool | None:
    """Whether the policies checked the run when it was created; asked after it was seen, for the last look is older."""
    found = world.policy
    if found.in_force is not None and not training_run.is_admission_settled(run):
        found = await policy.recheck(world)
    return policy.admitted(found, run.metadata.creation_timestamp)


def view(model: Mapping[str, Any]) -> ModelView:
    """A Model as far as runs care. Total: what is malformed counts as not there."""
    metadata, spec, status = model["metadata"], model.get("spec") or {}, model.get("status") or {}
    artifact, number = spec.get("artifact") or {}, str(spec.get("version") or "")
    return ModelView(
        name=metadata["name"],
        model_name=str(spec.get("modelName") or ""),
        version=int(number) if number.isascii() and number.isdigit() and len(number) <= 9 else 0,
        digest=str(artifact.get("digest") or ""),
        storage_uri=str(artifact.get("storageUri") or ""),
        aliases=tuple(str(alias) for alias in status.get("aliases") or ()),
        run_uid=str((metadata.get("labels") or {}).get(keys.TRAINING_RUN_UID) or ""),
    )


def by_dataset(run: Manifest) -> Iterable[str]:
    """The Dataset that a run reads."""
    name = ((run.get("spec") or {}).get("datasetRef") or {}).get("name")
    return [name] if name else []


def by_output(run: Manifest) -> Iterable[str]:
    """The registered model that a run will make a version of, if it is under way."""
    name = (((run.get("spec") or {}).get("output")) or {}).get("modelName")
    told = {one.get("type") for one in (run.get("status") or {}).get("conditions") or () if one.get("status") == "True"}
    return [name] if name and not told & {"Complete", "Failed", "Stalled"} else []


def _runs_on(world: World, dataset: Manifest) -> Iterator[tuple[str, str]]:
    """The runs that wait for this Dataset: those that have not pinned a version yet."""
    metadata = dataset["metadata"]
    namespace = metadata.get("namespace") or ""
    for run in world.store.find(resources.TRAINING_RUNS, by_dataset, metadata["name"], namespace):
        if not (run.get("status") or {}).get("resolved"):
            yield run["metadata"]["namespace"], run["metadata"]["name"]


WATCHES: MapFunctions = {resources.DATASETS: _runs_on}
"""The Job comes by ownerReference, its pods and the Model by label."""
