"""What dividing rows costs: keys, parts, the memory of a version before, the report; beside reading the same Parquet.

    python tests/benchmarks/splitting/rows.py [--rows 1000000]

Ten columns: an Id (text, all distinct), an Int64, five Float64, two Category, a Bool label. Seconds are CPU seconds of
this process; memory is how far the peak grew above the table in memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from millrace.contract.dataset import Field, FieldType, Role, Split
from millrace_runtime.snapshot import division, freeze, history, identity, leakage, quality
from millrace_runtime.snapshot.hashing import Hashes
from millrace_runtime.snapshot.history import Previous
from millrace_runtime.snapshot.manifest import Manifest
from millrace_runtime.snapshot.split import TRAIN

RESULTS = Path(__file__).resolve().parents[1] / "results"
BLOCK = 65_536


def table_of(rows: int, seed: int = 0) -> tuple[Any, tuple[Field, ...]]:
    """A table and its fields."""
    chance = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "id": pa.array([f"C-{number:08}" for number in range(rows)]),
        "tenure": chance.integers(0, 400, rows),
        **{f"x{at}": chance.normal(size=rows) for at in range(5)},
        "plan": pa.array(chance.choice(["basic", "plus", "pro"], rows)),
        "region": pa.array(chance.choice([f"region {at}" for at in range(400)], rows)),
        "left": pa.array(chance.random(rows) < 0.3),
    }
    kinds = dict.fromkeys(columns, FieldType.FLOAT64) | {
        "id": FieldType.STRING, "tenure": FieldType.INT64, "plan": FieldType.CATEGORY, "region": FieldType.CATEGORY,
        "left": FieldType.BOOL,
    }  # fmt: skip
    roles = {"id": Role.ID, "left": Role.LABEL}
    fields = tuple(Field(name, kind, roles.get(name, Role.FEATURE)) for name, kind in kinds.items())
    return pa.table(columns), fields


@dataclass
class Meter:
    """CPU seconds and peak memory of one step after the other."""

    rows: int
    base: int = 0

    def measure(self, name: str, act: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
        """What it returned, and the row that says what it cost."""
        self.base = self.base or _peak()
        started = time.process_time()
        made = act()
        seconds = time.process_time() - started
        grown = (_peak() - self.base) / 2**10
        print(f"| {name:<44} | {seconds:7.2f} | {self.rows / max(seconds, 1e-9):12,.0f} | {grown:8.0f} |", flush=True)
        return made, {"step": name, "cpu_s": round(seconds, 3), "peak_mib": round(grown)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass(frozen=True)
class Divided:
    """All that is known of rows after they were divided."""

    rows: division.Rows
    result: division.Division


def divide(table: Any, fields: tuple[Field, ...], previous: Previous | None, scratch: Path) -> Divided:
    """As a snapshot does it: rows come some at a time."""
    told = division.ways(fields, Split(), previous)
    rows = division.Rows(fields, Split(), told, scratch)
    for start in range(0, table.num_rows, BLOCK):
        rows.see(table.slice(start, BLOCK))
    return Divided(rows, division.divide(rows, Split(), told, previous, np.empty(0, np.uint64)))


def report(table: Any, fields: tuple[Field, ...], divided: Divided) -> None:
    """What a snapshot says of the rows."""
    names = [field.name for field in fields if field.role is Role.FEATURE]
    alike = quality.alike(divided.rows.likeness, divided.result.parts)
    near, is_train = quality.NearCopies(names), divided.result.parts == TRAIN
    near.hold_out(table.filter(pa.array(~is_train & ~alike.copied)))
    near.found(table.filter(pa.array(is_train)).slice(start, BLOCK) for start in range(0, int(is_train.sum()), BLOCK))
    quality.shared(divided.rows.known.kinds)
    sample = table.slice(0, freeze.PROFILE_ROWS)
    leakage.suspects(sample, fields, Hashes(sample).contents(names))


def remembered(divided: Divided, fields: tuple[Field, ...], folder: Path) -> Previous:
    """The version as the next one finds it: only what it must know of its rows."""
    recalled, rows = divided.result.recalled, divided.rows
    files, departed = history.write(recalled, rows.known.kinds, divided.result.parts, folder)
    made = Manifest(
        {}, fields, Split(), (), "", "", "", recalled.eras,
        {name: part.digest for name, part in files.items()}, departed, by_features=False,
    )  # fmt: skip
    return Previous(f"file://{folder}/", made)


def main() -> None:
    """Measure, print and write results/splitting.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as scratch:
        _measure(rows, Path(scratch))


def _measure(rows: int, scratch: Path) -> None:
    table, fields = table_of(rows)
    pyarrow.parquet.write_table(table, scratch / "table.parquet", compression="zstd")
    meter, found = Meter(rows), []

    def step(name: str, act: Callable[[], Any]) -> Any:
        made, row = meter.measure(name, act)
        found.append(row)
        return made

    print(f"{rows:,} rows of {table.num_columns} columns, {table.nbytes / 2**20:.0f} MiB\n")
    print(f"| {'step':<44} | {'CPU s':>7} | {'rows/s':>12} | {'MiB more':>8} |")
    print(f"|{'-' * 46}|{'-' * 9}|{'-' * 14}|{'-' * 10}|")
    step("pyarrow reads it from Parquet", lambda: pyarrow.parquet.read_table(scratch / "table.parquet"))
    names = [field.name for field in fields if field.role is Role.FEATURE]
    ours = identity.of(fields, ())
    step("keys by Id", lambda: identity.keys(Hashes(table, ours.ids), ours))
    step("keys by 8 features", lambda: Hashes(table, names).rows(names, exact=False))
    step("content of all 10 columns", lambda: Hashes(table).rows(table.column_names, exact=True))
    first = step("divided for the first time", lambda: divide(table, fields, None, scratch / "first"))
    step("the report on its rows", lambda: report(table, fields, first))
    before = step("what the next version must know, written", lambda: remembered(first, fields, scratch))
    step("divided again after it", lambda: divide(table, fields, before, scratch / "second"))
    RESULTS.mkdir(exist_ok=True)
    summary = {
        "divide_rows_per_cpu_s": round(rows / found[4]["cpu_s"]),
        "peak_mib_above_the_table": found[-1]["peak_mib"],
    }
    (RESULTS / "splitting.json").write_text(json.dumps({**summary, "rows": rows, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
