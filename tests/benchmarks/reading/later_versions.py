"""Later versions of a large Dataset: rows departed, and rows told apart by other columns; memory beside its limit.

    python tests/benchmarks/reading/later_versions.py                    # 5 million rows in 1024 MiB
    python tests/benchmarks/reading/later_versions.py --rows 20000000 --limit 1024

Four versions of a Parquet source of ten columns, each frozen by a process of its own, in a memory cgroup of so many
MiB where the machine lets us make one (`--limit 0`: without):

1. all rows, told apart by their features
2. a tenth of the rows is gone, as many are new
3. another tenth is gone, and a feature has role Ignore: what was frozen before is read again, by other columns
4. a column has role Id, and the rows that are gone are back: they are known by what all versions have in common

No row that was trained on may be tested on later: that is counted too, by a float that no other row has.
Files go where `TMPDIR` says: up to ten times the source.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))

from millrace_benchmarks import limited  # noqa: E402  the path is set above

RESULTS = HOME / "results"
BLOCK = 250_000
FLOATS = [f"float_{number}" for number in range(7)]
CITIES = pa.array([f"city {number}" for number in range(1000)])


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--limit", type=int, default=1024, metavar="MIB")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder), options.rows, options.limit)
    RESULTS.mkdir(exist_ok=True)
    most = max(one["peak_mib"] for one in found)
    leaked = sum(one["leaked_rows"] for one in found)
    summary = {"rows": options.rows, "limit_mib": options.limit, "peak_mib": most, "leaked_rows": leaked}
    told = {**summary, "versions": found}
    (RESULTS / "later-versions.json").write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _measured(folder: Path, rows: int, limit: int) -> list[dict[str, Any]]:
    step, found, previous = rows // 10, [], None
    trained = np.zeros(rows + 2 * step, bool)
    fields = [_field("left", "Bool", "Label"), _field("id", "Int64", "Ignore")]
    what = ["all rows", "a tenth departed", "and a feature ignored", "an Id, and all rows of the first are back"]
    more: list[list[dict[str, str]]] = [[], [], [_field("float_6", "Float64", "Ignore")], [_field("id", "Int64", "Id")]]
    for number, (about, changed) in enumerate(zip(what, more, strict=True)):
        source = folder / "source" / "a.parquet"
        first = 0 if number == len(what) - 1 else number * step
        _write(source, first, first + rows)
        declared = {one["name"]: one for one in [*fields, *changed]}
        fields = list(declared.values())
        report, cost = _frozen(folder, fields, previous, limit)
        previous = {"uri": report["uri"], "digest": report["digest"], "sourceDigest": report["sourceDigest"]}
        leaked = _leaked(Path(report["uri"].removeprefix("file://")), trained)
        found.append({"version": about, **cost, "moved_rows": report["quality"]["movedRows"], "leaked_rows": leaked})
        print(", ".join(f"{name} {value}" for name, value in found[-1].items()), flush=True)
    return found


def _frozen(folder: Path, fields: Any, previous: Any, limit: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report of one look, and what it took."""
    task = {
        "namespace": "ml",
        "name": "bench",
        "storeUri": f"file://{folder}/store",
        "source": {"storageUri": f"file://{folder}/source/"},
        "format": "Parquet",
        "schema": {"mode": "Infer", "fields": fields},
        "previous": previous,
    }
    environ = {
        "MILLRACE_SPEC": json.dumps(task),
        "MILLRACE_TERMINATION_LOG": str(folder / "log"),
        "TMPDIR": str(folder),
        "MILLRACE_LOG_LEVEL": "WARNING",
    }
    taken, cpu, memory = limited.run([sys.executable, "-m", "millrace_runtime.snapshot"], environ, limit)
    report = json.loads((folder / "log").read_text())
    if report["outcome"] != "Frozen":
        raise SystemExit(f"{report}")
    return report, {"seconds": round(taken, 1), "cpu_s": round(cpu, 1), "peak_mib": memory}


def _leaked(version: Path, trained: Any) -> int:
    """How many test rows were in a train part, of this version or one before; rows are known by their first float."""
    known = np.concatenate([_block(number)[0] for number in range(-(-len(trained) // BLOCK))])
    order, parts = np.argsort(known), {}
    for part in ("train", "test"):
        values = pyarrow.parquet.read_table(version / f"{part}.parquet", columns=["float_0"])["float_0"].to_numpy()
        parts[part] = order[np.searchsorted(known, values, sorter=order)]
    trained[parts["train"]] = True
    return int(trained[parts["test"]].sum())


def _block(number: int) -> Any:
    """Seven floats of each row of one block, which depend on its number alone."""
    return np.random.default_rng(number).normal(size=(len(FLOATS), BLOCK))


def _write(path: Path, first: int, last: int) -> None:
    """Rows `first` to `last`: seven floats, a text, a label, and a number that is an Id."""
    path.parent.mkdir(exist_ok=True)
    writer = None
    for number in range(first // BLOCK, -(-last // BLOCK)):
        rows = np.arange(number * BLOCK, (number + 1) * BLOCK)
        floats = _block(number)
        columns: dict[str, Any] = dict(zip(FLOATS, floats, strict=True))
        columns |= {"city": CITIES.take(pa.array(rows % 1000)), "left": floats[1] > 0, "id": rows}
        table = pa.table(columns).filter(pa.array((rows >= first) & (rows < last)))
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _field(name: str, kind: str, role: str) -> dict[str, str]:
    return {"name": name, "type": kind, "role": role}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
