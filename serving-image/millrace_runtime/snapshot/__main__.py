"""`python -m millrace_runtime.snapshot`: exit code 0 says that the report is final, 1 that trying again may help."""

from __future__ import annotations

import gc
import importlib.abc
import os
import resource
import sys

from millrace.contract.reasons import Reason
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace_runtime import discretion, outcome
from millrace_runtime.snapshot import spec


def main() -> int:
    """Read the task and write a SnapshotReport as the termination message."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # rows are spilled to hundreds of files at a time
    try:
        task = spec.read(os.environ)
        _spare_pandas()  # and import pyarrow only once the task is known to be good
        from millrace_runtime.snapshot import run

        gc.freeze()  # modules are for good: they are not looked through while rows pass, nor at the end
        report, code = run.snapshot(task), 0
    except outcome.StageError as error:
        outcome.traced(error)
        report = SnapshotReport(SnapshotOutcome.FAILED, error.reason, error.message)
        code = 1 if error.retry else 0
    except MemoryError:
        text = "The source does not fit into the container's memory."
        report, code = SnapshotReport(SnapshotOutcome.FAILED, Reason.SNAPSHOT_OUT_OF_MEMORY, text), 0
    except Exception as error:  # noqa: BLE001 - the message is all that is left of this container
        outcome.traced(error)
        report = SnapshotReport(SnapshotOutcome.FAILED, Reason.SNAPSHOT_CRASHED, discretion.told(error))
        code = 1
    outcome.write_termination_message(report)
    return code


class _NoPandas(importlib.abc.MetaPathFinder):
    """Finds that there is no pandas."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise ModuleNotFoundError for pandas; leave all else to others."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _spare_pandas() -> None:
    """Let pyarrow know of no pandas: it would import it for the first array, half a second for nothing.

    It looks once. Where instants in text need pandas, it is imported as ever.
    """
    absent = _NoPandas()
    sys.meta_path.insert(0, absent)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(absent)


if __name__ == "__main__":
    sys.exit(main())
