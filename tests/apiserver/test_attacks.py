"""Everything that `make attack` tries is refused, by what should refuse it, and what is permitted is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from millrace_attack.catalogue import ATTACKS
from millrace_attack.gaps import STORIES, Operator, Story
from millrace_attack.ground import Answer, Attack, Ground
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
