"""What is known about a Dataset: itself, its snapshot Jobs, and whether it is its turn to have one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from millrace.api import keys, resources
from millrace.api.dataset import Dataset
from millrace.clients.store import Manifest, name_of
from millrace.clients.world import MapFunctions, World
from millrace.decide.dataset import Descendant, Observation, looks_at
from millrace.observe import jobs


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Dataset is gone. Raises pydantic.ValidationError on one that is no Dataset, ApiError."""
    manifest = world.store.get(resources.DATASETS, namespace, name)
    if manifest is None:
        return None
    dataset, now = Dataset.model_validate(manifest), world.clock.now()
    wanted = looks_at(dataset, now)
    found = await jobs.owned(world, dataset.metadata.uid, wanted)
    has_turn = wanted is None or any(job.name == wanted for job in found) or _has_turn(world, namespace, wanted)
    return Observation(
        now=now,
        dataset=dataset,
        jobs=found,
        models=tuple(_descendants(world, dataset)),
        has_turn=has_turn,
        platform=jobs.platform(world),
    )


def _descendants(world: World, dataset: Dataset) -> Iterator[Descendant]:
    """Models of its versions, where Ids are to be forgotten."""
    if dataset.spec.erasure is None:
        return
    for model in world.store.find(resources.MODELS, by_origin, dataset.metadata.name, dataset.metadata.namespace):
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


def by_origin(model: Manifest) -> Iterable[str]:
    """The Dataset that a Model says it was trained on."""
    name = (((model.get("spec") or {}).get("provenance") or {}).get("dataset") or {}).get("name")
    return [name] if name else []


def _of_model(world: World, model: Manifest) -> Iterator[tuple[str, str]]:
    """The Dataset that has to say who still holds Ids that are to be forgotten."""
    namespace = model["metadata"].get("namespace") or ""
    for name in by_origin(model):
        dataset = world.store.get(resources.DATASETS, namespace, name)
        if dataset is not None and (dataset.get("spec") or {}).get("erasure"):
            yield namespace, name


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


WATCHES: MapFunctions = {resources.JOBS: _next_in_line, resources.MODELS: _of_model}
"""A Dataset's own Jobs come by ownerReference and their pods by label."""
