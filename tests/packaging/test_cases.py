"""The tests that `tests/runtime/CASES.md` names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CASES = [line for line in (TESTS / "runtime/CASES.md").read_text().splitlines() if re.match(r"\| \d", line)]
NAMED = sorted({name for line in CASES for name in re.findall(r"`([^`]+)`", line.rsplit(" | ", 1)[1])})


def test_every_number_has_a_case_and_one_table_holds_them_in_order():
    text = (TESTS / "runtime/CASES.md").read_text()
    numbers = [int(line.split()[1]) for line in CASES]
    assert text.count("| number | input | before | now | test |") == 1
    assert sorted(set(numbers)) == list(range(1, 19))
    assert numbers == sorted(numbers)


def test_every_case_has_five_columns_and_a_test():
    for line in CASES:
        assert len(re.split(r"(?<!\\) \| ", line.strip("| "))) == 5, line
        assert ".py" in line.rsplit(" | ", 1)[1], line


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_a_case_names_is_there(name):
    path, _, test = name.partition("::")
    text = (TESTS / path).read_text()
    function, _, parameters = test.partition("[")
    assert not function or f"def {function}(" in text
    assert parameters.rstrip("]") in text
