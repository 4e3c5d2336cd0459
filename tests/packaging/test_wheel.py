"""What `pip install millrace` would bring."""

from __future__ import annotations

import subprocess
import sys
import zipfile
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
