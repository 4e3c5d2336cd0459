"""The second opinion: what it calls wrong, and that it knows every rule and every field of the CRDs."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from millrace_fuzz import oracle, rules, schema, seeds, violations

SEEDS = [(kind, seed) for kind, specs in seeds.SPECS.items() for seed in specs]
ELSEWHERE = {*rules.TRANSITIONS, "time must be a time such as 2026-11-20T09:00:00Z"}
"""Rules about steps, and one that only what has the wrong type can break."""
MESSAGES = {
    (kind, rule["message"])
    for kind in schema.KINDS
    for _, node in schema.fields(schema.spec(kind))
    for rule in node.get(schema.RULES, ())
}


@pytest.mark.parametrize(("kind", "seed"), SEEDS)
def test_every_seed_is_valid(kind: str, seed: str) -> None:
    assert oracle.findings(kind, seeds.SPECS[kind][seed]) == []


@pytest.mark.parametrize("kind", schema.KINDS)
def test_the_seeds_together_use_every_field(kind: str) -> None:
    used: set[str] = set()
    for spec in seeds.SPECS[kind].values():
        for place, _, _ in schema.walk(schema.spec(kind), spec):
            where = schema.generic(("spec", *place))
            used |= {where} | {path for path, _ in schema.fields(schema.spec(kind)) if _is_in_map(where, path)}
    assert {path for path, _ in schema.fields(schema.spec(kind))} - used == set()


def _is_in_map(where: str, path: str) -> bool:
    return path.endswith(".*") and where.startswith(path[:-1])


def test_every_rule_of_the_crds_has_a_second_opinion() -> None:
    known = {*rules.STATES, *rules.TRANSITIONS}
    assert {message for _, message in MESSAGES} == known


def test_every_rule_of_the_crds_is_broken_in_two_ways() -> None:
    broken = Counter((one.kind, one.rule) for one in violations.known())
    few = {(kind, rule) for kind, rule in MESSAGES if rule not in ELSEWHERE and broken[kind, rule] < 2}
    assert few == set()


@pytest.mark.parametrize("one", [*violations.known()], ids=lambda one: f"{one.kind}-{one.rule[:40]}")
def test_a_violation_breaks_its_rule(one: violations.Violation) -> None:
    assert one.rule in {why for _, why in oracle.findings(one.kind, one.spec())}


@pytest.mark.parametrize(
    ("place", "value", "finding"),
    [
        (("format",), "Avro", ("spec.format", "not in the enum")),
        (("format",), 7, ("spec.format", "wrong type")),
        (("split", "seed"), True, ("spec.split.seed", "wrong type")),
        (("split", "seed"), -1, ("spec.split.seed", "too small")),
        (("split", "seed"), 2**32, ("spec.split.seed", "too large")),
        (("split", "surplus"), 1, ("spec.split.surplus", "unknown field")),
        (("refresh", "interval"), "5m\n", ("spec.refresh.interval", "pattern")),
        (("refresh", "interval"), "5" * 32 + "m", ("spec.refresh.interval", "too long")),
        (
            ("refresh", "interval"),
            "0s",
            ("spec.refresh.interval", "interval must be at least 5s: each look at the source is a Job"),
        ),
        (("schema", "fields"), [], ("spec.schema.fields", "too few")),
        (("schema", "fields", 0, "name"), "plan", ("spec.schema.fields[1]", "twice")),
    ],
)
def test_what_is_wrong_is_found_where_it_is(place: schema.Place, value: Any, finding: oracle.Finding) -> None:
    spec = schema.with_value(seeds.SPECS["Dataset"]["full"], place, value)
    assert oracle.findings("Dataset", spec)[0] == finding


def test_what_is_missing_is_found_unless_it_has_a_default() -> None:
    spec = copy.deepcopy(seeds.SPECS["Dataset"]["full"])
    del spec["source"]["storageUri"], spec["split"]["seed"]
    assert oracle.findings("Dataset", spec) == [("spec.source.storageUri", "missing")]


def test_a_step_is_judged_by_what_was_before() -> None:
    old = seeds.SPECS["Model"]["full"]
    revoked = {**old, "approvals": [*old["approvals"], seeds.approval("Revoke", "bob")]}
    assert oracle.findings("Model", revoked, old) == []
    assert oracle.findings("Model", old, revoked)[0][0] == "spec.approvals"
    assert oracle.findings("Model", {**old, "version": "8"}, old)[0] == (
        "spec.version",
        "version is immutable: create a new version",
    )
