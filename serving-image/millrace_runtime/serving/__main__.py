"""`python -m millrace_runtime.serving fetch|serve`: the init container and the main container of a server pod."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before anything imports onnxruntime, which otherwise reports telemetry.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from millrace.contract import environment, report
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord
from millrace_runtime.serving import log
from millrace_runtime.serving.failure import ServerFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after an orderly end; 1 with a StageFailure in the termination message."""
    parser = argparse.ArgumentParser(prog="python -m millrace_runtime.serving", description=__doc__)
    parser.add_argument("stage", choices=("fetch", "serve"))
    stage = parser.parse_args(arguments).stage
    try:
        settings = environment.ServerEnvironment.from_env(os.environ)
        _fetch(settings) if stage == "fetch" else _serve(settings)
    except ServerFailed as failure:
        return _report(stage, failure.reason, failure.message)
    except MalformedRecord as error:
        return _report(stage, Reason.MALFORMED_REPORT, f"the pod's environment is not usable: {error}")
    return 0


def _fetch(settings: environment.ServerEnvironment) -> None:
    from millrace_runtime.serving import artifact

    size = artifact.fetch(settings)
    log.write("info", "fetched", model=settings.model, uri=settings.model_uri, bytes=size)


def _serve(settings: environment.ServerEnvironment) -> None:
    from millrace_runtime.serving import process

    process.run(settings)


def _report(stage: str, reason: Reason, message: str) -> int:
    failure = report.StageFailure(stage, str(reason), message)
    log.write("error", "failed", stage=stage, reason=str(reason), detail=message)
    path = os.environ.get(environment.TERMINATION_LOG_VARIABLE, environment.TERMINATION_LOG)
    try:
        Path(path).write_text(report.termination_message(failure))
    except OSError as error:
        log.write("warning", "the termination message cannot be written", path=path, error=str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
