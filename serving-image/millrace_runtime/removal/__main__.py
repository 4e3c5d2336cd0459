"""`python -m millrace_runtime.removal`: exit code 0 says that the report is final, 1 that trying again may help."""

from __future__ import annotations

import os
import signal
import sys

from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord
from millrace.contract.removal import EraseOutcome, EraseReport, EraseTask
from millrace_runtime import outcome
from millrace_runtime.removal import erase


def main() -> int:
    """Read the task, erase, and write an EraseReport as the termination message."""
    done = erase.Erased()
    try:
        erase.erase(_task(), done)
        report, code = EraseReport(EraseOutcome.ERASED, objects=done.objects, bytes=done.bytes), 0
    except outcome.StageError as error:
        outcome.traced(error)
        report, code = _failed(error.reason, error.message, done), 1 if error.retry else 0
    except Exception as error:  # noqa: BLE001 - the message is all that is left of this container
        outcome.traced(error)
        report, code = _failed(Reason.ERASE_FAILED, f"{outcome.last_line(error)}.", done), 1
    outcome.write_termination_message(report)
    return code


def _task() -> EraseTask:
    try:
        return EraseTask.from_json(outcome.task_text(os.environ))
    except MalformedRecord as error:
        raise outcome.TaskError(str(error)) from error


def _failed(reason: Reason, message: str, done: erase.Erased) -> EraseReport:
    return EraseReport(EraseOutcome.FAILED, reason, message, done.objects, done.bytes)


if __name__ == "__main__":
    # A container's first process without a handler goes on until it is killed: who is told to stop erases no more.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    sys.exit(main())
