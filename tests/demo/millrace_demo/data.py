"""20,190 real rows of the RAND health insurance experiment (statsmodels `randhie`), cut where they differ.

The label is whether a person saw a doctor at all (`mdvis > 0`). Slice A holds people with at most the median number of
chronic conditions (`disea`), slice B the others: a model trained on A ranks B worse, one trained on both does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LABEL = "visited"
FEATURES = ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")


@dataclass(frozen=True)
class Slice:
    """Rows of one part of the data: `csv` for the store, `rows` (n, 9) for requests."""

    name: str
    csv: bytes
    rows: list[list[float]]


def slices() -> tuple[Slice, Slice]:
    """Slice A and slice B, with the rows of each in a fixed shuffled order."""
    from statsmodels.datasets import randhie

    frame = randhie.load_pandas().data
    frame[LABEL] = frame.pop("mdvis") > 0
    low = frame["disea"] <= frame["disea"].median()
    return _slice("a", frame[low]), _slice("b", frame[~low])


def _slice(name: str, frame: Any) -> Slice:
    shuffled = frame.sample(frac=1.0, random_state=0)
    rows = shuffled[list(FEATURES)].to_numpy(dtype=float).tolist()
    return Slice(name=name, csv=shuffled.to_csv(index=False).encode(), rows=rows)


def schema_fields() -> list[dict[str, Any]]:
    """The columns as a Dataset declares them."""
    features = [{"name": name, "type": "Float64"} for name in FEATURES]
    return [*features, {"name": LABEL, "type": "Bool", "role": "Label", "nullable": False}]
