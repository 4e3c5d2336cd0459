"""The lock files answer pyproject.toml, agree with each other, and pin by hash. Offline: nothing is resolved."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILES = ("dev", "operator", "server", "trainer", "router")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; [^\\]+)?(?: \\)?$", re.MULTILINE)


def lock_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tests/packaging/lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(name: str) -> dict[str, set[str]]:
    """Package -> its pinned versions (one per range of interpreters)."""
    found: dict[str, set[str]] = {}
    for package, version in PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text()):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_stated_requirement_is_pinned_within_its_bounds(name: str):
    pinned = pins(name)
    for line in lock_module().direct(name):
        wanted = Requirement(line)
        versions = pinned.get(canonicalize_name(wanted.name), set())
        assert versions, f"{wanted.name} is not in requirements/{name}.txt: make lock"
        assert all(wanted.specifier.contains(version) for version in versions), f"{line} against {versions}: make lock"


@pytest.mark.parametrize("name", FILES)
def test_every_pin_has_a_hash_and_no_index_is_named(name: str):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []
    assert "index-url" not in text
    assert "find-links" not in text


@pytest.mark.parametrize("name", FILES[1:])
def test_an_image_gets_the_versions_that_are_tested(name: str):
    tested = pins("dev")
    untested = {package for package, versions in pins(name).items() if not versions <= tested.get(package, set())}
    assert untested == set()


def test_the_server_image_has_neither_scikit_learn_nor_pydantic():
    assert not {"scikit-learn", "pydantic", "kopf", "kubernetes"} & pins("server").keys()
