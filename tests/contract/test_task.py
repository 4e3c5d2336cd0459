"""A task comes out of the annotation as it went in, and everything else is named."""

from __future__ import annotations

import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contract import task
from millrace.contract.record import MalformedRecord


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from([1, 1000]))
def test_a_task_comes_out_as_it_went_in(text: str, times: int) -> None:
    told = json.dumps({"told": text * times}, ensure_ascii=False)
    assert task.unpack(task.pack(told)) == told


def test_a_small_task_can_be_read_by_people_and_a_large_one_fits_into_an_annotation() -> None:
    small, large = json.dumps({"a": 1}), json.dumps({"a": [f"value-{number}" for number in range(100_000)]})
    assert task.pack(small) == small
    assert len(large) > 1024 * 1024
    assert len(task.pack(large)) < 256 * 1024
    assert task.pack(large) == task.pack(large)


def test_letters_without_any_pattern_fit_up_to_three_hundred_kilobytes() -> None:
    chance = random.Random(1)
    values = ["".join(chance.choices(string.ascii_letters + string.digits, k=12)) for _ in range(20_000)]
    packed = task.pack(json.dumps(values, separators=(",", ":")))
    assert len(packed) < 256 * 1024
    assert json.loads(task.unpack(packed)) == values


@pytest.mark.parametrize("text", ["xz:", "xz:AAAA", 'xz:not base 85 "', task.pack("{" + "x" * 99_999)[:-8]])
def test_what_cannot_be_unpacked_is_named(text: str) -> None:
    with pytest.raises(MalformedRecord, match=r"^task\.json: "):
        task.unpack(text)
