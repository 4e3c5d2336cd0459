"""A process of its own for whatever reads a model's bytes: a hostile file may take it over, and gains nothing.

It gets no credentials in its environment; that it cannot take them from its parent's is `secrecy`'s work. It has
bounded memory and time, and everything it started ends with it. It speaks by plain files in a folder: what it leaves
is read with limits, as what a stranger wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

from millrace.contract.environment import PROTECTIVE
from millrace_runtime import files

FAILED = 3
FAILURE_FILE = "failure.json"
_KEPT = ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "HOME", "USER", "LOGNAME")
_ALONE = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
"""It imports nothing from its folder, nor from its home."""
_MOST_BYTES = 64 * 1024


class ChildFailed(Exception):
    """The process ended without an answer; `said` is what it left in failure.json, if anything."""

    def __init__(self, message: str, said: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.said = said or {}


def run(module: str, folder: pathlib.Path, seconds: float) -> None:
    """Run `python -m module folder` to its end. Raises ChildFailed."""
    code = _exit_code(module, folder, seconds)
    if code == FAILED:
        said = _said(folder)
        raise ChildFailed(str(said.get("message", "it gave no reason"))[:400], said)
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ChildFailed(f"the model crashed the ONNX runtime ({how})")


def _exit_code(module: str, folder: pathlib.Path, seconds: float) -> int:
    """As subprocess has it: negative for a signal. Nothing that the process started outlives it."""
    command = [sys.executable, "-m", module, str(folder)]
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ} | PROTECTIVE | _ALONE
    process = subprocess.Popen(  # noqa: S603 - our own module, no shell, no user input
        command,
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"the model did not answer within {seconds:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # In a container of its own this is process 1, and -1 are all others in it: also what left its group.
            os.kill(-1, signal.SIGKILL) if os.getpid() == 1 else os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def failed(folder: pathlib.Path, **facts: Any) -> int:
    """For the child: leave what happened, and return the exit code that says so."""
    (folder / FAILURE_FILE).write_text(json.dumps(facts), encoding="utf-8")
    return FAILED


def _said(folder: pathlib.Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, files.NotPlainError, files.TooLargeError):
        said = files.parsed(files.read(folder / FAILURE_FILE, _MOST_BYTES))
        if isinstance(said, dict):
            return said
    return {}
