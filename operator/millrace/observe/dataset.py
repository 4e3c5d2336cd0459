"""What is known about a Dataset: itself and its snapshot Jobs."""

from __future__ import annotations

from millrace.api import resources
from millrace.api.dataset import Dataset
from millrace.clients.world import MapFunctions, World
from millrace.decide.dataset import Observation, looks_at
from millrace.observe import jobs

WATCHES: MapFunctions = {}
"""Jobs come by ownerReference and their pods by label."""


async def observe(world: World, namespace: str, name: str) -> Observation | None:
    """None if the Dataset is gone. Raises pydantic.ValidationError on one that is no Dataset, ApiError."""
    manifest = world.store.get(resources.DATASETS, namespace, name)
    if manifest is None:
        return None
    dataset, now = Dataset.model_validate(manifest), world.clock.now()
    found = await jobs.owned(world, dataset.metadata.uid, looks_at(dataset, now))
    return Observation(now=now, dataset=dataset, jobs=found, platform=jobs.platform(world))
