"""What a run consists of: enough of everything, the same for the same seed, and judged before it is asked."""

from __future__ import annotations

from collections import Counter

import pytest

from millrace_fuzz import mutations, oracle, run, schema, values
from millrace_fuzz.run import Work

FEWEST = 2000


@pytest.fixture(scope="module")
def work() -> Work:
    return run.plan(0)


@pytest.fixture(scope="module")
def everyone(work: Work) -> list[mutations.Mutation]:
    return [*work.asked, *(one for chain in work.chains for one in chain)]


def test_a_run_has_two_thousand_mutations_each_with_an_id_of_its_own(everyone: list[mutations.Mutation]) -> None:
    assert len(everyone) >= FEWEST
    assert len({one.id for one in everyone}) == len(everyone)


def leaves(kind: str) -> list[str]:
    return [path for path, node in schema.fields(schema.spec(kind)) if schema.is_leaf(node)]


def placed(one: mutations.Mutation) -> str:
    """Keys of maps are not fields."""
    for path, _ in schema.fields(schema.spec(one.kind)):
        if path.endswith(".*") and one.place.startswith(path[:-1]):
            return path
    return one.place


@pytest.mark.parametrize("kind", schema.KINDS)
def test_every_leaf_has_three_invalid_values(kind: str, everyone: list[mutations.Mutation]) -> None:
    count = Counter(placed(one) for one in everyone if one.kind == kind and one.expected == "refused")
    assert [path for path in leaves(kind) if count[path] < 3] == []


@pytest.mark.parametrize("kind", schema.KINDS)
def test_every_leaf_has_three_valid_values_or_all_there_are(kind: str, everyone: list[mutations.Mutation]) -> None:
    count = Counter(placed(one) for one in everyone if one.kind == kind and one.is_valid and one.fault != "left out")
    nodes = dict(schema.fields(schema.spec(kind)))

    def possible(path: str) -> int:
        node = nodes[path]
        if node["type"] == "boolean":
            return 1
        return min(3, len(node["enum"]) - 1) if "enum" in node else 3

    assert [(path, count[path]) for path in leaves(kind) if count[path] < possible(path)] == []


def test_what_must_be_accepted_is_valid_by_the_schema(everyone: list[mutations.Mutation]) -> None:
    assert [one.id for one in everyone if one.is_valid and oracle.findings(one.kind, one.spec)] == []


def test_what_must_be_refused_is_invalid_by_the_schema(everyone: list[mutations.Mutation]) -> None:
    """Nonsense is found by meaning; the schema knows it too, or has a gap."""
    unknown = [
        one.id
        for one in everyone
        if one.expected == "refused"
        and one.fault not in ("name", "policy")
        and not oracle.findings(one.kind, one.spec, one.old)
    ]
    assert unknown == []


def test_a_refusal_must_name_a_place(everyone: list[mutations.Mutation]) -> None:
    assert [one.id for one in everyone if one.expected == "refused" and not one.paths] == []


def test_chains_are_of_five_changes_or_more_on_average_and_of_one_seed(work: Work) -> None:
    assert all(len({(one.kind, one.seed) for one in chain}) == 1 for chain in work.chains)
    assert sum(map(len, work.chains)) / len(work.chains) >= 5


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    text = {"type": "string", "maxLength": 20, "minLength": 1}
    first, again, other = (values.draw(values.strategy(text), 5, number) for number in (1, 1, 2))
    assert first == again
    assert first != other


def test_one_mutation_is_found_by_its_id_and_a_step_brings_its_walk(work: Work) -> None:
    walk = next(chain for chain in work.chains if chain[0].fault == "walk")
    assert run.only(work, lambda name: name == walk[2].id).chains == [walk]
    asked = work.asked[17]
    assert run.only(work, lambda name: name == asked.id) == Work([asked], [])
