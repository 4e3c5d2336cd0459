"""One tier while it runs: its steps in a process group of their own, everything they print kept in a file."""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace_tiers import output
from millrace_tiers.table import ROOT, Step, Tier

GRACE = ((signal.SIGINT, 30.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
"""What a tier that must end is sent, and how many seconds it is waited for: as Ctrl-C at a terminal, then harder."""

NOT_FOUND, SIGNALLED = 127, 128
"""Exit codes as a shell has them: no such program; and, with the signal's number added, ended by a signal."""


class Running:
    """A tier that was started; `done` is set when it ended, by itself or because it was stopped.

    Its files: `<name>.log`, everything it printed, and `<name>.failures`, which pytest writes when a test failed.
    """

    def __init__(
        self, tier: Tier, folder: Path, arguments: Sequence[str] = (), listener: Callable[[str], object] | None = None
    ) -> None:
        """A `listener` is told everything at once, and the tier then sees a terminal where we have one.

        Without one it runs beside others, and gives way to them as its `nice` says.
        """
        self.tier = tier
        self.log = folder / f"{tier.name}.log"
        self.failures = folder / f"{tier.name}.failures"
        self.step = tier.steps[0]
        self.code = 0
        self.stopped = False
        self.done = threading.Event()
        self._arguments = tuple(arguments)
        self._listener = listener
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._step_began_at = 0
        self._began = time.monotonic()
        self._ended: float | None = None

    @property
    def live(self) -> bool:
        """Whether what it prints is shown while it comes."""
        return self._listener is not None

    @property
    def seconds(self) -> float:
        """Since it was started, until it ended."""
        return (self._ended or time.monotonic()) - self._began

    def start(self) -> None:
        """Begin; returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.failures.unlink(missing_ok=True)
        threading.Thread(target=self._run, name=self.tier.name, daemon=True).start()

    def stop(self) -> None:
        """End it, gently first; returns when it has ended."""
        with self._lock:
            if self.done.is_set():
                return
            self.stopped = True
        for number, patience in GRACE:
            with self._lock, contextlib.suppress(ProcessLookupError):
                if self._process is not None and not self.done.is_set():
                    os.killpg(self._process.pid, number)
            if self.done.wait(patience):
                return

    def printed_by_last_step(self) -> bytes:
        """What the step that it ended in has printed."""
        with self.log.open("rb") as log:
            log.seek(self._step_began_at)
            return log.read()

    def _run(self) -> None:
        for step in self.tier.steps:
            self.code = self._take(step)
            if self.code or self.stopped:
                break
        self._ended = time.monotonic()
        with self._lock:
            self.done.set()

    def _take(self, step: Step) -> int:
        self.step = step
        if len(self.tier.steps) > 1:
            self._tell(f"-- {step.title}\n".encode())
        self._step_began_at = self.log.stat().st_size
        command = [*resolved(step.command), *(self._arguments if step is self.tier.steps[-1] else ())]
        if self.tier.nice and not self.live:
            command = [*resolved(["nice", "-n", str(self.tier.nice)]), *command]
        ours, theirs = output.opened(terminal=self._listener is not None and sys.stdout.isatty())
        try:
            with self._lock:
                if self.stopped:
                    return 1
                self._process = process = subprocess.Popen(
                    command, cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                    start_new_session=True)  # fmt: skip
        except OSError as error:
            self._tell(f"{step.command[0]}: {error.strerror}\n".encode())
            return NOT_FOUND
        finally:
            os.close(theirs)
        for chunk in output.chunks(ours, lambda: process.poll() is not None):
            self._tell(chunk)
        os.close(ours)
        code = process.wait()
        return code if code >= 0 else SIGNALLED - code

    def _environment(self) -> dict[str, str]:
        ours = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1", "MILLRACE_FAILURES": str(self.failures)}
        return {**os.environ, **ours, **self.tier.environment}

    def _tell(self, chunk: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(chunk)
        if self._listener:
            self._listener(self._decoder.decode(chunk))


def resolved(command: Sequence[str]) -> list[str]:
    """The command with its program as a path: of the environment that runs this, else of the machine."""
    beside = Path(sys.executable).with_name(command[0])
    return [str(beside) if beside.exists() else shutil.which(command[0]) or command[0], *command[1:]]
