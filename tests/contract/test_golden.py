"""How far an answer may be from the golden one: on the scale of the model's answers."""

from __future__ import annotations

import math

import pytest

from millrace.contract.golden import GoldenSet

TINY = GoldenSet(request={}, response={}, spreads={"prediction": 1e-6})


@pytest.mark.parametrize(
    "golden,datatype,want,bound",
    [
        (TINY, "FP32", 0.0, 1e-10),
        (TINY, "FP32", 2e-6, 1e-10),
        (TINY, "FP64", 1.0, 1e-10),
        (TINY, "FP32", 1.0, 16 * 2**-23),
        (TINY, "INT64", 1.0, 1e-10),
        (GoldenSet(request={}, response={}, spreads={"prediction": 1e6}), "FP32", 0.0, 100.0),
        (GoldenSet(request={}, response={}), "FP32", 0.001, 1e-4),
        (GoldenSet(request={}, response={}), "FP32", -300.0, 0.03),
        (GoldenSet(request={}, response={}, spreads={"other": 1.0}), "FP32", 2.0, 2e-4),
    ],
)
def test_the_bound_scales_with_the_spread_and_is_never_finer_than_the_type(golden, datatype, want, bound):
    assert golden.bound("prediction", datatype, want) == pytest.approx(bound)


@pytest.mark.parametrize("want", [math.nan, math.inf])
def test_what_is_not_finite_has_a_bound_all_the_same(want):
    assert math.isfinite(TINY.bound("prediction", "FP32", want))


def test_a_golden_set_written_before_spreads_were_is_read():
    assert GoldenSet.from_dict({"request": {}, "response": {}, "tolerance": 1e-4}).spreads == {}
