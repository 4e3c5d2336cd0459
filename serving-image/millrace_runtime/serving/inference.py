"""A request in the model's terms, whatever carried it, and what every carrier has to check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.tensors import Array, Signature


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be computed, and how the answer is to look."""

    feeds: dict[str, Array]
    rows: int
    outputs: tuple[tuple[int, bool], ...]
    """Index in the signature, and whether as bytes, in the order of the answer."""
    id: str | None = None
    timeout_us: int = 0
    """Microseconds that the caller waits for the run to begin; 0 is no limit."""


def check_names(signature: Signature, given: Collection[str]) -> None:
    """Raises RequestFailed(400) unless they are the model's inputs."""
    wanted = [spec.name for spec in signature.inputs]
    if set(given) != set(wanted):
        raise RequestFailed(400, f"inputs: expected {', '.join(wanted)}, got {', '.join(given)[:200] or 'none'}")


def index_of(signature: Signature, name: object, chosen: Collection[int]) -> int:
    """The place of an output that is asked for and not ``chosen`` yet. Raises RequestFailed(400)."""
    index = signature.output_index.get(name) if isinstance(name, str) else None
    if index is None:
        raise RequestFailed(400, f"outputs: expected some of {', '.join(signature.output_index)}, got {name!r:.80}")
    if index in chosen:
        raise RequestFailed(400, f"output {name}: asked for twice")
    return index


def rows_of(signature: Signature, feeds: Mapping[str, Array]) -> int:
    """Rows: those of the inputs whose first dimension is free, which must agree. Raises RequestFailed(400)."""
    counts = {spec.name: len(feeds[spec.name]) for spec in signature.inputs if spec.shape and spec.shape[0] == -1}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise RequestFailed(400, f"inputs: expected the same number of rows in each, got {told}")
    if counts:
        return next(iter(counts.values()))
    return max((len(array) for array in feeds.values() if np.ndim(array)), default=1)
