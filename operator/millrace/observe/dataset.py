"""What is known about a Dataset: itself, its snapshot Jobs, and whether it is its turn to have one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from millrace.api import keys, resources
from millrace.api.dataset import Dataset
from millrace.clients.store import Manifest, name_of
from millrace.clients.world import MapFunctions, World
from millrace.decide.dataset import Descendant, Observation, looks_at, retention
from millrace.observe import jobs
from millrace.observe import retention as made


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Dataset is gone. Raises pydantic.ValidationError on one that is no Dataset, ApiError."""
    manifest = world.store.get(resources.DATASETS, namespace, name)
    if manifest is None:
        return None
    dataset, now = Dataset.model_validate(manifest), world.clock.now()
    wanted = looks_at(dataset, now)
    found = await jobs.owned(world, dataset.metadata.uid, wanted, retention.job_of(dataset))
    has_turn = wanted is None or any(job.name == wanted for job in found) or _has_turn(world, namespace, wanted)
    steady = world.steadiness.since()
    return Observation(
        now=now,
        steady_since=steady,
        dataset=dataset,
        jobs=found,
        models=tuple(_descendants(world, dataset)),
        has_turn=has_turn,
        facts=await made.facts(world, dataset, live=retention.asks_live(dataset, found, now, steady)),
        platform=jobs.platform(world),
    )


def _descendants(world: World, dataset: Dataset) -> Iterator[Descendant]:
    """Models of its versions, where Ids are to be forgotten."""
    if dataset.spec.erasure is None:
        return
    for model in world.store.find(
        resources.MODELS, made.by_trained_on, dataset.metadata.name, dataset.metadata.namespace
    ):
        digest = str(model["spec"]["provenance"]["dataset"].get("digest") or "")
        yield Descendant(model=model["metadata"]["name"], digest=digest)


def _has_turn(world: World, namespace: str, job: str) -> bool:
    going = world.store.find(resources.JOBS, by_going_on, True)
    return world.looks.take((namespace, job), [*map(name_of, going)])


def by_going_on(job: Manifest) -> Iterable[bool]:
    """Whether a Job looks at a source now."""
    looks = (job["metadata"].get("labels") or {}).get(keys.COMPONENT) == "snapshot"
    return [True] if looks and not jobs.view(job, ()).is_finished else []


def by_looking(dataset: Manifest) -> Iterable[bool]:
    """Whether a Dataset looks at its source, or waits for its turn."""
    return [True] if (dataset.get("status") or {}).get("jobName") else []


def _next_in_line(world: World, job: Manifest) -> Iterator[tuple[str, str]]:
    """When a look has ended: the Datasets that have waited longest, as many as may go on at a time."""
    if list(by_going_on(job)) and world.store.get(resources.JOBS, *name_of(job)) is not None:
        return
    waiting = [
        one
        for one in world.store.find(resources.DATASETS, by_looking, True)
        if world.store.get(resources.JOBS, name_of(one)[0], one["status"]["jobName"]) is None
    ]
    waiting.sort(key=lambda one: str(one["status"].get("lastCheckTime") or one["metadata"].get("creationTimestamp")))
    yield from map(name_of, waiting[: world.looks.most])


def _of_model(world: World, model: Manifest) -> Iterator[tuple[str, str]]:
    """The Dataset that it was trained on, if that keeps only so many or has to say who holds Ids to be forgotten."""
    for name in made.by_trained_on(model):
        dataset = world.store.get(resources.DATASETS, name_of(model)[0], name)
        spec = (dataset or {}).get("spec") or {}
        if spec.get("erasure") or spec.get("retention"):
            yield name_of(model)[0], name


WATCHES: MapFunctions = {
    resources.JOBS: _next_in_line,
    resources.TRAINING_RUNS: made.of_run,
    resources.MODELS: _of_model,
}
"""A Dataset's own Jobs come by ownerReference and their pods by label."""
