"""A field that is accepted works: each leaf of each spec changes what the operator does, somewhere.

A leaf is changed in every story in which it stands, until a story ends differently. Where all that differs is the task
that a pod is given, the pod's code must read a field of that name.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import fields
from field_stories import STORIES, Story, plain
from millrace.api.base import Shape
from millrace.api.crds import kinds
from millrace.contract.task import ANNOTATION

RUNTIME = Path(__file__).parents[2] / "serving-image/millrace_runtime"
ALL = [(kind, path) for kind in kinds.ALL for path, _ in fields.leaves(kind)]

ELSEWHERE = {
    ("Deployment", "actions.acknowledgeDrift.reason"): "for people: the Event tells it",
    ("Deployment", "modelSelector.policy"): "there is one policy so far",
    ("Deployment", "strategy.canary.disableDefaults[]"): "there is one default so far: see `without_an_item`",
    ("Deployment", "strategy.canary.steps[].analysis.metrics[].name"): "names a result in the status",
    ("Model", "artifact.sizeBytes"): "for people, and copied from the evaluator's report",
    (
        "Model",
        "provenance.trainingRunRef.name",
    ): "who may claim a run is the API server's to decide: admission policies",
    ("Model", "approvals[].comment"): "for people and for the audit log",
    ("Model", "approvals[].time"): "for people and for the audit log",
    ("TrainingRun", "evaluation.gates[].baseline.alias"): "there is one alias so far",
}
"""Leaves that change no plan, and why they are right not to."""


@functools.cache
def told(number: int) -> tuple[Any, Any]:
    """A story as it stands: with and without the tasks of pods."""
    found = STORIES[number].tell(STORIES[number].spec)
    return plain(found, tasks=True), plain(found, tasks=False)


def tries(story: Story, path: fields.Path) -> Iterator[dict[str, Any]]:
    """The story's spec with another value in one of the places of the leaf, or without that item of a list."""
    node = dict(fields.leaves(story.kind))[path]
    for place in fields.places(story.spec, path):
        yield from (one for one in fields.changed(story.spec, place, node) if is_valid(story, one))
    if path[-1] == "[]":
        yield from without_an_item(story, path)


def without_an_item(story: Story, path: fields.Path) -> Iterator[dict[str, Any]]:
    import copy

    for place in fields.places(story.spec, path):
        other = copy.deepcopy(story.spec)
        *above, last = place
        found: Any = other
        for key in above:
            found = found[key]
        found.pop(last)
        if is_valid(story, other):
            yield other


def is_valid(story: Story, spec: dict[str, Any]) -> bool:
    shape: type[Shape] = story.kind.shape.model_fields["spec"].annotation  # type: ignore[assignment]
    try:
        shape.model_validate(spec)
    except ValidationError:
        return False
    return True


@functools.cache
def read_by_pods() -> frozenset[str]:
    """Names of attributes and constant texts in the code that runs in pods."""
    found: set[str] = set()
    for module in RUNTIME.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
                found.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return frozenset(found)


def what_happens(kind: kinds.Kind, path: fields.Path) -> str:
    """`acts`, `is passed on`, or why not."""
    passed_on = False
    stands = False
    for number, story in enumerate(STORIES):
        if story.kind is not kind:
            continue
        for spec in tries(story, path):
            stands = True
            found = story.tell(spec)
            if plain(found, tasks=False) != told(number)[1]:
                return "acts"
            passed_on = passed_on or plain(found, tasks=True) != told(number)[0]
    if passed_on:
        return "is passed on"
    return "changes nothing" if stands else "stands in no story"


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@pytest.mark.parametrize("kind, path", ALL, ids=[f"{kind.resource.kind}.{fields.text(path)}" for kind, path in ALL])
def test_something_acts_on_it(kind: kinds.Kind, path: fields.Path) -> None:
    found = what_happens(kind, path)
    if (kind.resource.kind, fields.text(path)) in ELSEWHERE and found != "acts":
        return
    if found == "is passed on":
        name = next(part for part in reversed(path) if part not in ("[]", "{}"))
        assert {name, snake(name)} & read_by_pods(), f"pods are told of {name}, and none reads it"
        return
    assert found == "acts"


def test_what_is_excused_exists_and_does_not_act() -> None:
    known = {(kind.resource.kind, fields.text(path)) for kind, path in ALL}
    assert set(ELSEWHERE) - known == set()


def test_texts_for_people_do_not_count_as_acting() -> None:
    shown = {"status": {"message": "0.95 sure", "threshold": "<= 0.01", "weight": 3}}
    assert plain(shown, tasks=True) == {"status": {"weight": 3}}
    pod = {"metadata": {"annotations": {ANNOTATION: "{}", "shown": "to people"}}}
    assert plain(pod, tasks=False) == {"metadata": {}}
    assert plain(pod, tasks=True) == {"metadata": {"task": "{}"}}
