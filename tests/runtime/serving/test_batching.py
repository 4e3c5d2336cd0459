"""Requests that arrive together are one run of the model; none waits, and none pays for another."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contract.golden import GoldenSet
from millrace_runtime.serving import tensors, verification
from millrace_runtime.serving.batching import Batcher, Late, Pace
from millrace_runtime.serving.session import ModelFailed
from millrace_runtime.serving.statistics import Statistics

SPEC = tensors.TensorSpec("x", "FP32", (-1, 2))
OUT = tensors.TensorSpec("y", "FP32", (-1,))


class Doubling:
    """A model that doubles the first column, and fails on rows below zero."""

    def __init__(self):
        self.signature = tensors.Signature((SPEC,), (OUT,))
        self.batches = []
        self.threads = set()

    def run(self, feeds):
        self.batches.append(len(feeds["x"]))
        self.threads.add(threading.get_ident())
        if (feeds["x"] < 0).any():
            raise ModelFailed("below zero")
        return [feeds["x"][:, 0] * 2]


def rows(*values):
    return {"x": np.array([[value, 0] for value in values], np.float32)}


async def answers(model, requests, told=lambda *_: None, joins=True):
    """What each of the requests, submitted in one turn, is told."""
    batcher = Batcher(model, Statistics(), told, joins=joins)
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in requests]
    for feeds, future in zip(requests, futures, strict=True):
        batcher.submit(feeds, len(feeds["x"]), future.set_result)
    return await asyncio.wait_for(asyncio.gather(*futures), 5)


@given(values=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=5), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_everyone_gets_the_rows_asked_for_whatever_else_is_in_the_run(values):
    model = Doubling()
    found = asyncio.run(answers(model, [rows(*some) for some in values]))
    assert [one[0].tolist() for one in found] == [[2.0 * value for value in some] for some in values]
    assert model.batches == [sum(map(len, values))]


async def test_a_run_has_no_more_rows_than_it_may_and_a_large_request_runs_alone():
    model = Doubling()
    sizes = [200, 50, 10, 300, 1]
    await answers(model, [rows(*range(size)) for size in sizes])
    assert model.batches == [250, 10, 300, 1]


async def test_only_the_request_that_the_model_fails_on_fails():
    model = Doubling()
    first, bad, last = await answers(model, [rows(1), rows(-1), rows(3)])
    assert (first[0].tolist(), last[0].tolist()) == ([2.0], [6.0])
    assert isinstance(bad, ModelFailed)
    assert model.batches == [3, 1, 1, 1]


async def test_a_model_whose_rows_do_not_join_is_run_once_for_each_request():
    model = Doubling()
    await answers(model, [rows(1), rows(2)], joins=False)
    assert model.batches == [1, 1]


@pytest.mark.parametrize(
    ("answer", "joins"),
    [
        (lambda x: x[:, 0] * 2, True),
        (lambda x: x[:, 0] - x[:, 0].mean(), False),
        (lambda x: x[:, 0].sum(keepdims=True), False),
    ],
    ids=["rows by themselves", "rows against their mean", "one answer for all rows"],
)
def test_the_golden_set_shows_whether_rows_may_share_a_run(answer, joins):
    model = Doubling()
    model.run = lambda feeds: [answer(feeds["x"])]
    feeds = rows(1, 2, 4)["x"]
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3, 2], "data": feeds.tolist()}]}
    told = [tensors.encode(OUT, found) for found in model.run({"x": feeds})]
    told[0]["data"] = told[0]["data"].tolist()
    assert verification.reproduce(model, GoldenSet(request, {"outputs": told})) == (3, joins)


def test_a_tensor_without_free_rows_joins_nothing():
    fixed = tensors.TensorSpec("y", "FP32", (1,))
    assert tensors.Signature((SPEC,), (OUT,)).has_free_rows
    assert not tensors.Signature((SPEC,), (fixed,)).has_free_rows


async def test_counters_hear_of_each_run_once():
    heard = []

    def told(feeds, results, count):
        heard.append((len(feeds["x"]), count))

    await answers(Doubling(), [rows(1), rows(2, 3)], told)
    assert heard == [(3, 3)]


async def test_requests_of_another_width_are_another_run():
    model = Doubling()
    wide = {"x": np.ones((2, 3), np.float32)}
    await answers(model, [rows(1), rows(2), wide, rows(3)])
    assert model.batches == [2, 2, 1]


async def test_who_waits_no_more_when_the_model_is_free_is_told_so_and_not_run(monkeypatch):
    model = Doubling()
    batcher = Batcher(model, Statistics(), lambda *_: None, joins=True)
    monkeypatch.setattr(batcher._pace, "expected", lambda _: 1.0)
    release = threading.Event()
    run = model.run
    model.run = lambda feeds: release.wait(5) and run(feeds)
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(4)]
    for number, timeout in enumerate((0, 10_000, 60_000_000, 0)):
        batcher.submit(rows(number), 1, futures[number].set_result, timeout)
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    release.set()
    first, late, third, fourth = await asyncio.wait_for(asyncio.gather(*futures), 5)
    assert [one[0].tolist() for one in (first, third, fourth)] == [[0.0], [4.0], [6.0]]
    assert isinstance(late, Late)
    assert model.batches == [1, 2]


async def test_a_run_that_cannot_be_counted_is_answered_and_so_is_the_next():
    def told(*_):
        raise FloatingPointError("nan")

    first, second = await answers(Doubling(), [rows(1), rows(*range(256))], told)
    assert first[0].tolist() == [2.0]
    assert len(second[0]) == 256


async def test_a_run_that_takes_long_leaves_the_loop_and_the_next_ones_are_run_together(monkeypatch):
    model = Doubling()
    batcher = Batcher(model, Statistics(), lambda *_: None, joins=True)
    monkeypatch.setattr(batcher._pace, "expected", lambda _: 1.0)
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(5)]
    for number, future in enumerate(futures):
        batcher.submit(rows(number), 1, future.set_result)
        if number == 0:
            await asyncio.sleep(0)
    found = await asyncio.wait_for(asyncio.gather(*futures), 5)
    assert [one[0].tolist() for one in found] == [[0.0], [2.0], [4.0], [6.0], [8.0]]
    assert model.batches == [1, 4]
    assert threading.get_ident() not in model.threads


def test_pace_knows_sizes_it_has_seen_and_scales_to_larger_ones():
    pace = Pace()
    assert pace.expected(100) == 0
    pace.took(1, 0.001)
    assert pace.expected(1) == pytest.approx(0.001)
    assert pace.expected(4) == pytest.approx(0.004)
    pace.took(5, 0.002)
    assert pace.expected(7) == pytest.approx(0.002)
    assert pace.expected(3) == pytest.approx(0.002)
    for _ in range(100):
        pace.took(1, 0.002)
    assert pace.expected(1) == pytest.approx(0.002, rel=0.01)
