"""What `pip install millrace` would bring."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"millrace", "millrace_runtime"}


def test_the_wheel_says_it_is_typed_and_carries_the_licence(wheel: zipfile.ZipFile):
    names = wheel.namelist()
    assert "millrace/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_base_install_needs_nothing(wheel: zipfile.ZipFile):
    metadata = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    needed = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    assert [line for line in needed if "extra ==" not in line] == []


def test_every_module_is_imported_by_what_can_be_started(wheel: zipfile.ZipFile):
    """A module that only tests import belongs under tests/."""
    sources = {_module(name): wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".py")}
    entries = wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    scripts = {line.partition("=")[2].partition(":")[0].strip() for line in entries.splitlines() if "=" in line}
    reached: set[str] = set()
    waiting = [*scripts, *(name for name in sources if name.endswith(".__main__"))]
    while waiting:
        name = waiting.pop()
        if name in sources and name not in reached:
            reached.add(name)
            waiting += [name.rpartition(".")[0], *_imported(name, sources)]
    assert sorted(sources.keys() - reached) == []


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(name: str, sources: dict[str, str]) -> Iterator[str]:
    """What a module imports, wherever it does; of a package's names, those that are modules of ours."""
    is_package = any(other.startswith(f"{name}.") for other in sources)
    for node in ast.walk(ast.parse(sources[name])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = node.level - is_package if node.level else 0
            base = name.rsplit(".", above)[0] if above else name
            origin = ".".join(part for part in (base if node.level else "", node.module) if part)
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))
