"""Real data that ships inside packages."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets


@functools.cache
def visits() -> Any:
    """20,190 rows of the RAND health insurance experiment; label: at least one visit to a doctor."""
    import statsmodels.datasets.randhie

    rows = statsmodels.datasets.randhie.load_pandas().data
    return rows.assign(visited=rows.mdvis > 0).drop(columns=["mdvis"])


def slices() -> tuple[Any, Any]:
    """The rows at or under the median of `disea`, and the rest."""
    rows = visits()
    low = rows.disea <= rows.disea.median()
    return rows[low], rows[~low]


@functools.cache
def bundled(name: str) -> Any:
    """A scikit-learn set with column `label`, a categorical column that says something about it, and gaps."""
    held = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    rows = held.frame.rename(columns={"target": "label"})
    chance = np.random.default_rng(7)
    ranks = pd.qcut(rows.label.rank(method="first"), 3, labels=False)
    noisy = np.where(chance.random(len(rows)) < 0.7, ranks, chance.integers(0, 3, len(rows)))
    rows.insert(0, "group", np.asarray(["low", "mid", "high"])[noisy])
    rows.loc[chance.random(len(rows)) < 0.05, "group"] = None
    rows.iloc[chance.random(len(rows)) < 0.05, 1] = None
    return rows
