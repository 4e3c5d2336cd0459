"""`python -m millrace_runtime.training fetch|train|evaluate`.

Exit code 0: the stage is done (`evaluate`: or its verdict is final, good or bad). 1: it ended with an error of its own,
and trying again may help. 2 (`fetch`, `train`): it would end the same way again. 3: the store kept it from its work.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Sequence

from millrace.contract.reasons import Reason
from millrace.contract.record import Record
from millrace.contract.report import EXIT_INFRASTRUCTURE, EXIT_VERDICT, StageFailure, TrainingOutcome, TrainingReport
from millrace_runtime import discretion, secrecy
from millrace_runtime.outcome import StageError, traced, write_termination_message
from millrace_runtime.training import spec

STAGES = {
    "fetch": Reason.FETCH_FAILED,
    "train": Reason.TRAINER_CRASHED,
    "evaluate": Reason.EVALUATION_FAILED,
}
"""The stages in their order, and what a defect in one is called."""


def main(arguments: Sequence[str]) -> int:
    """Run one stage; on failure report a StageFailure, from `evaluate` always a TrainingReport."""
    if len(arguments) != 1 or arguments[0] not in STAGES:
        sys.stderr.write(f"usage: python -m millrace_runtime.training {'|'.join(STAGES)}\n")
        return 64
    stage = arguments[0]
    try:
        done = _run(stage)
    except StageError as error:
        traced(error)
        write_termination_message(_failure(stage, error))
        if error.retry:
            return EXIT_INFRASTRUCTURE
        return 0 if stage == "evaluate" else EXIT_VERDICT
    except Exception as error:  # noqa: BLE001 - the message is all that is left of this container
        traced(error)
        write_termination_message(_failure(stage, StageError(STAGES[stage], f"{_defect(error)}.")))
        return 1
    if done is not None:
        write_termination_message(done)
    return 0


def _run(stage: str) -> Record | None:
    task, volume = spec.read(os.environ), spec.Volume.of(os.environ)
    if stage == "fetch":
        from millrace_runtime.training import fetch

        fetch.fetch(task, volume)
        return None
    if stage == "train":
        from millrace_runtime.training import train

        train.train(task, volume)
        return None
    with tempfile.TemporaryDirectory() as scratch:
        # matplotlib keeps its font list and reads its settings there; what others left is neither.
        os.environ["MPLCONFIGDIR"] = scratch
        from millrace_runtime.training import evaluate

        return evaluate.evaluate(task, volume)


def _defect(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The pod's own disk is full ({discretion.told(error)}). Make room on the node, or use a smaller Dataset"
    return discretion.told(error)


def _failure(stage: str, error: StageError) -> Record:
    if stage == "evaluate":
        return TrainingReport(TrainingOutcome.FAILED, error.reason, error.message)
    return StageFailure(stage, error.reason, error.message)


if __name__ == "__main__":
    # First of all: what runs a stranger's model later runs as this user, and must not read this process.
    secrecy.keep()
    sys.exit(main(sys.argv[1:]))
