"""The table in README.md names tests that there are, and leaves no number out."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE / "README.md").read_text()
ROW = re.compile(r"^\| ([0-9, ]+) \| `(\S+?)::(\w+)` \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall(TEXT)


@functools.cache
def names_in(module: Path) -> frozenset[str]:
    """Names of the tests in a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, functions))


def test_every_row_is_understood() -> None:
    assert len(ROWS) == len(re.findall(r"^\| [0-9]", TEXT, re.MULTILINE))


@pytest.mark.parametrize(("path", "name"), [(path, name) for _, path, name, _ in ROWS])
def test_a_test_that_the_table_names_exists(path: str, name: str) -> None:
    assert name in names_in(HERE / path)


def test_every_number_is_held_by_a_test() -> None:
    held = {int(number) for numbers, *_ in ROWS for number in numbers.split(",")}
    assert held == {int(number) for number in re.findall(r"^([0-9]+)\. ", TEXT, re.MULTILINE)}
