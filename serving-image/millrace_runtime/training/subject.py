"""A model to be measured: vetted bytes, and which columns it reads, by its own word or by the dataset's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.environment import Champion
from millrace.contract.profile import CATEGORICAL, NUMERIC
from millrace.contract.reasons import Reason
from millrace_runtime import files, store
from millrace_runtime.outcome import StageError, store_error
from millrace_runtime.snapshot import manifest
from millrace_runtime.training import classes, examine, features, vetting
from millrace_runtime.training.features import Layout, Tensors
from millrace_runtime.training.spec import METADATA

_NUMBERS: Mapping[str, npt.DTypeLike] = {"FLOAT": np.float32, "DOUBLE": np.float64}


@dataclass(frozen=True)
class Subject:
    """`classes` is the order of the probabilities' columns, empty for a regressor; `dtype` what its graph declares."""

    model: bytes
    layout: Layout
    classes: list[Any]
    opset: int
    dtype: npt.DTypeLike = np.float32

    def rows(self, table: Any) -> Tensors:
        """The input tensors of a frozen table."""
        return features.of(table, self.layout, self.dtype)


def from_bytes(data: bytes, schema: Layout, labels: list[Any]) -> Subject:
    """Vet the bytes. `schema`, and `labels` as its classes, are taken where the model says nothing itself.

    Raises StageError, NotAFeature for a model that asks for anything but the Dataset's features among the rest.
    """
    facts = examine.examine(data)
    layout = replace(
        schema,
        numeric=tuple(_names(facts, NUMERIC, schema.numeric)),
        categorical=tuple(_names(facts, CATEGORICAL, schema.categorical)),
    )
    features.check(layout)
    return Subject(data, layout, _classes(facts, labels) if labels else [], facts.opset, _dtype(facts, layout))


def champion(named: Champion, schema: Layout, labels: list[Any]) -> Subject:
    """Fetch, check and vet the champion. Raises StageError: EvaluationFailed, or StoreUnavailable to be tried again."""
    try:
        return from_bytes(_pinned(named), schema, labels)
    except StageError as error:
        if error.retry:
            raise
        advice = "Restore its file, or serve another model"
        text = f"The champion {named.name} cannot be measured ({error.reason}): {error.message} {advice}."
        raise StageError(Reason.EVALUATION_FAILED, text) from error


def _pinned(named: Champion) -> bytes:
    try:
        vetting.check_size(store.size(named.storage_uri))
        data = store.read_bytes(named.storage_uri)
    except store.StoreError as error:
        raise store_error(error, Reason.EVALUATION_FAILED, "the store's Secret") from error
    if manifest.of_bytes(data) != named.digest:
        raise StageError(Reason.DIGEST_MISMATCH, f"{named.storage_uri} does not have digest {named.digest}.")
    return data


def _dtype(facts: examine.Facts, layout: Layout) -> npt.DTypeLike:
    """What `numeric` is fed as. An input of any other name would be fed what no feature is."""
    for name in facts.inputs:
        if name not in (NUMERIC, CATEGORICAL):
            role = layout.roles.get(name)
            is_what = f", a column of role {role}" if role is not None else ""
            text = (
                f'The model has an input "{name[:80]}"{is_what}; features are fed as {NUMERIC} and {CATEGORICAL} alone'
            )
            raise StageError(Reason.NOT_A_FEATURE, f"{text}. Export it with these inputs.")
    kind = facts.inputs.get(NUMERIC, "FLOAT")
    if kind not in _NUMBERS:
        text = f"The model's input {NUMERIC} is {kind}, but features are fed as {' or '.join(_NUMBERS)}"
        raise StageError(Reason.EVALUATION_FAILED, f"{text}. Correct its export.")
    return _NUMBERS[kind]


def _names(facts: examine.Facts, key: str, otherwise: tuple[str, ...]) -> list[str]:
    names = _listed(facts, key, list(otherwise))
    if not all(isinstance(name, str) for name in names):
        raise _not_a_list(key)
    return names


def _classes(facts: examine.Facts, otherwise: list[Any]) -> list[Any]:
    found = _listed(facts, "classes", otherwise)
    if len(set(map(classes.plain, found))) != len(found):
        text = f"The model's metadata {METADATA}classes names a class twice"
        raise StageError(Reason.EVALUATION_FAILED, f"{text}. Export it again.")
    return found


def _listed(facts: examine.Facts, key: str, otherwise: list[Any]) -> list[Any]:
    if METADATA + key not in facts.metadata:
        return otherwise
    try:
        value = files.parsed(facts.metadata[METADATA + key])
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, (str, int, float)) for item in value):
        raise _not_a_list(key)
    return value


def _not_a_list(key: str) -> StageError:
    text = f"The model's metadata {METADATA}{key} is not a list of what it should be. Export it again."
    return StageError(Reason.NOT_ONNX, text)
