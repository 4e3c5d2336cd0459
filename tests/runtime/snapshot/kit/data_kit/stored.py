"""What a version keeps of every row: written and read back as the snapshot does it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from millrace_runtime.snapshot import freeze
from millrace_runtime.snapshot.shuffle import Shuffle

Index = tuple[Any, Any]
NOTHING: Index = (np.empty(0, "S16"), np.empty(0, np.int8))


def index(keys: Any, parts: Any, known: Index | None) -> Index:
    """The keys and parts that the next version will know."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        written = freeze.Index(path)
        written.add(keys, parts, known or NOTHING)
        written.close()
        return read(path)


def read(path: Path) -> Index:
    """The keys and parts of an index.parquet."""
    with tempfile.TemporaryDirectory() as folder:
        held = Shuffle(Path(folder))
        freeze.read_index(path, held)
        (everything,) = held.spans()
        return freeze.known(held.read(everything))
