"""Classes that are large whole numbers, as 0, 1, 2 ... while an estimator is fitted, and as themselves when served.

Exports carry class numbers through 32-bit types: skl2onnx makes 0 of 2**40, and 16777216 of 16777217. What an
estimator does depends on the order of its classes, not on their size, so the model is made for places in a list, and
the graph ends with a look-up in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

LARGEST = 2**24
"""Whole numbers below are themselves in every type that an export uses."""
_CODE, _CLASSES = "label_code", "label_classes"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Coding:
    """`classes` in increasing order; None when they are served as the estimator knows them."""

    classes: Array | None = None

    def codes(self, labels: Array) -> Array:
        """What the estimator is given; -1 for a class that it never saw."""
        if self.classes is None:
            return labels
        places = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        return np.where(self.classes[places] == labels, places, -1)

    def labels(self, codes: Array) -> Array:
        """What the estimator means."""
        return codes if self.classes is None else self.classes[codes]

    def weights(self, estimator: Any) -> None:
        """Let a `class_weight` that names classes name their codes."""
        weights = estimator.get_params(deep=False).get("class_weight")
        if self.classes is not None and isinstance(weights, dict):
            places = {value: place for place, value in enumerate(self.classes.tolist())}
            estimator.set_params(class_weight={places.get(name, name): value for name, value in weights.items()})

    def put_behind(self, graph: Any) -> None:
        """Make the graph's output `label` the class in place of its code."""
        if self.classes is None:
            return
        for node in graph.node:
            node.output[:] = [_CODE if name == "label" else name for name in node.output]
        graph.initializer.append(numpy_helper.from_array(self.classes.astype(np.int64), _CLASSES))
        graph.node.append(helper.make_node("Gather", [_CLASSES, _CODE], ["label"], name=_CLASSES, axis=0))


PLAIN = Coding()


def of(labels: Array) -> Coding:
    """The coding of these train labels."""
    if labels.dtype.kind == "i" and len(labels) and int(np.abs(labels.astype(np.float64)).max()) >= LARGEST:
        return Coding(np.unique(labels))
    return PLAIN
