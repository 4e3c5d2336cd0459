"""One definition of a bin: for the profile, for the server and for the drift decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract.profile import FeatureHistogram, OutputHistogram, Profile
from millrace.contract.record import MalformedRecord

NUMERIC = FeatureHistogram(name="age", input="numeric", kind="numeric", edges=(0.0, 1.5), counts=(1, 2, 3, 4))
WORDS = FeatureHistogram(name="hue", input="categorical", kind="categorical", labels=("a", "b"), counts=(1, 2, 3, 4))


@pytest.mark.parametrize(
    "value,index", [(-1, 0), (0, 1), (1.4, 1), (1.5, 2), (9e9, 2), (float("inf"), 2), (float("nan"), 3)]
)
def test_a_number_is_in_the_bin_that_counts_the_edges_at_or_below_it(value, index):
    assert NUMERIC.bin_of(value) == index


@pytest.mark.parametrize("value,index", [("a", 0), ("b", 1), ("c", 2), ("A", 2), ("", 3)])
def test_a_category_is_in_the_bin_of_its_label(value, index):
    assert WORDS.bin_of(value) == index


def test_an_integer_label_is_counted_by_its_text():
    label = OutputHistogram(name="label", kind="categorical", labels=("0", "1"), counts=(1, 2, 0, 0))
    assert [label.bin_of(value) for value in (0, 1, 2)] == [0, 1, 2]
    assert label.tensor == "label"


@given(
    edges=st.lists(st.floats(-1e6, 1e6), max_size=14, unique=True).map(sorted),
    values=st.lists(st.floats(width=32, allow_nan=False)),
)
def test_bins_agree_with_numpy(edges, values):
    histogram = FeatureHistogram(
        name="x", input="numeric", kind="numeric", edges=tuple(edges), counts=(0,) * (len(edges) + 2)
    )
    assert [histogram.bin_of(value) for value in values] == np.searchsorted(edges, values, side="right").tolist()


@pytest.mark.parametrize(
    "change,words",
    [
        ({"kind": "ordinal"}, "expected numeric or categorical"),
        ({"counts": [1, 2, 3]}, "expected 4 counts, got 3"),
        ({"edges": [1.0, 1.0]}, "expected increasing numbers"),
        ({"index": -1}, "index of 0 or more"),
        ({"edges": [float(n) for n in range(15)], "counts": [0] * 17}, "at most 16 bins"),
    ],
)
def test_a_histogram_that_cannot_be_counted_in_is_refused(change, words):
    with pytest.raises(MalformedRecord, match=words):
        FeatureHistogram.from_dict(NUMERIC.to_dict() | change)


def test_more_features_than_the_series_allow_are_refused():
    with pytest.raises(MalformedRecord, match="at most 2000, got 2001"):
        Profile.from_dict({"rows": 1, "features": [NUMERIC.to_dict()] * 2001})
