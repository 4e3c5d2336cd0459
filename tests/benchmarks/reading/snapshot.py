"""Snapshot of a source beside plain pyarrow on the same file: rows and megabytes a second, and memory by size.

    python tests/benchmarks/reading/snapshot.py                          # CSV and Parquet of 300 MB
    python tests/benchmarks/reading/snapshot.py --megabytes 5000 --kinds Parquet --limit 1024

Plain pyarrow reads the file where it lies, into memory as a whole and on all cores, and writes it back as one Parquet
file with zstd, on one core: what a freezing that checks nothing would do, in no order and with no bound on memory.
The snapshot brings the file to its disk and hashes it, reads it once in blocks, checks every value, numbers every
row, brings rows into key order over the disk, writes three Parquet files with zstd, compares rows, hashes what it
wrote and copies it to the store. Both are processes of their own, start of Python included, and take turns:
`--repeats` times, of which the medians are told, for a machine is never the same for long. Beside wall time, which
depends on what else runs, stands CPU time.

With `--limit` the snapshot runs alone, in a memory cgroup of so many MiB, as in a pod, where the machine lets us make
one. Files go where `TMPDIR` says: up to five times the source.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
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
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    found = {}
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = _measured(kind, Path(folder), options)
        print("\n".join(f"{kind}: {name} {value}" for name, value in found[kind].items()), flush=True)
    told = {f"{kind.lower()}_{name}": value for kind, numbers in found.items() for name, value in numbers.items()}
    name = f"snapshot-in-{options.limit}-mib.json" if options.limit else "snapshot.json"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _measured(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    source = folder / "source" / f"a.{kind.lower()}"
    source.parent.mkdir()
    rows = _write(kind, source, options.megabytes * 1_000_000)
    size = source.stat().st_size / 1e6
    plain, own = [], []
    for _ in range(1 if options.limit else options.repeats):
        # Plain pyarrow holds the whole table: beside a limit there is nothing to compare with.
        if not options.limit:
            plain.append(limited.run([sys.executable, "-c", PLAIN, kind, str(source), str(folder / "plain")]))
        own.append(_snapshot(kind, source, folder, rows, options.limit))
    taken, cpu, memory = _medians(own)
    ours = {
        "mb": round(size),
        "rows": rows,
        "rows_per_s": round(rows / taken),
        "mb_per_s": round(size / taken, 1),
        "cpu_s": round(cpu, 1),
        "peak_mib": round(memory),
        "peak_mib_per_gb": round(memory * 1000 / size),
    }
    if not plain:
        return {**ours, "limit_mib": options.limit}
    alone, plain_cpu, plain_memory = _medians(plain)
    return {
        **ours,
        "plain_rows_per_s": round(rows / alone),
        "plain_cpu_s": round(plain_cpu, 1),
        "speed_of_plain": round(alone / taken, 2),
        "cpu_of_plain": round(plain_cpu / cpu, 2),
        "plain_peak_mib": round(plain_memory),
        "repeats": options.repeats,
    }


def _medians(runs: Sequence[tuple[float, float, int]]) -> tuple[float, ...]:
    return tuple(statistics.median(each) for each in zip(*runs, strict=True))


def _snapshot(kind: str, source: Path, folder: Path, rows: int, limit: int) -> tuple[float, float, int]:
    """What one look takes, into a store that is empty."""
    shutil.rmtree(folder / "store", ignore_errors=True)
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
    taken = limited.run([sys.executable, "-m", "millrace_runtime.snapshot"], environ, limit)
    report = json.loads((folder / "log").read_text())
    if report["outcome"] != "Frozen" or report["rows"] != rows:
        raise SystemExit(f"{kind}: {report}")
    return taken


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
