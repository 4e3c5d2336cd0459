"""Real tables that ship inside packages, each with a column `label`; none is fetched."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import sklearn.datasets


def _bundled(name: str) -> Callable[[], Any]:
    return lambda: getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "label"})


def _published(name: str, label: str) -> Callable[[], Any]:
    def load() -> Any:
        rows = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
        return rows.rename(columns={label: "label"})

    return load


TABLES: dict[str, Callable[[], Any]] = {
    "iris": _bundled("iris"),
    "wine": _bundled("wine"),
    "breast_cancer": _bundled("breast_cancer"),
    "diabetes": _bundled("diabetes"),
    "fair": _published("fair", "affairs"),
    "anes96": _published("anes96", "vote"),
    "star98": _published("star98", "NABOVE"),
    "spector": _published("spector", "GRADE"),
    "randhie": _published("randhie", "mdvis"),
    "ccard": _published("ccard", "AVGEXP"),
}
"""From 32 rows to 20,190; `fair` and `randhie` have thousands of rows with the same features."""
