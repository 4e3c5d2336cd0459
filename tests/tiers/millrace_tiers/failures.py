"""pytest's part of a report: what failed, the assertion, and the last lines of the processes concerned.

`tests/conftest.py` registers both plugins. With pytest-xdist, `Witness` is in every worker, where the processes are,
and `Reporter` in the controller alone, which hears of all tests. MILLRACE_FAILURES names the file; without it pytest's
own output is all there is, the processes' last lines with it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from millrace_cluster import evidence

VARIABLE = "MILLRACE_FAILURES"
PREFIX = f"the last {evidence.LINES} lines of "
MESSAGE_LINES = 25
WITNESSED = 3
"""So many failures of a process are looked into: a hundred tests that fail for one reason have the same last lines."""


class Witness:
    """Adds the processes' last lines to the report of a test that failed, while its fixtures are up."""

    def __init__(self) -> None:
        self._left = WITNESSED

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._left:
            self._left -= 1
            report.sections += [(f"{PREFIX}{title}", text) for title, text in evidence.collect().items()]
        return report


class Reporter:
    """Writes the file at the end, if anything failed."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root
        self.failed: list[pytest.TestReport | pytest.CollectReport] = []
        self.internal = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(report)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.internal = str(excrepr)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        text = "\n".join([*self._processes(), *(_told(report, self.root) for report in self.failed), *self._errors()])
        if text:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text + "\n")

    def _processes(self) -> list[str]:
        """Of the first failure that left any: the others have followed from it more often than not."""
        for report in self.failed:
            said = [(title, text) for title, text in report.sections if title.startswith(PREFIX)]
            if said:
                return [f"--- {title}\n{text}\n" for title, text in said]
        return []

    def _errors(self) -> list[str]:
        return [_shortened(f"pytest itself failed: {self.internal}", from_end=True)] if self.internal else []


def _told(report: pytest.TestReport | pytest.CollectReport, root: Path) -> str:
    when = getattr(report, "when", "collect")
    what = "FAILED" if when == "call" else f"FAILED in {when} of"
    again = f"again: .venv/bin/python -m pytest {shlex.quote(report.nodeid)}"
    return "\n".join([f"{what} {report.nodeid}", _indented(_assertion(report, root)), f"  {again}"])


def _assertion(report: pytest.TestReport | pytest.CollectReport, root: Path) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return _shortened(str(report.longrepr), from_end=True)
    return _shortened(f"{os.path.relpath(crash.path, root)}:{crash.lineno}: {crash.message}")


def _shortened(text: str, *, from_end: bool = False) -> str:
    lines = text.splitlines()
    if len(lines) <= MESSAGE_LINES:
        return text
    return "\n".join(["...", *lines[-MESSAGE_LINES:]] if from_end else [*lines[:MESSAGE_LINES], "..."])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def register(config: pytest.Config) -> None:
    """Both plugins, each where it belongs."""
    config.pluginmanager.register(Witness(), "millrace-witness")
    path = os.environ.get(VARIABLE)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporter(Path(path), config.rootpath), "millrace-reporter")
