"""What a container leaves behind in its termination message: JSON of at most 4096 bytes.

Kubernetes cuts a longer message, so `termination_message` shortens sentences and lists, never a digest or a URI.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from millrace.contract.erasure import ErasureReport
from millrace.contract.quality import Quality
from millrace.contract.reading import ReadingSummary
from millrace.contract.record import Record

LIMIT_BYTES = 4096

EXIT_VERDICT = 2
"""Exit code of a stage whose failure another attempt cannot change: its Job is not tried again."""

EXIT_INFRASTRUCTURE = 3
"""Exit code of a stage that what it works with kept from its work, such as a store that is silent: its Job tries again
until its deadline, and the attempt counts for nothing."""

_PROSE = frozenset({"message", "observed", "why", "leftOut", "dialect"})
_LISTS = frozenset({"failedRules", "metrics", "championMetrics", "columns", "leakageSuspects", "held"})
_SHORTENINGS = ((1000, 20), (500, 20), (250, 20), (120, 10), (60, 5), (30, 3), (30, 1))
"""(characters of a sentence, elements of a list), tried in turn until the message fits."""


class SnapshotOutcome(StrEnum):
    """What became of a source."""

    FROZEN = "Frozen"
    UNCHANGED = "Unchanged"
    REJECTED = "Rejected"
    FAILED = "Failed"


class TrainingOutcome(StrEnum):
    """What became of a training run, as far as its own pod can tell."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class FailedRule(Record):
    """A rule that did not hold, and the value that was seen."""

    name: str
    observed: str = ""
    message: str = ""


@dataclass(frozen=True)
class Splits(Record):
    """Rows in each split."""

    train: int = 0
    validation: int = 0
    test: int = 0


@dataclass(frozen=True)
class SnapshotReport(Record):
    """One reading of a Dataset's source."""

    outcome: SnapshotOutcome
    reason: str = ""
    message: str = ""
    digest: str = ""
    source_digest: str = ""
    uri: str = ""
    rows: int = 0
    bytes: int = 0
    schema_digest: str = ""
    profile_uri: str = ""
    rules_passed: int = 0
    rules_failed: int = 0
    failed_rules: tuple[FailedRule, ...] = ()
    splits: Splits = Splits()
    reading: ReadingSummary | None = None
    """What was found in the source; None where it was not read again."""
    quality: Quality | None = None
    """Of a version that was frozen."""
    erasure: ErasureReport | None = None
    """Who still holds Ids that are to be forgotten; None where there are none."""


@dataclass(frozen=True)
class Artifact(Record):
    """The ONNX file: one immutable object in the store."""

    storage_uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Tensor(Record):
    """One input or output; -1 in the shape is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature(Record):
    """Inputs and outputs in the order of the model."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Measurement(Record):
    """One metric on one split; the value is a decimal as text, so that status and report agree to the digit."""

    name: str
    value: str
    split: str = "test"


@dataclass(frozen=True)
class TrainingReport(Record):
    """One training run, written by the evaluator."""

    outcome: TrainingOutcome
    reason: str = ""
    message: str = ""
    artifact: Artifact | None = None
    signature: Signature | None = None
    golden_set_uri: str = ""
    reference_profile_uri: str = ""
    card_uri: str = ""
    metrics: tuple[Measurement, ...] = ()
    champion_metrics: tuple[Measurement, ...] = ()
    opset: int = 0


@dataclass(frozen=True)
class StageFailure(Record):
    """A stage (`fetch`, `train`, `serve`) that could not do its work."""

    stage: str
    reason: str
    message: str


def termination_message(report: Record, limit: int = LIMIT_BYTES) -> str:
    """JSON of the report in at most `limit` bytes of UTF-8. Raises ValueError when it cannot be made to fit."""
    text = report.to_json()
    for characters, elements in _SHORTENINGS:
        if len(text.encode()) <= limit:
            return text
        text = _dump(_shortened(report.to_dict(), characters, elements))
    if len(text.encode()) > limit:
        raise ValueError(f"{type(report).__name__} needs {len(text.encode())} bytes, {limit} are allowed")
    return text


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _shortened(value: Any, characters: int, elements: int, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item, characters, elements, name) for name, item in value.items()}
    if isinstance(value, list):
        # A shape or a signature cut short would be a wrong one: only lists of findings shrink.
        kept = value[:elements] if key in _LISTS else value
        return [_shortened(item, characters, elements) for item in kept]
    if key in _PROSE and isinstance(value, str) and len(value) > characters:
        return value[: characters - 1] + "…"
    return value
