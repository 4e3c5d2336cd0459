"""Snapshot of a source beside plain pyarrow on the same file: rows and megabytes a second, and memory by size.

    python tests/benchmarks/reading/snapshot.py                          # CSV and Parquet of 300 MB
    python tests/benchmarks/reading/snapshot.py --megabytes 5000 --kinds Parquet --limit 1024

Plain pyarrow reads the file and writes it back as Parquet with zstd: what a freezing that checks nothing would do. With
`--limit` the snapshot runs alone, in a memory cgroup of so many MiB, as in a pod, where the machine lets us make one.
Files go where `TMPDIR` says: up to five times the source.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))

from millrace_benchmarks import limited  # noqa: E402  the path is set above

RESULTS = HOME / "results"
ROWS = 100_000
PLAIN = """
import sys, pyarrow.csv, pyarrow.parquet
kind, source, target = sys.argv[1:]
read = pyarrow.csv.read_csv if kind == "CSV" else pyarrow.parquet.read_table
pyarrow.parquet.write_table(read(source), target, compression="zstd")
"""


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--kinds", nargs="*", default=["CSV", "Parquet"])
    parser.add_argument("--limit", type=int, default=0, metavar="MIB")
    options = parser.parse_args(argv)
    found = {}
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = _measured(kind, Path(folder), options.megabytes, options.limit)
        print("\n".join(f"{kind}: {name} {value}" for name, value in found[kind].items()), flush=True)
    told = {f"{kind.lower()}_{name}": value for kind, numbers in found.items() for name, value in numbers.items()}
    name = f"snapshot-in-{options.limit}-mib.json" if options.limit else "snapshot.json"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _measured(kind: str, folder: Path, megabytes: int, limit: int) -> dict[str, Any]:
    source = folder / "source" / f"a.{kind.lower()}"
    source.parent.mkdir()
    rows = _write(kind, source, megabytes * 1_000_000)
    size = source.stat().st_size / 1e6
    # Plain pyarrow holds the whole table: beside a limit there is nothing to compare with.
    told = None if limit else limited.run([sys.executable, "-c", PLAIN, kind, str(source), str(folder / "plain")])
    task = {
        "namespace": "ml",
        "name": "bench",
        "storeUri": f"file://{folder}/store",
        "source": {"storageUri": f"file://{source}"},
        "format": kind,
    }
    environ = {
        "MILLRACE_SPEC": json.dumps(task),
        "MILLRACE_TERMINATION_LOG": str(folder / "log"),
        "TMPDIR": str(folder),
        "MILLRACE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "millrace_runtime.snapshot"]
    taken, cpu, memory = limited.run(command, environ, limit)
    report = json.loads((folder / "log").read_text())
    if report["outcome"] != "Frozen" or report["rows"] != rows:
        raise SystemExit(f"{kind}: {report}")
    ours = {
        "mb": round(size),
        "rows": rows,
        "rows_per_s": round(rows / taken),
        "mb_per_s": round(size / taken, 1),
        "cpu_s": round(cpu, 1),
        "peak_mib": memory,
        "peak_mib_per_gb": round(memory * 1000 / size),
    }
    if told is None:
        return {**ours, "limit_mib": limit}
    plain, plain_cpu, plain_memory = told
    return {
        **ours,
        "plain_rows_per_s": round(rows / plain),
        "plain_cpu_s": round(plain_cpu, 1),
        "speed_of_plain": round(plain / taken, 2),
        "cpu_of_plain": round(plain_cpu / cpu, 2),
        "plain_peak_mib": plain_memory,
    }


def _write(kind: str, path: Path, size: int) -> int:
    """Tables of six floats, two whole numbers and two texts, until the file has the size. Returns the rows."""
    rows = 0
    chance = np.random.default_rng(7)
    with path.open("wb") as file:
        first = next(_tables(chance))
        writer = (
            pyarrow.csv.CSVWriter(file, first.schema)
            if kind == "CSV"
            else pyarrow.parquet.ParquetWriter(file, first.schema, compression="snappy")
        )
        for table in _tables(chance):
            writer.write_table(table)
            rows += table.num_rows
            if file.tell() >= size:
                break
        writer.close()
    return rows


def _tables(chance: np.random.Generator) -> Iterator[pa.Table]:
    cities = pa.array([f"city {number}" for number in range(1000)])
    while True:
        columns: dict[str, Any] = {f"float_{n}": chance.normal(size=ROWS) for n in range(6)}
        columns |= {f"whole_{n}": chance.integers(0, 10**6, ROWS) for n in range(2)}
        columns["city"] = cities.take(pa.array(chance.integers(0, 1000, ROWS)))
        columns["code"] = pa.array(chance.integers(10**8, 10**9, ROWS)).cast(pa.string())
        yield pa.table(columns)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
