"""Every extra states what its code imports, and nothing that it does not."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "serving-image" / "millrace_runtime"
OURS = {"millrace", "millrace_runtime"}
# Distribution -> module, where they differ.
MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn", "prometheus-client": "prometheus_client"}
# Chosen by a string: fsspec's URI scheme, uvicorn's loop and parser.
BY_NAME = {"s3fs", "uvloop", "httptools"}
# Part of the interface of something that is stated: onnx, aiohttp, pydantic.
PART_OF_ANOTHER = {"google", "yarl", "annotated_types"}
SOURCES = {
    "operator": [ROOT / "operator" / "millrace"],
    "server": [RUNTIME / "serving", RUNTIME / "store.py"],
    "trainer": [RUNTIME / "training", RUNTIME / "snapshot", RUNTIME / "store.py"],
}


def imported(source: Path) -> set[str]:
    """Top-level names of third-party modules imported anywhere under a folder, or in one file."""
    found: set[str] = set()
    for path in [source] if source.is_file() else source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - OURS - sys.stdlib_module_names


def stated(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [Requirement(line).name for line in project["optional-dependencies"][extra]]
    return {MODULES.get(name, name) for name in names}


@pytest.mark.parametrize("extra", SOURCES)
def test_what_is_imported_is_stated(extra: str):
    assert set().union(*map(imported, SOURCES[extra])) - PART_OF_ANOTHER <= stated(extra)


@pytest.mark.parametrize("extra", SOURCES)
def test_what_is_stated_is_imported(extra: str):
    assert stated(extra) - BY_NAME <= set().union(*map(imported, SOURCES[extra]))
