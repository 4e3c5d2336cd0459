"""A model to be measured: vetted bytes, and which columns it reads, by its own word or by the dataset's schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from millrace.contract.environment import Champion
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import features, vetting
from millrace_runtime.training.features import METADATA, Layout, Tensors


@dataclass(frozen=True)
class Subject:
    """`classes` is the order of the probabilities' columns; empty for a regressor."""

    model: bytes
    layout: Layout
    classes: list[Any]
    opset: int

    def rows(self, table: Any) -> Tensors:
        """The input tensors of a frozen table."""
        return features.of(table, self.layout)


def from_bytes(data: bytes, schema: Layout, classes: list[Any]) -> Subject:
    """Vet the bytes. `schema` and `classes` are taken where the model says nothing itself. Raises StageError."""
    proto = vetting.vet(data)
    facts = {entry.key: entry.value for entry in proto.metadata_props if entry.key.startswith(METADATA)}
    layout = replace(
        schema,
        numeric=tuple(_listed(facts, "numeric", list(schema.numeric))),
        categorical=tuple(_listed(facts, "categorical", list(schema.categorical))),
    )
    absent = [name for name, _, _ in layout.columns if name not in schema.types]
    if absent:
        text = f'The model reads column "{absent[0]}", which the dataset does not have.'
        raise StageError(Reason.EVALUATION_FAILED, text)
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    return Subject(data, layout, _listed(facts, "classes", classes) if classes else [], int(opset))


def champion(named: Champion, schema: Layout, classes: list[Any]) -> Subject:
    """Fetch, check and vet the champion. Raises StageError: EvaluationFailed, or StoreUnavailable to be tried again."""
    try:
        return from_bytes(_pinned(named), schema, classes)
    except StageError as error:
        if error.retry:
            raise
        advice = "Restore its file, or serve another model"
        text = f"The champion {named.name} cannot be measured ({error.reason}): {error.message} {advice}."
        raise StageError(Reason.EVALUATION_FAILED, text) from error


def _pinned(named: Champion) -> bytes:
    data = manifest.read(named.storage_uri, Reason.EVALUATION_FAILED)
    if manifest.of_bytes(data) != named.digest:
        raise StageError(Reason.DIGEST_MISMATCH, f"{named.storage_uri} does not have digest {named.digest}.")
    return data


def _listed(facts: dict[str, str], key: str, otherwise: list[Any]) -> list[Any]:
    if METADATA + key not in facts:
        return otherwise
    try:
        value = json.loads(facts[METADATA + key])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(item, (str, int)) for item in value):
        raise StageError(Reason.NOT_ONNX, f"The model's metadata {METADATA}{key} is not a list. Export it again.")
    return value
