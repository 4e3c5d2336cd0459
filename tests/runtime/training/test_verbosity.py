"""MILLRACE_LOG_LEVEL says how much a training container writes; the termination message does not depend on it."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
from data_kit import tasks
from run_kit import runs

from millrace_runtime.training import __main__ as training


@pytest.fixture
def bench(tmp_path):
    made = runs.Bench(tmp_path)
    made.freeze(pd.DataFrame({"x": range(100), "label": [0, 1] * 50}), label="Int64")
    return made


@pytest.mark.parametrize(
    "level,says",
    [
        (None, True),
        ("INFO", True),
        ("info", True),
        ("DEBUG", True),
        ("WARNING", False),
        ("ERROR", False),
        ("LOUD", True),
    ],
)
def test_progress_is_written_where_it_is_asked_for(bench, tmp_path, level, says):
    environ = {} if level is None else {"MILLRACE_LOG_LEVEL": level}
    code, _, log = tasks.contained(partial(training.main, ["fetch"]), bench.task("a"), tmp_path, **environ)
    assert code == 0
    assert ("train: " in log) is says


@pytest.mark.parametrize("level,traced", [("DEBUG", True), ("INFO", False), ("ERROR", False)])
def test_where_a_failure_came_from_is_written_for_those_who_ask(bench, tmp_path, level, traced):
    task = bench.task("a", parameters={"trees": "9"})
    assert tasks.contained(partial(training.main, ["fetch"]), task, tmp_path)[0] == 0
    code, message, log = tasks.contained(partial(training.main, ["train"]), task, tmp_path, MILLRACE_LOG_LEVEL=level)
    assert (code, message["reason"]) == (2, "UnknownParameter")
    assert ("Traceback" in log) is traced
    assert "UnknownParameter" in log


def test_a_full_disk_of_the_pods_own_is_said_to_be_that(bench, tmp_path, monkeypatch):
    import errno

    from millrace_runtime.training import fetch

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/work/data/train.parquet")

    monkeypatch.setattr(fetch, "fetch", full)
    code, message, _ = tasks.contained(partial(training.main, ["fetch"]), bench.task("a"), tmp_path)
    assert (code, message["reason"]) == (1, "FetchFailed")
    assert "The pod's own disk is full" in message["message"]
