"""What was made of a Dataset and who refers to it: read from the cache, listed live only where something may go."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from millrace.api import keys, resources
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.observe import dataset as observing
from millrace.observe import retention
from millrace_kit.manifests import make_manifest
from retention_worlds import KEEP, NAMESPACE, Namespace

MODELS, RUNS, DATASETS, JOBS = resources.MODELS, resources.TRAINING_RUNS, resources.DATASETS, resources.JOBS


@pytest.fixture
def space() -> Namespace:
    made = Namespace()
    made.dataset()
    made.settle_looks()
    made.freeze(4)
    for number in range(1, 6):
        made.run(number)
    return made


class Asked(World):
    """Notes which kinds are listed at the API server."""

    @classmethod
    def of(cls, space: Namespace) -> tuple[World, list[str]]:
        world, asked = space.world(), []
        listed = world.kube.list

        async def list_(resource: Any, *which: Any, **more: Any) -> Any:
            asked.append(resource.plural)
            return await listed(resource, *which, **more)

        world.kube.list = list_  # type: ignore[method-assign]
        return world, asked


def observed(space: Namespace) -> tuple[Any, list[str]]:
    world, asked = Asked.of(space)
    return asyncio.run(observing.observe(world, NAMESPACE, "churn")), asked


def test_a_dataset_that_keeps_everything_asks_for_nothing(space: Namespace) -> None:
    space.dataset(None)
    seen, asked = observed(space)
    assert (seen.facts, asked) == (None, [])


def test_while_nothing_is_due_the_cache_is_enough(space: Namespace) -> None:
    space.pass_once()
    seen, asked = observed(space)
    assert asked == []
    assert (len(seen.facts.runs), len(seen.facts.models), seen.facts.is_live) == (5, 5, False)


def test_where_something_is_due_all_that_it_depends_on_is_listed_live(space: Namespace) -> None:
    space.pass_once()
    space.now += timedelta(seconds=60)
    seen, asked = observed(space)
    assert asked == ["models", "trainingruns", "deployments", "jobs"]
    assert seen.facts.is_live


def test_a_dry_run_lists_nothing_live_however_long_it_lasts(space: Namespace) -> None:
    space.dataset({**KEEP, "mode": "DryRun"})
    space.settle()
    space.now += timedelta(days=30)
    assert observed(space)[1] == []


def test_a_look_that_the_cache_does_not_know_is_known(space: Namespace) -> None:
    space.pass_once()
    space.now += timedelta(seconds=60)
    world = space.world()
    labels = {keys.DATASET: "churn", keys.COMPONENT: "snapshot"}
    job = make_manifest(JOBS, "churn-snapshot-x", namespace=NAMESPACE, labels=labels, status={})
    world.kube._store.put(JOBS, job)  # type: ignore[attr-defined]
    seen = asyncio.run(observing.observe(world, NAMESPACE, "churn"))
    assert seen is not None
    assert seen.facts is not None
    assert seen.facts.is_looking


def test_what_is_malformed_counts_as_unknown_and_breaks_nothing(space: Namespace) -> None:
    for spec in ({}, {"provenance": None, "artifact": None}, {"provenance": {"dataset": {"name": "churn"}}}):
        space.put(MODELS, f"odd-{len(space.objects)}", spec, None)
    space.put(RUNS, "odd", {"datasetRef": {"name": "churn"}}, {"resolved": None, "candidate": {}, "conditions": None})
    seen, _ = observed(space)
    odd = next(one for one in seen.facts.runs if one.name == "odd")
    assert odd.state == "UnderWay"
    assert [one.is_approved for one in seen.facts.models if one.name.startswith("odd")] == [None]


def woken(space: Namespace, resource: Any, manifest: Manifest) -> list[tuple[str, str]]:
    return list(observing.WATCHES[resource](space.world(), manifest))


def test_a_run_that_has_ended_and_a_model_wake_the_dataset(space: Namespace) -> None:
    wanted = [(NAMESPACE, "churn")]
    assert woken(space, RUNS, space.objects[RUNS, "run-1"]) == wanted
    assert woken(space, MODELS, space.objects[MODELS, "churn-1"]) == wanted
    gone = space.objects.pop((RUNS, "run-1"))
    assert woken(space, RUNS, {**gone, "status": {}}) == wanted, "it was deleted"


def test_a_run_under_way_wakes_no_dataset_nor_does_anything_where_everything_is_kept(space: Namespace) -> None:
    space.run(9, on=5, ends="")
    assert woken(space, RUNS, space.objects[RUNS, "run-9"]) == []
    space.dataset(None)
    assert woken(space, RUNS, space.objects[RUNS, "run-1"]) == []
    assert woken(space, MODELS, space.objects[MODELS, "churn-1"]) == []


def test_folders_that_are_not_where_this_installation_writes_are_nobodys(space: Namespace) -> None:
    facts = asyncio.run(retention.facts(space.world(), space.typed(), live=False))
    assert facts is not None
    assert {one.folder for one in facts.models} == {one.folder for one in facts.runs}
    space.objects[MODELS, "churn-1"]["spec"]["goldenSetUri"] = "s3://elsewhere/golden.json"
    facts = asyncio.run(retention.facts(space.world(), space.typed(), live=False))
    assert facts is not None
    assert next(one.folder for one in facts.models if one.name == "churn-1") == ""
