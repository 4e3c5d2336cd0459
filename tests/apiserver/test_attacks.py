"""Everything that `make attack` tries is refused, by what should refuse it, and what is permitted is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from millrace.clients.clock import SystemClock
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Store
from millrace.clients.world import World
from millrace.observe import policy
from millrace.settings import Settings
from millrace_attack.catalogue import ATTACKS
from millrace_attack.gaps import STORIES, Operator, Story
from millrace_attack.ground import HOME, OPERATOR, VALUES, Answer, Attack, Ground, charted, model
from millrace_attack.permitted import PERMITTED


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground(tmp_path_factory.mktemp("attack")) as made:
        yield made


@pytest.fixture(scope="module")
def operator(ground: Ground) -> Iterator[Operator]:
    with Operator(ground) as running:
        yield running


def test_there_are_many() -> None:
    assert len(ATTACKS) + len(STORIES) >= 100
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(("name", "act"), PERMITTED, ids=[name for name, _ in PERMITTED])
def test_what_is_permitted_is_not_refused(name: str, act: Callable[[Ground], Answer], ground: Ground) -> None:
    answer = act(ground)
    assert answer.ok, f"{answer.code} {answer.said}"


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_refused(attack: Attack, ground: Ground) -> None:
    assert attack.verdict(attack.act(ground)) == ""


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_a_gap_is_no_way_in(story: Story, ground: Ground, operator: Operator) -> None:
    assert story.tell(ground, operator)


async def test_an_operator_that_watches_all_namespaces_finds_out_too_whether_the_policies_hold(ground: Ground) -> None:
    """It asks in its own namespace, in which everybody else is refused by another policy."""
    settings = Settings(namespace=HOME, trainer_image="t", server_image="s", router_image="r", watch="*", policies=HOME)
    keys = Credentials(ground.plane.url, ca=ground.plane.ca.read_text(), fixed_token=ground.plane.token(OPERATOR))
    deadline = time.monotonic() + 60
    ground.apply(charted(("watchNamespaces={*}", "store.existingSecret=keys")))
    try:
        async with Kube(keys) as kube:
            world = World(Store(), kube, SystemClock(), settings)
            while (found := await policy.look(world)).in_force is not True:
                assert time.monotonic() < deadline, found
                await asyncio.sleep(0.2)
        for namespace in ("lab", "default"):
            forged = ground.create(model("forged", "bob", namespace=namespace), user="admin", dryRun="All")
            assert "spec.provenance.author must be your own user name" in forged.said
        assert "is the operator's own" in ground.create(model("home", "admin", namespace=HOME), user="admin").said
    finally:
        ground.apply(charted(VALUES))
