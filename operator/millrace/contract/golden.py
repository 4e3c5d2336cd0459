"""The golden set: rows and answers, frozen at evaluation, that a server must reproduce before it takes traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.contract.record import Record

TOLERANCE = 1e-4
ROWS = 64
RUN_BYTES = 512 * 1024 * 1024
"""What one run of a model may take beside the loaded model, at evaluation and on the golden set: a model that
passed the first passes the second, on whatever node."""
ROUNDINGS = 16
"""So many times the rounding of its own type is what the same file may answer differently on another processor."""
_ROUNDING = {"FP16": 2.0**-10, "FP32": 2.0**-23, "FP64": 2.0**-52}


def loading_bytes(model_bytes: int) -> int:
    """What loading a file of that size may take: its weights, and what the optimiser makes of them."""
    return 256 * 1024 * 1024 + 8 * model_bytes


@dataclass(frozen=True)
class GoldenSet(Record):
    """`request` is an inference request of the Open Inference Protocol v2 (REST), `response` holds its `outputs`.

    Floats agree when |got - want| <= `bound`; everything else must be equal.
    """

    request: Mapping[str, Any]
    response: Mapping[str, Any]
    tolerance: float = TOLERANCE
    """In units of the outputs' spread."""
    spreads: Mapping[str, float] = field(default_factory=dict)
    """By output: standard deviation of its answers on the train rows. Golden sets older than this have none."""

    def bound(self, output: str, datatype: str, want: float) -> float:
        """How far an answer may be from `want`. An output without a known spread is held to max(1, |want|)."""
        size = abs(want) if math.isfinite(want) else 0.0
        spread = self.spreads.get(output)
        if spread is None:
            return self.tolerance * max(1.0, size)
        return max(self.tolerance * spread, ROUNDINGS * _ROUNDING.get(datatype, 0.0) * size)
