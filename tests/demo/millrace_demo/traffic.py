"""A caller: sends rows at a fixed rate, from intended send times, and counts what came back."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp


@dataclass
class Tally:
    """What a caller saw. `latencies` are seconds from the intended send time."""

    sent: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Requests that did not come back with 200."""
        return sum(self.failures.values())

    def quantile(self, share: float) -> float:
        """Latency at that share, in seconds; 0 without data."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request_of(row: Sequence[float]) -> dict[str, Any]:
    """An OIP v2 request with one row."""
    return {"inputs": [{"name": "numeric", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}]}


class Caller:
    """Sends rows in the background until stopped; `rows` may be replaced at any time.

    With `at_most` requests under way it waits for an answer before it sends the next: a machine too slow for the rate
    then slows it down, instead of making requests wait for each other until they fail.
    """

    def __init__(
        self, url: str, model: str, rows: Sequence[Sequence[float]], rate: float, at_most: int = 1_000_000
    ) -> None:
        self.tally = Tally()
        self.rows: Sequence[Sequence[float]] = rows
        self._url = f"{url}/v2/models/{model}/infer"
        self._rate = rate
        self._free = asyncio.Semaphore(at_most)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="caller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for the answers to what was sent."""
        self._stop.set()
        self._thread.join(timeout=60)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=60)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as group:
            begun = time.perf_counter()
            for number in itertools.count():
                if self._stop.is_set():
                    return
                intended = begun + number / self._rate
                await asyncio.sleep(max(0.0, intended - time.perf_counter()))
                await self._free.acquire()
                row = self.rows[number % len(self.rows)]
                self.tally.sent += 1
                group.create_task(self._send(session, row, intended))

    async def _send(self, session: aiohttp.ClientSession, row: Sequence[float], intended: float) -> None:
        try:
            async with session.post(self._url, json=request_of(row)) as response:
                body = await response.json(content_type=None)
                if response.status == 200:
                    self.tally.answered += 1
                    self.tally.versions[str(body.get("model_version", ""))] += 1
                else:
                    self.tally.failures[f"{response.status} {body}"] += 1
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.tally.failures[f"{type(error).__name__}: {error}"] += 1
        self._free.release()
        self.tally.latencies.append(time.perf_counter() - intended)
