"""Trying mutations: asked without effect, or made, watched until they rest, and taken back.

A lane is one object that goes through chains: from its seed to every mutant of the chain and back. Kinds whose spec may
not change are deleted and created again under the same name.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pydantic

from millrace import api
from millrace.api.base import Resource

from . import rest, seeds
from .client import Answer
from .ground import NAMESPACE, Ground
from .mutations import UPDATED, Mutation
from .schema import Manifest

Fault = Literal[
    "", "accepted", "refused", "no path", "other refusal", "stuck", "not restored", "unreadable", "moved later"
]
SHAPES: dict[str, type[Resource[Any, Any]]] = {
    "Dataset": api.Dataset, "TrainingRun": api.TrainingRun, "Model": api.Model, "Deployment": api.Deployment,
}  # fmt: skip
NAMED_BY = {"TrainingRun": ("output", "modelName"), "Model": ("modelName",)}
"""Where a spec names the registered model: every lane has its own."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation; no fault: what must."""

    mutation: Mutation
    answer: Literal["refused", "accepted"]
    fault: Fault = ""
    message: str = ""


Told = Callable[[Outcome], None]


async def ask(ground: Ground, one: Mutation) -> Outcome:
    """A dry run: judged by the answer alone, and, if it was accepted, by whether the operator could read it."""
    if one.old is not None:
        answer = await ground.rewrite(one.kind, anchor(one.kind, one.seed), one.spec)
    else:
        manifest = seeds.manifest(one.kind, _name(one, "dry"), NAMESPACE, one.spec)
        answer = await ground.create(one.kind, manifest, dry_run=True, user=one.user)
    return _judge(one, answer)


def anchor(kind: str, seed: str) -> str:
    """The object that changes of what may not change are tried on."""
    spec = seeds.SPECS[kind][seed]
    return f"{spec['modelName']}-{spec['version']}" if kind == "Model" else f"anchor-{seed}"


def _name(one: Mutation, name: str) -> str:
    """A Model's name follows from its spec, where that can be."""
    if one.name or one.kind != "Model" or not isinstance(one.spec, dict):
        return one.name or name
    told = f"{one.spec.get('modelName')}-{one.spec.get('version')}"
    return told if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", told) else "unnamed-1"


def _judge(one: Mutation, answer: Answer) -> Outcome:
    if answer.ok:
        gap = unreadable(one.kind, answer.body)
        if gap:
            return Outcome(one, "accepted", "unreadable", gap)
        return Outcome(one, "accepted", "accepted" if one.expected == "refused" else "")
    if one.expected == "accepted":
        return Outcome(one, "refused", "refused", answer.message)
    if answer.code not in (400, 403, 422):
        return Outcome(one, "refused", "other refusal", f"{answer.code} {answer.message}")
    return Outcome(one, "refused", "" if names(answer.message, one.paths) else "no path", answer.message)


def unreadable(kind: str, found: Manifest) -> str:
    """What the operator's own types say against an object that the API server took."""
    try:
        SHAPES[kind].model_validate(found)
    except pydantic.ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
    return ""


def names(message: str, paths: tuple[str, ...]) -> bool:
    """Whether a refusal says where: one of the paths, or something in it."""
    return any(re.search(rf'(^|[\s"*\[(]\.?){re.escape(path)}([\s".:,\[\])]|$)', message) for path in paths)


class Lane:
    """One object of one seed."""

    def __init__(self, ground: Ground, kind: str, seed: str, number: int) -> None:
        self._ground = ground
        self._kind = kind
        self._name = f"{kind.lower()}-{seed}-{number}"
        self._seed = self._own(seeds.SPECS[kind][seed], seeds.SPECS[kind][seed])
        self._before: Manifest = {}

    async def tell(self, chain: list[Mutation], told: Told) -> None:
        """The chain and the way back. Every mutation gets one outcome; a bad way back is the last one's."""
        if not self._before:
            self._before, why = await self._start()
            if why:
                raise RuntimeError(f"the seed of {self._name} does not come to rest: {why}")
        outcomes = [await self._try(one) for one in chain]
        why = await self._home()
        if why:
            outcomes[-1] = Outcome(chain[-1], outcomes[-1].answer, "not restored", why)
            await self._ground.delete(self._kind, self._called(self._seed))
            self._before = {}
        for outcome in outcomes:
            told(outcome)

    async def end(self) -> None:
        """Take the object away."""
        await self._ground.delete(self._kind, self._called(self._seed))

    async def _start(self) -> tuple[Manifest, str]:
        await self._put(self._seed)
        found, why = await self._ground.settle(self._kind, self._called(self._seed), home=True)
        return (rest.canonical(found, self._ground.children(found)) if found else {}), why

    async def _try(self, one: Mutation) -> Outcome:
        spec = self._own(one.spec, seeds.SPECS[self._kind][one.seed])
        if self._kind in UPDATED:
            answer = await self._ground.change(self._kind, self._name, spec)
        else:
            await self._ground.delete(self._kind, self._called(self._seed))
            answer = await self._put(spec, one)
        if not answer.ok:
            return _judge(one, answer)
        gap = unreadable(one.kind, answer.body)
        _, why = await self._ground.settle(self._kind, self._called(spec))
        if self._kind not in UPDATED:
            await self._ground.delete(self._kind, self._called(spec))
        if gap or why:
            return Outcome(one, "accepted", "stuck" if why else "unreadable", why or gap)
        return Outcome(one, "accepted", "accepted" if one.expected == "refused" else "")

    async def _home(self) -> str:
        """Back to the seed: why that is not what it was, or nothing."""
        if self._kind in UPDATED:
            answer = await self._ground.change(self._kind, self._name, self._seed)
        else:
            answer = await self._put(self._seed)
        if not answer.ok:
            return f"the seed is refused now: {answer.message}"
        found, why = await self._ground.settle(self._kind, self._called(self._seed), home=True)
        if why:
            return why
        return "; ".join(rest.differences(rest.canonical(found, self._ground.children(found)), self._before)[:5])

    async def _put(self, spec: Manifest, one: Mutation | None = None) -> Answer:
        manifest = seeds.manifest(self._kind, self._called(spec), NAMESPACE, spec)
        return await self._ground.create(self._kind, manifest, user=one.user if one is not None else "")

    def _called(self, spec: Manifest) -> str:
        return f"{spec['modelName']}-{spec['version']}" if self._kind == "Model" else self._name

    def _own(self, spec: Manifest, seed: Manifest) -> Manifest:
        """The spec with the lane's own registered model, unless that name is what was mutated."""
        place = NAMED_BY.get(self._kind)
        if place is None:
            return spec
        changed = copy.deepcopy(spec)
        part, original = changed, seed
        for name in place[:-1]:
            part, original = part[name], original[name]
        if part[place[-1]] == original[place[-1]]:
            part[place[-1]] = self._name
        return changed
