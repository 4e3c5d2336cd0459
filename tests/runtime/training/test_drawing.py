"""The plots of the card: what is at the edge is inside, numbers at the sides are told apart, names are all there."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from millrace_runtime.training import drawing


def said(plot):
    return [each.get_text() for each in plot.figure.texts]


def painted(plot):
    """Colours of a plot's pixels, [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(plot.png().split(",", 1)[1]))).convert("RGB"))


RANGES = [
    (0.0, 1.0),
    (-5.0, 1e6),
    (1e9, 1e9 + 0.01),
    (2e6 - 3000, 2e6 + 3000),
    (1e-30, 3e-30),
    (-1e38, 1e38),
    (7.0, 7.0),
    (0.0, 0.0),
    (1e12, 1e12),
]


@pytest.mark.parametrize("low,high", RANGES)
def test_numbers_at_a_side_are_those_of_their_places_and_differ(low, high):
    reach = drawing._widened(low, high)
    found = drawing.ticks(*reach)
    assert 2 <= len(found) <= 7
    assert len({text for _, text in found}) == len(found)
    assert all(reach[0] <= place <= reach[1] for place, _ in found)
    assert [float(text) for _, text in found] == pytest.approx([place for place, _ in found], rel=1e-5)


@pytest.mark.parametrize("low,high", RANGES)
def test_whatever_the_numbers_the_ends_of_a_line_are_inside_the_frame(low, high):
    plot = drawing.Plot("across", "up", (low, high), (low, high))
    plot.line([low, high], [low, high], color="#ff0000", marker="o", markersize=4)
    pixels = painted(plot)
    rows, columns = np.nonzero((pixels[:, :, 0] > 200) & (pixels[:, :, 1] < 60))
    height, width = pixels.shape[:2]
    assert width * drawing._LEFT < columns.min() <= columns.max() < width * drawing._RIGHT
    assert height * (1 - drawing._TOP) < rows.min() <= rows.max() < height * (1 - drawing._BOTTOM)


def test_a_line_is_drawn_where_its_numbers_are():
    plot = drawing.Plot("across", "up", (0, 10), (0, 100))
    plot.line([5], [50], color="#ff0000", marker="o", markersize=6)
    rows, columns = np.nonzero(painted(plot)[:, :, 1] < 10)
    red = painted(plot)[:, :, 0] > 240
    at = red[rows, columns]
    height, width = red.shape
    assert columns[at].mean() / width == pytest.approx((drawing._LEFT + drawing._RIGHT) / 2, abs=0.01)
    assert 1 - rows[at].mean() / height == pytest.approx((drawing._BOTTOM + drawing._TOP) / 2, abs=0.01)


@pytest.mark.parametrize("top", [True, False])
def test_a_legend_names_every_line_in_its_colour_also_those_with_an_underscore(top):
    plot = drawing.Plot("false positive rate", "true positive rate")
    plot.legend([("_old", "C0"), ("ü 日本", "C1"), ("$", "C2")], top=top)
    assert said(plot)[-3:] == ["_old", "ü 日本", "$"]
    assert [each.get_color() for each in plot.figure.texts[-3:]] == ["C0", "C1", "C2"]
    heights = [each.get_position()[1] for each in plot.figure.texts[-3:]]
    assert drawing._BOTTOM < min(heights) < max(heights) < drawing._TOP
    assert heights == sorted(heights, reverse=True)


def test_a_plot_says_what_its_sides_count():
    assert {"false positive rate", "true positive rate"} <= set(
        said(drawing.Plot("false positive rate", "true positive rate"))
    )
