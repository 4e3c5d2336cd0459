"""Laws of retention over any namespace: whoever does what, nothing that is needed goes, and twice is as good as once.

What is needed is found out here by other means than the operator's: by what the objects say, at the very moment at
which something goes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.contract import places
from millrace_kit.simulation import Crash
from retention_worlds import KEEP, Manifest, Namespace, is_true

MODELS, RUNS, DEPLOYMENTS = resources.MODELS, resources.TRAINING_RUNS, resources.DEPLOYMENTS
Act = Callable[[Namespace, int], None]


# --- who needs what


def of(space: Namespace, resource: ResourceType) -> dict[str, Manifest]:
    return {name: one for (kind, name), one in space.objects.items() if kind is resource}


def decided_about(model: Manifest) -> bool:
    said = {entry["user"]: entry["decision"] for entry in model["spec"].get("approvals") or ()}
    marks = {mark["type"]: mark["status"] for mark in model["status"].get("conditions") or ()}
    is_approved = marks.get("Approved", "Unknown") != "False"
    return is_approved or bool({"Approve", "Reject"} & set(said.values())) or bool(model["status"].get("quarantine"))


def named(space: Namespace) -> set[str]:
    """Models that a Deployment serves or names."""
    found: set[Any] = set()
    for one in of(space, DEPLOYMENTS).values():
        found |= {(one["spec"].get("modelRef") or {}).get("name")}
        found |= {((one["status"] or {}).get(role) or {}).get("model") for role in ("stable", "canary")}
    return found - {None}


def newest(names: list[str], count: int) -> set[str]:
    return set(sorted(names, key=lambda name: int(name.rpartition("-")[2]))[-count:])


def needed(space: Namespace) -> Iterator[str]:
    """`Model x`, `TrainingRun x`."""
    models, runs, limits = of(space, MODELS), of(space, RUNS), space.spec_retention()
    for name, one in models.items():
        if decided_about(one) or not one["spec"]["provenance"].get("trainingRunRef"):
            yield f"Model {name}"
        run = (one["spec"]["provenance"].get("trainingRunRef") or {}).get("name")
        if run:
            yield f"TrainingRun {run}"
    yield from (f"Model {name}" for name in named(space))
    made = [name for name, one in models.items() if one["spec"]["provenance"].get("trainingRunRef")]
    yield from (f"Model {name}" for name in newest(made, limits["modelHistoryLimit"]))
    for name, one in runs.items():
        status = one["status"]
        if not {mark["type"] for mark in status.get("conditions") or ()} & {"Complete", "Failed"}:
            yield f"TrainingRun {name}"
            yield f"Model {((status.get('resolved') or {}).get('champion') or {}).get('name')}"
    for one in of(space, DEPLOYMENTS).values():
        yield f"TrainingRun {((one['spec'].get('retraining') or {}).get('trainingRunRef') or {}).get('name')}"


def needed_files(space: Namespace) -> Iterator[str]:
    """URIs, or folders, that an object names."""
    for one in of(space, MODELS).values():
        spec = one["spec"]
        yield from (spec["artifact"]["storageUri"], spec["goldenSetUri"], spec["referenceProfileUri"])
    for one in of(space, RUNS).values():
        yield (one["status"].get("resolved") or {}).get("datasetUri", "s3://none")
    known = [*(space.status.get("versions") or ()), *(space.status.get("olderVersions") or ())]
    yield from (version["uri"] for version in known)


def watched(space: Namespace) -> None:
    """From now on every deletion, and every Job that erases, is held against what is needed right then."""

    def look(seen: Namespace, what: str) -> None:
        if what.startswith(("delete Model", "delete TrainingRun")):
            assert what.removeprefix("delete ") not in set(needed(seen)), what
        if what.startswith("create Job") and "erase" in what:
            folders = seen.retention["deletion"]["folders"]
            lost = [uri for uri in needed_files(seen) for one in folders if places.is_in(uri, one)]
            assert not lost, what

    space.before_write = look


# --- what people do


def approve(space: Namespace, number: int) -> None:
    if (MODELS, f"churn-{number}") in space.objects:
        space.approve(number)


def reject(space: Namespace, number: int) -> None:
    if (MODELS, f"churn-{number}") in space.objects:
        space.approve(number, "Reject")


def judge(space: Namespace, number: int) -> None:
    if (MODELS, f"churn-{number}") in space.objects:
        space.change_model(number, status={"conditions": [is_true("Approved")]})


def quarantine(space: Namespace, number: int) -> None:
    if (MODELS, f"churn-{number}") in space.objects:
        known = space.objects[MODELS, f"churn-{number}"]["status"]
        space.change_model(number, status={**known, "quarantine": {"record": "r"}})


def pin(space: Namespace, number: int) -> None:
    space.deployment({"modelRef": {"name": f"churn-{number}"}}, name=f"pins-{number}")


def serve(space: Namespace, number: int) -> None:
    space.deployment(status={"stable": {"model": f"churn-{number}"}}, name=f"serves-{number}")


def clone(space: Namespace, number: int) -> None:
    spec = {"modelSelector": {"modelName": "churn"}, "retraining": {"trainingRunRef": {"name": f"run-{number}"}}}
    space.deployment(spec, name=f"clones-{number}")


def train(space: Namespace, number: int) -> None:
    """A run begins: on the current version, as every run does."""
    space.run(100 + number, on=int(space.status["current"]["version"]), ends="", champion=f"churn-{number}")


def import_from(space: Namespace, number: int) -> None:
    """Somebody imports a model from where a run has left one that is still there."""
    folder = places.run("s3://millrace", "ml", "churn", f"uid-run-{number}")
    if (MODELS, f"churn-{number}") in space.objects:
        space.model(200 + number, folder=folder)


def forget(space: Namespace, number: int) -> None:
    """Somebody deletes a Model by hand."""
    space.objects.pop((MODELS, f"churn-{number}"), None)


ACTS: tuple[Act, ...] = (approve, reject, judge, quarantine, pin, serve, clone, train, import_from, forget)
acts: SearchStrategy[tuple[Act, int]] = st.tuples(st.sampled_from(ACTS), st.integers(1, 8))
limits = st.fixed_dictionaries(
    {
        "versionHistoryLimit": st.integers(1, 4),
        "modelHistoryLimit": st.integers(1, 4),
        "successfulRunsHistoryLimit": st.integers(0, 4),
        "failedRunsHistoryLimit": st.integers(0, 2),
    }
)


def made(wish: Manifest, count: int, failed: list[int]) -> Namespace:
    space = Namespace()
    space.dataset({**KEEP, **wish})
    space.settle_looks()
    space.freeze(count - 1)
    for number in range(1, count + 1):
        space.run(number, ends="Failed" if number in failed else "Complete")
    return space


worlds = st.builds(made, limits, st.integers(1, 8), st.lists(st.integers(1, 8), max_size=3))
USUAL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@USUAL
@given(worlds, st.lists(acts, max_size=6))
def test_nothing_that_somebody_needs_ever_goes(space: Namespace, before: list[tuple[Act, int]]) -> None:
    for act, number in before:
        act(space, number)
    watched(space)
    space.settle(120)


@USUAL
@given(worlds, st.dictionaries(st.integers(1, 25), acts, max_size=6))
def test_nor_does_what_is_needed_from_then_on(space: Namespace, meanwhile: dict[int, tuple[Act, int]]) -> None:
    """People act between two passes, wherever the deletion has come to."""
    watched(space)
    for moment in range(1, 60):
        if moment in meanwhile:
            act, number = meanwhile[moment]
            act(space, number)
        space.pass_once()
        space.kubelet()
        space.collect()
        space.now += timedelta(seconds=20)


@USUAL
@given(worlds, st.lists(acts, max_size=4), st.lists(st.integers(1, 12), max_size=4))
def test_crashes_change_nothing_of_the_end(space: Namespace, before: list[tuple[Act, int]], crashes: list[int]) -> None:
    for act, number in before:
        act(space, number)
    other = copy.deepcopy(space)
    space.settle(120)
    for writes in crashes:
        other.dies_after = other.writes + writes
        try:
            other.pass_once()
            other.pass_once()
        except Crash:
            pass
        other.dies_after = None
        other.kubelet()
        other.collect()
        other.now += timedelta(seconds=20)
    other.settle(120)
    assert other.end() == space.end()


@USUAL
@given(worlds, st.lists(acts, max_size=4))
def test_at_rest_another_pass_does_nothing(space: Namespace, before: list[tuple[Act, int]]) -> None:
    for act, number in before:
        act(space, number)
    space.settle(120)
    log, writes = list(space.log), space.writes
    for _ in range(3):
        space.now += timedelta(hours=3)
        plan = space.pass_once()
        assert plan.deletes == plan.children == plan.events == ()
    assert (space.log, space.writes) == (log, writes)


@USUAL
@given(worlds, st.lists(acts, max_size=4))
def test_in_a_dry_run_nothing_goes_and_what_is_named_is_what_delete_would_take_first(
    space: Namespace, before: list[tuple[Act, int]]
) -> None:
    for act, number in before:
        act(space, number)
    wish = space.spec_retention()
    space.dataset({**wish, "mode": "DryRun"})
    space.settle(60)
    told, objects = space.planned(), set(space.objects)
    space.now += timedelta(days=3)
    space.pass_once()
    assert (space.log, set(space.objects)) == ([], objects)
    space.dataset(wish)
    space.settle(120)
    gone = [f"{kind.kind} {name}" for kind, name in objects if (kind, name) not in space.objects]
    assert sorted(one for one in told if not one.startswith("Version")) == sorted(gone)
