"""How a stage ends: a named reason for people and for the operator, never a traceback."""

from __future__ import annotations

import logging
import os
import pathlib
import sys
from collections.abc import Mapping

from millrace.contract import environment, report, task
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord, Record
from millrace_runtime import discretion, store, verbosity


class StageError(Exception):
    """Something the user can act on. `retry` says that the same work may succeed later without any change."""

    def __init__(self, reason: Reason, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry


class TaskError(StageError):
    """The task the operator wrote is not one this image understands: the two are of different versions."""

    def __init__(self, message: str) -> None:
        text = f"{environment.SPEC}: {message}. The operator and the trainer image are of different versions."
        super().__init__(Reason.MALFORMED_REPORT, text)


def task_text(environ: Mapping[str, str]) -> str:
    """The task's JSON: from the file that the kubelet wrote, or from MILLRACE_SPEC. Raises TaskError."""
    if environment.SPEC in environ:
        return environ[environment.SPEC]
    path = pathlib.Path(environ.get(task.VARIABLE, f"{task.DIRECTORY}/{task.FILE}"))
    try:
        return task.unpack(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TaskError(f"not set, and there is no {path}") from error
    except (OSError, UnicodeError, MalformedRecord) as error:
        raise TaskError(f"{path} cannot be read: {error}") from error


def store_error(error: store.StoreError, missing: Reason, whose: str) -> StageError:
    """Name a StoreError; `whose` says which credentials were used, `missing` what an absent object means."""
    text = f"{error}".rstrip(".")
    if isinstance(error, store.StoreMissing):
        return StageError(missing, f"{text}.")
    if isinstance(error, store.StoreDenied):
        return StageError(Reason.STORE_DENIED, f"{text}. Check the keys in {whose}.")
    return StageError(Reason.STORE_UNAVAILABLE, f"{text}.", retry=True)


def last_line(error: BaseException, limit: int = 400) -> str:
    """`ValueError: what it said`, one line, without the traceback: only of what is given no value that is not said."""
    said = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    name = type(error).__name__
    return f"{name}: {said[-1]}"[:limit] if said else name


def write_termination_message(record: Record) -> None:
    """Write the record where the kubelet picks it up; a path that cannot be written is only reported on stdout."""
    path = pathlib.Path(os.environ.get(environment.TERMINATION_LOG_VARIABLE, environment.TERMINATION_LOG))
    message = report.termination_message(record)
    say(message, logging.CRITICAL)  # the outcome is always said
    try:
        path.write_text(message, encoding="utf-8")
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}", logging.ERROR)


def say(text: str, level: int = logging.INFO) -> None:
    """One line on stdout, the container's log, where MILLRACE_LOG_LEVEL lets it through; INFO is progress."""
    if verbosity.shows(level):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def traced(error: BaseException) -> None:
    """Where a defect came from, for those who ask for DEBUG."""
    if verbosity.shows(logging.DEBUG):
        say(discretion.traced(error), logging.DEBUG)
