"""The model card: one HTML file without scripts or links, readable by whoever approves the model."""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from sklearn import metrics

from millrace.contract.profile import NUMERIC, Histogram, Profile
from millrace.contract.report import TrainingReport
from millrace_runtime.training.drawing import BLUE, GREY, Corners, Drawing, Plot, box, reach
from millrace_runtime.training.features import Tensors
from millrace_runtime.training.spec import Task

SHOWN_FEATURES = 12
_DIAGONAL = {"color": GREY, "linewidth": 1, "linestyle": "--"}


@dataclass(frozen=True)
class Card:
    """What the card shows. `facts` is the trainer's own account."""

    task: Task
    report: TrainingReport
    facts: dict[str, Any]
    truth: npt.NDArray[Any]
    """Labels of the test rows; classes as they are compared."""
    outputs: Tensors
    classes: list[Any]
    profile: Profile


def render(card: Card) -> bytes:
    """Return the page in UTF-8."""
    # Names are the user's: a $ begins no formula, and a letter that the plots' font has not got is no warning.
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plots = _class_plots(card) if card.classes else _number_plots(card)
        plots.append(("What the model was trained on", _histograms(card.profile)))
    figures = "".join(
        f"<h2>{html.escape(title)}</h2><img alt='{html.escape(title)}' src='{src}'>" for title, src in plots
    )
    title = html.escape(f"{card.task.model_name}, run {card.task.raw.run}")
    body = f"<h1>{title}</h1>{_origin(card)}<h2>Metrics on the test rows</h2>{_metrics(card.report)}{figures}"
    page = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>{_STYLE}</head>"
    return f"{page}<body>{body}</body></html>\n".encode()


_STYLE = (
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a202c}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #e2e8f0;padding:.2rem .8rem .2rem 0;text-align:left}"
    "img{max-width:100%}code{font-size:.85em;word-break:break-all}</style>"
)


def _origin(card: Card) -> str:
    raw, report = card.task.raw, card.report
    rows = [
        ("Estimator", card.task.builtin.estimator),
        ("Parameters", ", ".join(f"{key}={value}" for key, value in card.task.parameters.items()) or "defaults"),
        ("Seed", str(raw.spec.seed)),
        ("Dataset", f"{raw.dataset.name} version {raw.dataset.version}, {raw.dataset.digest}"),
        ("Train rows", str(card.profile.rows)),
        ("Test rows", str(len(card.truth))),
        ("Model", f"{report.artifact.digest}, {report.artifact.size_bytes} bytes" if report.artifact else ""),
        ("Champion", f"{raw.champion.name}, {raw.champion.digest}" if raw.champion else "none"),
        ("Training", f"{card.facts.get('seconds', '?')} s, scikit-learn {card.facts.get('scikitLearn', '?')}"),
    ]
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td><code>{html.escape(value)}</code></td></tr>" for name, value in rows
    )
    return f"<table>{cells}</table>"


def _metrics(report: TrainingReport) -> str:
    champion = {each.name: each.value for each in report.champion_metrics}
    head = "<tr><th>metric</th><th>this model</th>" + ("<th>champion</th>" if champion else "") + "</tr>"
    rows = "".join(
        f"<tr><td>{each.name}</td><td>{each.value}</td>"
        + (f"<td>{champion.get(each.name, '')}</td>" if champion else "")
        + "</tr>"
        for each in report.metrics
    )
    return f"<table>{head}{rows}</table>"


def _class_plots(card: Card) -> list[tuple[str, str]]:
    probabilities = card.outputs["probabilities"].astype(float)
    columns = [1] if len(card.classes) == 2 else list(range(min(len(card.classes), 5)))
    curve, reliable = Plot("false positive rate", "true positive rate"), Plot("predicted probability", "observed share")
    for plot in (curve, reliable):
        plot.line([0, 1], [0, 1], **_DIAGONAL)
    names: list[tuple[str, str]] = []
    for column in columns:
        positive = card.truth == card.classes[column]
        if positive.all() or not positive.any():
            continue
        wrong, right, _ = metrics.roc_curve(positive, probabilities[:, column])
        colour = f"C{len(names)}"
        names.append((_shown(str(card.classes[column]), 24), colour))
        curve.line(wrong, right, color=colour)
        reliable.line(*_reliability(positive, probabilities[:, column]), marker="o", color=colour)
    curve.legend(names, top=False)
    reliable.legend(names, top=True)
    return [("ROC curve", curve.png()), ("Calibration", reliable.png())]


def _reliability(positive: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> tuple[list[float], list[float]]:
    bins = np.minimum((probabilities * 10).astype(int), 9)
    used = [each for each in range(10) if (bins == each).any()]
    return [float(probabilities[bins == b].mean()) for b in used], [float(positive[bins == b].mean()) for b in used]


def _number_plots(card: Card) -> list[tuple[str, str]]:
    predicted = card.outputs["prediction"].astype(float).ravel()
    shown = slice(0, 2000)
    both = reach(predicted, card.truth)
    scatter = Plot("predicted", "actual", both, both)
    scatter.line(predicted[shown], card.truth[shown], marker="o", linestyle="none", markersize=3, color=BLUE, alpha=0.5)
    scatter.line(both, both, **_DIAGONAL)
    counts, edges = np.histogram(card.truth - predicted, bins=30)
    spread = Plot("actual - predicted", "test rows", reach(edges), (0.0, float(counts.max())))
    widths = np.diff(edges)
    spread.boxes([box(*one) for one in zip(edges[:-1], np.zeros(30), widths, -counts, strict=True)], facecolors=BLUE)
    return [("Actual against predicted", scatter.png()), ("Residuals", spread.png())]


def _histograms(profile: Profile) -> str:
    """Cells of one drawing, three to a line."""
    shown: list[Histogram] = [*profile.features[:SHOWN_FEATURES], *profile.outputs[:3]]
    lines = max((len(shown) + 2) // 3, 1)
    drawing = Drawing((9, 1.9 * lines), across=(0, 3), down=(lines, 0))
    bars: list[Corners] = []
    frames: list[Corners] = []
    colours: list[str] = []
    for place, histogram in enumerate(shown):
        left, base = place % 3 + 0.14, place // 3 + 0.95
        frames.append(box(left, base, _WIDE, _HIGH))
        bars += _bars(histogram, left, base)
        special = 1 if histogram.kind == NUMERIC else 2
        colours += [BLUE] * (histogram.bins - special) + [GREY] * special
        drawing.text(left + _WIDE / 2, base - _HIGH - 0.04, _shown(histogram.name, 28), ha="center", fontsize=9)
        for height, count in ((_TALLEST, max(histogram.counts)), (0.0, 0)):
            drawing.text(left - 0.02, base - height, str(count), ha="right", va="center", fontsize=7)
    drawing.boxes(bars, facecolors=colours)
    drawing.boxes(frames, facecolors="none", edgecolors="black", linewidths=0.8)
    return drawing.png()


_WIDE, _HIGH = 0.84, 0.76
"""Of a cell, which is 1 by 1 with its first corner at the top left."""
_TALLEST = 0.95 * _HIGH


def _bars(histogram: Histogram, left: float, base: float) -> list[Corners]:
    step, unit = _WIDE / (histogram.bins + 1), _TALLEST / max(1, *histogram.counts)
    return [box(left + step * (at + 0.6), base, 0.8 * step, unit * n) for at, n in enumerate(histogram.counts)]


def _shown(name: str, most: int) -> str:
    """A name as one line of text."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
