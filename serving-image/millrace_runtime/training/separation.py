"""The gate before all gates: no row that is tested on was given to the trainer.

Newer snapshots never divide rows that share an Id, a group or, without either, their features. Versions that an older
operator froze may: it told rows apart by all their values and their number among equal rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.contract.environment import DatasetVersion
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import hashing, identity
from millrace_runtime.snapshot.hashing import Hashes
from millrace_runtime.snapshot.identity import NO_KEY
from millrace_runtime.snapshot.manifest import Identity, Manifest

TRAINERS = ("train", "validation")
"""The parts that the trainer is given."""

Table = Any


def check(dataset: DatasetVersion, version: Manifest, tables: Mapping[str, Table]) -> None:
    """Raises StageError(TestRowsTrained) when a test row is one of the trainer's, as the version tells rows apart."""
    how = version.eras[0] if version.eras else identity.of(version.fields, ())
    if not how.columns:
        return
    tested = identity.keys(Hashes(tables["test"], how.columns), how).kinds
    found = np.zeros(len(tested[0]), dtype=bool)
    for name in TRAINERS:
        for ours, theirs in zip(tested, identity.keys(Hashes(tables[name], how.columns), how).kinds, strict=True):
            found |= hashing.among(ours, theirs) & (ours != NO_KEY)
    if found.any():
        raise StageError(Reason.TEST_ROWS_TRAINED, _said(dataset, how, int(found.sum()), len(found)))


def _said(dataset: DatasetVersion, how: Identity, count: int, rows: int) -> str:
    shared = "Id" if how.ids else "group" if how.groups else "features"
    return (
        f"{count} of {rows} test rows of version {dataset.version} of {dataset.name} were given to the trainer too, by "
        f"their {shared}: their metrics would say nothing. Let the Dataset freeze a new version, which keeps such rows "
        f"together."
    )
