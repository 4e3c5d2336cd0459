"""The golden set: rows and answers, frozen at evaluation, that a server must reproduce before it takes traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.contract.record import Record

TOLERANCE = 1e-4
ROWS = 64


@dataclass(frozen=True)
class GoldenSet(Record):
    """`request` is an inference request of the Open Inference Protocol v2 (REST), `response` holds its `outputs`.

    Floats agree when |got - want| <= tolerance * max(1, |want|); everything else must be equal.
    """

    request: Mapping[str, Any]
    response: Mapping[str, Any]
    tolerance: float = TOLERANCE
