"""The gate before all gates: no row that is tested on was given to the trainer.

Newer snapshots never divide rows that share an Id, a group or, without either, their features. Versions that an older
operator froze may: it told rows apart by all their values and their number among equal rows.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.environment import DatasetVersion
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import hashing, identity
from millrace_runtime.snapshot.hashing import Hashes, Numbers
from millrace_runtime.snapshot.identity import NO_KEY
from millrace_runtime.snapshot.manifest import Identity, Manifest

TRAINERS = ("train", "validation")
"""The parts that the trainer is given."""

_BATCH_ROWS = 65_536


def check(dataset: DatasetVersion, version: Manifest, parts: Mapping[str, pathlib.Path]) -> None:
    """Raises StageError(TestRowsTrained) when a test row is one of the trainer's, as the version tells rows apart.

    `parts` are the version's Parquet files. Only numbers of rows are held, those of the trainer's rows in blocks.
    """
    how = version.eras[0] if version.eras else identity.of(version.fields, ())
    if not how.columns:
        return
    tested = [np.concatenate(keys) for keys in zip(*_keys(parts["test"], how), strict=True)]
    if not tested:
        return
    found = np.zeros(len(tested[0]), dtype=bool)
    for name in TRAINERS:
        for block in _keys(parts[name], how):
            for ours, theirs in zip(tested, block, strict=True):
                found |= hashing.among(ours, theirs) & (ours != NO_KEY)
    if found.any():
        raise StageError(Reason.TEST_ROWS_TRAINED, _said(dataset, how, int(found.sum()), len(found)))


def _keys(path: pathlib.Path, how: Identity) -> Iterator[tuple[Numbers, ...]]:
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(how.columns)):
            yield identity.keys(Hashes(pa.Table.from_batches([batch]), how.columns), how).kinds


def _said(dataset: DatasetVersion, how: Identity, count: int, rows: int) -> str:
    shared = "Id" if how.ids else "group" if how.groups else "features"
    return (
        f"{count} of {rows} test rows of version {dataset.version} of {dataset.name} were given to the trainer too, by "
        f"their {shared}: their metrics would say nothing. Let the Dataset freeze a new version, which keeps such rows "
        f"together."
    )
