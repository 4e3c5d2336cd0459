"""Every tier: what it runs, what it needs of the machine, and with which others it runs side by side.

Groups run one after another, in the order of the table. A group is lanes side by side, and a lane is tiers one after
another. Put a lane that waits beside one that computes, and let the one that computes give way (`nice`); never two
that each take both cores, or that start the same cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from millrace_machine import packages, places, wants

ROOT = places.CHECKOUT
TESTS = ROOT / "tests"
# Folders with tests that are not of the unit tier.
OWN_TIER = frozenset({"apiserver", "e2e", "images", "router"})
NEEDS_OF_PROGRAMS = frozenset({packages.PROGRAMS, packages.CONTROL_PLANE})
PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE = (*PLANE, "kube-scheduler", "kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "coredns")
# Where nothing may be built, nothing that was built before may be found either.
WITHOUT_PROGRAMS = {"MILLRACE_PROGRAMS": "none", "MILLRACE_CACHE": str(ROOT / "build" / "no-programs")}


@dataclass(frozen=True)
class Step:
    """One command; its first word is a program of the environment (`python`, `ruff`) or of the machine."""

    command: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Tier:
    """Steps that pass together. What the caller adds (`make unit PYTEST=...`) goes to the last step."""

    name: str
    steps: tuple[Step, ...]
    group: str
    lane: str = ""
    needs: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    """How far it gives way to what runs beside it, as `nice` counts."""


def pytest(*arguments: str) -> Step:
    """pytest, which writes its own report of what failed."""
    return Step(("python", "-m", "pytest", *arguments), "pytest")


def built(*programs: str) -> Step:
    """Programs that the next step would otherwise build inside a test, against the test's time limit."""
    return Step(("python", "tests/cluster", "binaries", "--quiet", *programs), "programs")


def unit_paths() -> tuple[str, ...]:
    """What the unit tier and the tests marked `programs` are looked for in: all but the folders of other tiers."""
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    return tuple(f"tests/{name}" for name in sorted(folders - OWN_TIER))


TIERS = (
    Tier("lint", (
        Step(("ruff", "check", "."), "ruff check"),
        Step(("ruff", "format", "--check", "."), "ruff format"),
        Step(("mypy",), "mypy"),
        Step(("lint-imports", "--no-logo"), "lint-imports"),
        Step(("python", "tests/packaging/generate.py", "--check", "--without-helm"), "generated files"),
    ), group="whole", lane="computes", nice=10),
    Tier("unit", (
        pytest("-n", "auto", "--dist", "loadscope", "--durations=10", "-m", "not programs", *unit_paths()),
    ), group="whole", lane="computes", needs=frozenset({packages.CHECKOUT}), environment=WITHOUT_PROGRAMS, nice=10),
    Tier("apiserver", (
        built(*PLANE, "helm"),
        pytest("--durations=10", "tests/apiserver"),
    ), group="whole", lane="computes", needs=NEEDS_OF_PROGRAMS),
    Tier("router", (
        pytest("tests/router"),
    ), group="whole", lane="computes"),
    Tier("programs", (
        built(*NODE, "helm", "versitygw"),
        pytest("-n", "auto", "--dist", "loadscope", "-m", "programs", *unit_paths()),
    ), group="whole", lane="waits", needs=NEEDS_OF_PROGRAMS | {packages.NODE}),
    Tier("e2e", (
        built("helm", "kubectl", "versitygw"),
        Step(("python", "tests/cluster", "up"), "cluster"),
        Step(("python", "tests/images", "load"), "images"),
        pytest("--durations=10", "tests/images", "tests/e2e"),
    ), group="whole", lane="waits", needs=frozenset(
        {packages.PROGRAMS, packages.PROMETHEUS, packages.CHECKOUT, wants.CLUSTER, wants.IMAGES})),
    Tier("conformance-check", (
        Step(("python", "tests/conformance", "--check")),
    ), group="conformance", needs=frozenset({wants.PEERS})),
    Tier("harness", (
        Step(("python", "tests/harness")),
    ), group="harness"),
    Tier("harness-apiserver", (
        built(*PLANE),
        Step(("python", "tests/harness/real")),
    ), group="harness-apiserver", needs=NEEDS_OF_PROGRAMS),
    Tier("fuzz-crs", (
        built(*PLANE),
        Step(("python", "tests/fuzz")),
    ), group="fuzz-crs", needs=NEEDS_OF_PROGRAMS),
)  # fmt: skip
SETS = {
    "check": ("lint", "unit"),
    "test": ("lint", "unit", "apiserver", "router", "programs", "e2e"),
    "test-long": ("conformance-check", "harness", "harness-apiserver", "fuzz-crs"),
}


def named(name: str) -> tuple[Tier, ...]:
    """The tiers of a set, or the one of that name. Raises KeyError."""
    by_name = {tier.name: tier for tier in TIERS}
    return tuple(by_name[one] for one in SETS.get(name, (name,)))


def groups(tiers: Iterable[Tier]) -> list[tuple[tuple[Tier, ...], ...]]:
    """Groups in order, each as its lanes.

    Raises:
        ValueError: the tiers of a group do not stand together.
    """
    found = [(name, tuple(members)) for name, members in groupby(tiers, key=lambda tier: tier.group)]
    if len({name for name, _ in found}) < len(found):
        raise ValueError(f"the tiers of a group stand together: {', '.join(name for name, _ in found)}")
    return [_lanes(members) for _, members in found]


def _lanes(members: Iterable[Tier]) -> tuple[tuple[Tier, ...], ...]:
    lanes: dict[str, tuple[Tier, ...]] = {}
    for tier in members:
        lane = tier.lane or tier.name
        lanes[lane] = (*lanes.get(lane, ()), tier)
    return tuple(lanes.values())
