"""Rows are held once: what evaluate and train take grows with the data no faster than it must."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from millrace.contract.dataset import Field, FieldType, Role
from millrace_runtime.training import features, scoring

ROWS, COLUMNS = 50_000, 16
FIELDS = [
    *(Field(f"x{number}", FieldType.FLOAT64) for number in range(COLUMNS)),
    Field("left", FieldType.BOOL, Role.LABEL),
]
LAYOUT = features.layout(FIELDS, classification=True)


def table(labels):
    chance = np.random.default_rng(1)
    return pa.table({f"x{number}": chance.normal(size=ROWS) for number in range(COLUMNS)} | {"left": labels})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_beside_the_tensor_that_is_made_one_column_is_held(dtype):
    rows = table(pa.array([True] * ROWS))
    tracemalloc.start()
    try:
        made = features.of(rows, LAYOUT, dtype)["numeric"]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.flags.c_contiguous
    assert (made == np.stack([rows[name].to_numpy() for name in LAYOUT.numeric], axis=1).astype(dtype)).all()
    assert most < made.nbytes + 3 * 8 * ROWS


def test_rows_that_all_have_a_label_are_not_copied():
    rows = table(pa.array([True] * ROWS))
    assert features.labelled(rows, LAYOUT) is rows
    assert features.labelled(table(pa.array([True, None] * (ROWS // 2))), LAYOUT).num_rows == ROWS // 2


READ = """
import pathlib, sys
import pyarrow as pa
from millrace.contract.dataset import Field, FieldType, Role
from millrace_runtime.training import features
names = sys.argv[2:]
fields = [*(Field(name, FieldType.FLOAT64) for name in names), Field("left", FieldType.BOOL, Role.LABEL)]
rows = features.read(pathlib.Path(sys.argv[1]), features.layout(fields, classification=True))
print(rows.column_names == [*names, "left"], pa.default_memory_pool().max_memory() / rows.nbytes)
"""


def test_a_part_is_read_with_little_beside_the_table_that_it_becomes(tmp_path):
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(
        table(pa.array([True] * ROWS)), path, row_group_size=ROWS // 4, use_dictionary=False, compression="zstd"
    )
    command = [sys.executable, "-c", READ, str(path), *reversed(LAYOUT.numeric)]
    in_order, most = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert in_order == "True"
    assert float(most) < 1.5


def test_what_a_model_is_fed_stays_on_the_disk_until_it_is_run(tmp_path):
    texts = np.asarray([["a", ""], ["é", "b"]], dtype=object)
    rows = {"test/numeric": np.arange(6.0).reshape(3, 2), "golden/categorical": texts, "none/categorical": texts[:0]}
    scoring._put(tmp_path, scoring.stored(rows))
    taken = scoring._taken(tmp_path)
    assert all(isinstance(array, np.memmap) for array in taken.values())
    found = scoring.restored(taken)
    assert found.keys() == rows.keys()
    assert all((found[name] == value).all() and found[name].shape == value.shape for name, value in rows.items())
