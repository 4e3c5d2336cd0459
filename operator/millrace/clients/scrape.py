"""HTTP GET of pods: short, small, many at a time. Answers of pods are not trusted: time, size and text are bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

import aiohttp
import yarl

from millrace.errors import MillraceError

TIMEOUT_SECONDS: Final = 2.0
LARGEST_BYTES: Final = 16 * 1024 * 1024
"""A server of 2,000 features whose names are as long as names may be stays below."""
AT_A_TIME: Final = 16


class ScrapeFailed(MillraceError):
    """A pod did not answer, answered an error, or answered too much."""


class Fetch(Protocol):
    """GET `http://host:port` + path (already encoded); the body as text. Raises ScrapeFailed."""

    async def __call__(self, host: str, port: int, path: str) -> str: ...


@contextlib.asynccontextmanager
async def opened(seconds: float = TIMEOUT_SECONDS, largest: int = LARGEST_BYTES) -> AsyncIterator[Fetch]:
    """A Fetch that keeps connections for the time of the context and asks at most `AT_A_TIME` pods at once."""
    slots = asyncio.Semaphore(AT_A_TIME)
    limits = aiohttp.ClientTimeout(total=seconds)
    connector = aiohttp.TCPConnector(limit=AT_A_TIME, keepalive_timeout=20)
    async with aiohttp.ClientSession(
        connector=connector, timeout=limits, headers={"User-Agent": "millrace"}
    ) as session:

        async def fetch(host: str, port: int, path: str) -> str:
            address = f"[{host}]" if ":" in host else host
            url = yarl.URL(f"http://{address}:{port}{path}", encoded=True)
            async with slots:
                return await _get(session, url, largest)

        yield fetch


async def _get(session: aiohttp.ClientSession, url: yarl.URL, largest: int) -> str:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ScrapeFailed(f"{url} answered {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > largest:
                    raise ScrapeFailed(f"{url} answered more than {largest} bytes")
            return body.decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ScrapeFailed(f"{url}: {str(error) or type(error).__name__}") from error
