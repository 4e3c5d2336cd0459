"""A whole run: everything asked, everything accepted lived through, everything looked at once more at the end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from millrace_harness import plane

from . import lanes, mutations, rest, seeds
from .ground import OWN, Ground, prepared
from .lanes import Lane, Outcome
from .mutations import Mutation

ASKING = 12
"""Dry runs at a time."""
CHAIN = 6
WALKS, STEPS = 3, 6
LANES: dict[tuple[str, str], int] = {
    ("Dataset", "full"): 6, ("Dataset", "small"): 3, ("TrainingRun", "full"): 6, ("TrainingRun", "small"): 3,
    ("Model", "full"): 4, ("Model", "small"): 2, ("Deployment", "full"): 8, ("Deployment", "small"): 3,
}  # fmt: skip
SLOW = "spec.server"
"""Changes of it make pods, whose predecessors drain for half a minute: they share chains."""

Chain = list[Mutation]
Told = Callable[[Outcome], None]


@dataclass
class Work:
    """What a run does: mutations that are only asked for, and chains that are lived through."""

    asked: list[Mutation] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.asked) + sum(map(len, self.chains))


def plan(number: int) -> Work:
    """The work of a seed number."""
    found = mutations.everything(number)
    work = Work(asked=[one for one in found if not _is_lived(one)])
    work.chains = chained(filter(_is_lived, found))
    work.chains += [chain for chain in mutations.walks(found, number, WALKS, STEPS) if len(chain) > 1]
    return work


def _is_lived(one: Mutation) -> bool:
    if not one.is_valid or mutations.is_crowded(one.kind, one.spec):
        return False
    return mutations.comes_back(one.kind, one.seed, one.spec)


def chained(found: Iterable[Mutation]) -> list[Chain]:
    """Mutations of one seed in chains, neighbours apart."""
    groups: defaultdict[tuple[str, str, bool], Chain] = defaultdict(list)
    for one in found:
        groups[one.kind, one.seed, one.place.startswith(SLOW)].append(one)
    chains = []
    for group in groups.values():
        count = max(1, round(len(group) / CHAIN))
        chains += [group[first::count] for first in range(count)]
    return sorted(chains, key=lambda chain: not chain[0].place.startswith(SLOW))


def only(work: Work, wanted: Callable[[str], bool]) -> Work:
    """The work whose ids are wanted; a step of a walk brings the whole walk."""
    chains = []
    for chain in work.chains:
        kept = [one for one in chain if wanted(one.id)]
        if kept:
            chains.append(chain if chain[0].fault == "walk" else kept)
    return Work([one for one in work.asked if wanted(one.id)], chains)


async def run(made: plane.Plane, work: Work, told: Told) -> list[str]:
    """Tell every outcome; return what is wrong with the run as a whole."""
    async with prepared(made) as ground:
        leaked = await _ask_all(ground, work.asked, told)
        await _live_all(ground, [*work.chains, *chained(leaked)], told)
        return await _look_again(ground)


async def _ask_all(ground: Ground, asked: list[Mutation], told: Told) -> list[Mutation]:
    """Dry runs. Returns what must be refused and was accepted: what becomes of that is worth knowing."""
    await _anchor(ground)
    gate, leaked = asyncio.Semaphore(ASKING), []

    async def one_of(one: Mutation) -> None:
        async with gate:
            outcome = await lanes.ask(ground, one)
        told(outcome)
        if outcome.answer == "accepted" and one.old is None and (one.expected == "refused" or one.fault == "odd"):
            leaked.append(one)

    async with asyncio.TaskGroup() as group:
        for one in asked:
            group.create_task(one_of(one))
    return [one for one in leaked if one.expected == "refused"]


async def _anchor(ground: Ground) -> None:
    for kind in ("TrainingRun", "Model"):
        for seed, spec in seeds.SPECS[kind].items():
            await ground.anchor(kind, lanes.anchor(kind, seed), spec)


async def _live_all(ground: Ground, chains: list[Chain], told: Told) -> None:
    queues: defaultdict[tuple[str, str], list[Chain]] = defaultdict(list)
    for chain in chains:
        queues[chain[0].kind, chain[0].seed].append(chain)

    async def work(key: tuple[str, str], number: int) -> None:
        lane = Lane(ground, *key, number)
        while queues[key]:
            await lane.tell(queues[key].pop(0), told)
        await lane.end()

    async with asyncio.TaskGroup() as group:
        for key, queue in queues.items():
            for number in range(min(LANES[key], len(queue))):
                group.create_task(work(key, number))


async def _look_again(ground: Ground) -> list[str]:
    """What is left must still be at rest, and no pod may be one that no node could start."""
    wrong = [f"no node could start the pod {name}: a variable is too long" for name in ground.node.unstartable]
    for kind, resource in OWN.items():
        for found in ground.operator.world.store.list(resource):
            why = rest.trouble(found)
            if why:
                wrong.append(f"{kind} {found['metadata']['name']} did not stay at rest: {why}")
    return wrong
