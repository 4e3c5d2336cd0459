"""The table of tiers: no test is lost between them, and nobody else says anything different about them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millrace_cluster import binaries
from millrace_machine import packages, wants
from millrace_tiers import process, table
from millrace_tiers.table import ROOT, TIERS, Step, Tier

BY_NAME = {tier.name: tier for tier in TIERS}


def arguments(tier: Tier) -> tuple[str, ...]:
    """Those of the tier's pytest; none where it runs none."""
    return next((step.command[3:] for step in tier.steps if "pytest" in step.command), ())


def test_every_test_file_is_in_the_paths_of_a_tier():
    covered = {ROOT / word for tier in TIERS for word in arguments(tier) if word.startswith("tests/")}
    files = list((ROOT / "tests").rglob("test_*.py"))
    assert [path for path in files if not {path, *path.parents} & covered] == []
    assert all(path.exists() for path in covered)


def test_unit_and_programs_share_the_tests_of_the_same_paths_between_them():
    unit, programs = arguments(BY_NAME["unit"]), arguments(BY_NAME["programs"])
    assert unit[unit.index("-m") + 1] == "not programs"
    assert programs[programs.index("-m") + 1] == "programs"
    assert unit[unit.index("-m") + 2 :] == programs[programs.index("-m") + 2 :]
    assert {tier.name for tier in TIERS if "-m" in arguments(tier)} == {"unit", "programs"}


def conftest() -> Any:
    spec = importlib.util.spec_from_file_location("every_tiers_conftest", ROOT / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "folder, own, given",
    [
        ("cluster_tool", "apiserver", ["programs"]),
        ("cluster_tool", "e2e", ["programs"]),
        ("cluster_tool", "programs", []),
        ("decide", "", []),
        ("apiserver", "", ["apiserver"]),
        ("e2e", "", ["e2e"]),
    ],
)
def test_a_test_that_uses_another_tiers_means_is_not_of_the_unit_tier(folder: str, own: str, given: list[str]):
    added: list[str] = []
    item = SimpleNamespace(
        path=ROOT / "tests" / folder / "test_x.py",
        get_closest_marker=lambda name: name if name == own else None,
        add_marker=added.append,
    )
    conftest().pytest_collection_modifyitems([item])
    assert added == given


def test_folders_with_a_marker_of_their_own_are_those_with_a_tier_of_their_own():
    assert conftest().TIERS == table.OWN_TIER


def test_a_quick_check_needs_neither_root_nor_programs_nor_a_cluster_and_can_build_nothing():
    quick = table.named("check")
    assert frozenset().union(*(tier.needs for tier in quick)) <= {packages.CHECKOUT}
    assert not [step for tier in quick for step in tier.steps if "binaries" in step.command]
    assert BY_NAME["unit"].environment["MILLRACE_PROGRAMS"] == "none"


def test_what_is_looked_for_before_a_set_begins_is_what_its_tiers_need():
    for name in table.SETS:
        needed = frozenset().union(*(tier.needs for tier in table.named(name)))
        assert wants.COMMANDS[name] == needed | {packages.PYTHON}, name


def test_every_need_is_somebodys_purpose():
    known = {purpose for package in packages.PACKAGES for purpose in package.wanted_for}
    assert frozenset().union(*(tier.needs for tier in TIERS)) <= known | {wants.CLUSTER, wants.IMAGES, wants.PEERS}


def test_what_a_tier_has_built_are_programs_of_this_repository():
    built = {name for tier in TIERS for step in tier.steps if "binaries" in step.command for name in step.command[4:]}
    assert {binaries.project_of(name).name for name in built} == {
        project.name for project in binaries.PROJECTS if project.name != "kind"
    }


def test_the_tiers_of_a_group_stand_together():
    assert [tier for lanes in table.groups(TIERS) for lane in lanes for tier in lane] == list(TIERS)
    one, other = (Tier(name, (Step(("true",)),), group=name) for name in ("one", "other"))
    with pytest.raises(ValueError, match="the tiers of a group stand together: one, other, one"):
        table.groups([one, other, one])


def test_a_cluster_is_used_in_one_lane_of_a_group_at_most():
    for lanes in table.groups(TIERS):
        using = [any({wants.CLUSTER, packages.NODE} & tier.needs for tier in lane) for lane in lanes]
        assert sum(using) <= 1


def test_every_tier_is_of_one_run_or_the_other():
    assert sorted(table.SETS["test"] + table.SETS["test-long"]) == sorted(BY_NAME)


def test_make_knows_every_tier_and_says_what_it_is():
    makefile = (ROOT / "Makefile").read_text()
    (listed,) = re.findall(r"^TIERS := (.*)$", makefile, re.MULTILINE)
    assert listed.split() == list(BY_NAME)
    described = re.findall(r"^([a-z0-9-]+): +## ", makefile, re.MULTILINE)
    assert [name for name in described if name in BY_NAME] == list(BY_NAME)


def test_the_readme_has_a_row_for_every_tier_in_order():
    rows = re.findall(r"^\| [^|]+ \| `make ([a-z0-9-]+)` \|", (ROOT / "tests/README.md").read_text(), re.MULTILINE)
    assert rows[: len(TIERS)] == list(BY_NAME)


def test_a_program_of_the_environment_is_preferred_to_one_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "ruff").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert process.resolved(["ruff", "check"]) == [str(tmp_path / "ruff"), "check"]
    assert process.resolved(["no-such-program"]) == ["no-such-program"]
