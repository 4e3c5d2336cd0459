"""Drawings of the model card, made of matplotlib's lines, boxes and texts.

Not of its axes: what they do to choose, place and draw their ticks takes ten times as long as all the rest.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, BboxTransformFrom, BboxTransformTo

BLUE, GREY = "#2b6cb0", "#a0aec0"
DPI = 72
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.16, 0.97, 0.15, 0.92
"""Margins that hold any label: finding out what a label needs is drawing everything twice."""
_MARGIN = 0.04
_MOST_DIGITS = 17
_SAME = 1e-13
"""Numbers that differ by less, as a share of their size, are drawn as one."""
_LINE = 0.058
"""Of the figure's height: a line of the legend."""

Range = tuple[float, float]
Corners = list[Range]
"""Of a box, which `box` gives."""


class Drawing:
    """A figure, and what is put on it in coordinates of `across` and `down`, which fill it."""

    def __init__(self, inches: Range, across: Range, down: Range, *, inside: Any = None) -> None:
        self.figure = Figure(figsize=inches, dpi=DPI)
        data = Bbox([[across[0], down[0]], [across[1], down[1]]])
        place = inside if inside is not None else Bbox.unit()
        self.to = BboxTransformFrom(data) + BboxTransformTo(place) + self.figure.transFigure

    def boxes(self, held: Sequence[Corners], **how: Any) -> None:
        """Boxes, filled or framed as matplotlib's PolyCollection is told."""
        self._add(PolyCollection(held, transform=self.to, **how))

    def line(self, x: Any, y: Any, **how: Any) -> None:
        """One line, or as many markers, as matplotlib's Line2D is told."""
        self._add(Line2D(x, y, transform=self.to, **how))

    def text(self, x: float, y: float, said: str, **how: Any) -> None:
        """One line of text."""
        self.figure.text(x, y, said, **{"transform": self.to, **how})

    def png(self) -> str:
        """The figure as the address of an image."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", metadata={"Software": None})
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

    def _add(self, artist: Any) -> None:
        self.figure.add_artist(artist)


class Plot(Drawing):
    """A frame with numbers at two sides and the names of what they count."""

    def __init__(self, horizontal: str, vertical: str, x: Range = (0.0, 1.0), y: Range = (0.0, 1.0)) -> None:
        across, up = _widened(*x), _widened(*y)
        super().__init__((6, 3.6), across, up, inside=Bbox([[_LEFT, _BOTTOM], [_RIGHT, _TOP]]))
        self.boxes([box(across[0], up[0], across[1] - across[0], up[0] - up[1])],
                   facecolors="none", edgecolors="black", linewidths=0.8)  # fmt: skip
        frame = self.figure.transFigure
        for at, said in ticks(*across):
            place = _LEFT + (_RIGHT - _LEFT) * (at - across[0]) / (across[1] - across[0])
            self.text(place, _BOTTOM - 0.02, said, transform=frame, ha="center", va="top", fontsize=9)
        for at, said in ticks(*up):
            place = _BOTTOM + (_TOP - _BOTTOM) * (at - up[0]) / (up[1] - up[0])
            self.text(_LEFT - 0.01, place, said, transform=frame, ha="right", va="center", fontsize=9)
        self.text((_LEFT + _RIGHT) / 2, 0.02, horizontal, transform=frame, ha="center", va="bottom", fontsize=10)
        self.text(
            0.01, (_BOTTOM + _TOP) / 2, vertical, transform=frame, ha="left", va="center", rotation=90, fontsize=10
        )

    def legend(self, names: Sequence[tuple[str, str]], *, top: bool) -> None:
        """Colours and what they stand for: at the left of the top, or at the right of the bottom."""
        frame = self.figure.transFigure
        first = _TOP - 0.05 if top else _BOTTOM + 0.03 + _LINE * (len(names) - 1)
        place, side = (_LEFT + 0.02, "left") if top else (_RIGHT - 0.02, "right")
        for at, (name, colour) in enumerate(names):
            where = first - _LINE * at
            self.text(place, where, name, transform=frame, ha=side, va="center", fontsize=9, color=colour)


def box(left: float, base: float, width: float, height: float) -> Corners:
    """The corners, where `base - height` is the other side."""
    return [(left, base), (left, base - height), (left + width, base - height), (left + width, base)]


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between two others, written with as many figures as tell them apart."""
    found = [float(at) for at in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= at <= high]
    for digits in range(6, _MOST_DIGITS):
        texts = [f"{at:.{digits}g}" for at in found]
        if len(set(texts)) == len(found):
            break
    return list(zip(found, texts, strict=True))


def reach(*many: Any) -> Range:
    """The smallest and the largest of all the numbers."""
    return float(min(np.min(one) for one in many)), float(max(np.max(one) for one in many))


def _widened(low: float, high: float) -> Range:
    """So that what is at the edge is seen, and that one number has a place."""
    size = max(abs(low), abs(high))
    margin = _MARGIN * (high - low) if high - low > _SAME * size else 0.5 * (size or 1.0)
    return low - margin, high + margin
