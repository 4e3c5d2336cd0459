"""Preprocessing and estimator as one scikit-learn pipeline, fitted on the train rows."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace_runtime.training.features import Tensors

MAX_CATEGORIES = 100
"""Columns of the one-hot encoding per feature; rarer values are encoded like unseen ones, as no category."""


def pipeline(estimator: Any, train: Tensors, *, scaled: bool) -> Any:
    """Median imputation (and scaling) of `numeric`, one-hot encoding of `categorical`, then the estimator.

    A missing text is a category of its own when it occurs in training, since rows without a value may well be alike.
    """
    numeric, categorical = _width(train, NUMERIC), _width(train, CATEGORICAL)
    steps: list[tuple[str, Any, list[int]]] = []
    if numeric:
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        chain = [("impute", imputer), ("scale", StandardScaler())] if scaled else [("impute", imputer)]
        steps.append((NUMERIC, Pipeline(chain), list(range(numeric))))
    if categorical:
        frequent = [_frequent(train[CATEGORICAL][:, column]) for column in range(categorical)]
        encoder = OneHotEncoder(categories=frequent, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        steps.append((CATEGORICAL, encoder, list(range(numeric, numeric + categorical))))
    return Pipeline([("prepare", ColumnTransformer(steps)), ("estimate", estimator)])


def frame(tensors: Tensors) -> Any:
    """The tensors side by side, columns numbered, as the pipeline reads them.

    What the graph reads in 32 bits is fitted in 64: scikit-learn computes in the precision it is given, and a linear
    model that is nearly singular comes out as another one in 32.
    """
    numbers = [tensors[NUMERIC][:, at].astype(np.float64) for at in range(_width(tensors, NUMERIC))]
    texts = [tensors[CATEGORICAL][:, at] for at in range(_width(tensors, CATEGORICAL))]
    return pd.DataFrame(dict(enumerate([*numbers, *texts])))


def fit(made: Any, tensors: Tensors, labels: npt.NDArray[Any]) -> Any:
    """Fit on one thread per numeric library: sums in another order are other numbers on another machine."""
    with threadpool_limits(limits=1):
        return made.fit(frame(tensors), labels)


def _width(tensors: Tensors, name: str) -> int:
    return int(tensors[name].shape[1]) if name in tensors else 0


def _frequent(values: npt.NDArray[Any]) -> list[str]:
    tally = collections.Counter(values.tolist())
    return sorted(sorted(tally, key=lambda text: (-tally[text], text))[:MAX_CATEGORIES])
