"""The table of cases names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEADER = "| number | input | before | now | test |"
ROWS = [line for line in (HERE / "CASES.md").read_text(encoding="utf-8").splitlines() if re.match(r"\| \d", line)]
FILES = list(HERE.parent.rglob("test_*.py"))
DEFINED = {path.name for path in FILES} | {
    name
    for path in FILES
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_there_are_cases_below_one_header():
    text = (HERE / "CASES.md").read_text(encoding="utf-8")
    assert text.count(HEADER) == 1
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(re.findall(r"[\w.]+", row)[:8]))
def test_a_case_names_tests_that_are_there(row):
    cells = re.split(r"(?<!\\) \| ", row.strip("| "))
    assert len(cells) == 5
    named = set(re.findall(r"\btest_\w+(?:\.py)?", cells[4]))
    assert named
    assert not named - DEFINED
