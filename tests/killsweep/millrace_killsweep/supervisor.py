"""Keeps one operator process alive: starts it, kills it when told, starts it again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from .points import Points
from .proxy import Proxy, Upstream
from .writes import Write

CRASH_PAUSE_SECONDS = 1.0
TLS_SECONDS = 0.25
"""Closed TLS connections say goodbye a moment later; a loop that has ended by then leaves them to the collector."""


class Supervisor:
    """Runs `command` behind a fault proxy of its own until the block ends, on a thread of its own.

    `kubeconfig_of` makes the kubeconfig that the process finds, from the address of its proxy.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        upstream: Upstream,
        points: Points,
        *,
        folder: Path,
        kubeconfig_of: Callable[[str], dict[str, Any]],
    ) -> None:
        self.starts = 0
        self.crashes: list[str] = []
        """Ends of the process that nobody caused."""
        self.log = folder / "operator.log"
        self._command = [*_guard(), *command]
        self._environment = dict(environment)
        self._upstream = upstream
        self._points = points
        self._folder = folder
        self._kubeconfig_of = kubeconfig_of
        self._stopping = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._wake()
        self._thread.join(timeout=60)
        if self._failure is not None:
            raise self._failure

    def check(self) -> None:
        """Raise what ended the supervisor, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            self._failure = error

    async def _run(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stopped.set)

        self._wake = wake
        if self._stopping.is_set():
            return
        with self.log.open("ab") as log:
            while not self._stopping.is_set():
                await self._life(stopped, log)
        await asyncio.sleep(TLS_SECONDS)

    async def _life(self, stopped: asyncio.Event, log: Any) -> None:
        """One process from start to end, behind a proxy that ends with it."""
        life = _Life(self._points)
        async with Proxy(self._upstream, life.after_write) as proxy:
            kubeconfig = self._folder / "kubeconfig"
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(yaml.safe_dump(self._kubeconfig_of(f"http://127.0.0.1:{proxy.port}")))
            self.starts += 1
            log.write(f"-- start {self.starts}\n".encode())
            log.flush()
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**self._environment, "KUBECONFIG": str(kubeconfig)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            life.process = process
            await self._until_it_ends(process, stopped)
        if not life.is_killed and not self._stopping.is_set():
            self.crashes.append(f"start {self.starts} ended by itself with exit code {process.returncode}")
            await asyncio.sleep(CRASH_PAUSE_SECONDS)

    async def _until_it_ends(self, process: asyncio.subprocess.Process, stopped: asyncio.Event) -> None:
        ended, told = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(ended), 10)
            if process.returncode is None:
                process.kill()
            await ended


class _Life:
    """One process and its death."""

    def __init__(self, points: Points) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.is_killed = False
        self._points = points

    async def after_write(self, write: Write) -> bool:
        """Kill the process if the write is a kill point, and wait until it is dead."""
        if not self._points.judge(write):
            return False
        process = self.process
        if process is None or process.returncode is not None:
            return True
        self.is_killed = True
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        return True


def _guard() -> list[str]:
    """Should the sweep itself be killed, the kernel ends its operator with it."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
