"""Which Ids a Dataset's next version is to be without, and whether the current one is."""

from __future__ import annotations

from millrace.api.dataset import Dataset
from millrace.contract import erasure


def wanted(dataset: Dataset) -> str | None:
    """The digest of the list in the spec; None where nobody is to be forgotten."""
    asked = dataset.spec.erasure
    return erasure.of_list(asked.field, asked.ids) if asked is not None and asked.ids else None


def is_carried_out(dataset: Dataset) -> bool:
    """Whether the current version is without all of them."""
    known, asked = dataset.status.erasure, wanted(dataset)
    return asked is None or (known is not None and known.carried_out == asked)
