"""The statistics extension: counts and nanoseconds per stage (Triton, docs/protocol/extension_statistics.md)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

BATCH_SIZES = 64
"""So many batch sizes have a line of their own; the answer does not grow with what callers send."""


@dataclass(slots=True)
class Duration:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns

    def to_dict(self) -> dict[str, int]:
        """`$duration_stat` of the extension."""
        return {"count": self.count, "ns": self.ns}


@dataclass
class Statistics:
    """What one process did since it started. Decoding is the extension's `compute_input`, encoding `compute_output`."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    decoding: Duration = field(default_factory=Duration)
    inference: Duration = field(default_factory=Duration)
    encoding: Duration = field(default_factory=Duration)
    rows: int = 0
    last_ms: int = 0
    batches: dict[int, Duration] = field(default_factory=dict)

    def executed(self, rows: int, ns: int) -> None:
        """One run of the model."""
        self.rows += rows
        self.last_ms = time.time_ns() // 1_000_000
        self.inference.add(ns)
        batch = self.batches.get(rows)
        if batch is None:
            if len(self.batches) >= BATCH_SIZES:
                return
            batch = self.batches[rows] = Duration()
        batch.add(ns)

    def to_dict(self, name: str, version: str) -> dict[str, Any]:
        """`$model_stat` of the extension."""
        none = Duration().to_dict()
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.rows,
            "execution_count": self.inference.count,
            "inference_stats": {
                "success": self.success.to_dict(),
                "fail": self.fail.to_dict(),
                "queue": self.queue.to_dict(),
                "compute_input": self.decoding.to_dict(),
                "compute_infer": self.inference.to_dict(),
                "compute_output": self.encoding.to_dict(),
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": rows, "compute_input": none, "compute_infer": found.to_dict(), "compute_output": none}
                for rows, found in sorted(self.batches.items())
            ],
        }
