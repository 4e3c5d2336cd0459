"""The API server as a user sees it: raw answers, any user by impersonation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from millrace.clients.credentials import Credentials

from .schema import PLURALS, Manifest

CONNECTIONS = 24
SECONDS = 60.0
TRIES = 3


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    code: int
    body: Manifest

    @property
    def ok(self) -> bool:
        return self.code < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Api:
    """One administrator's connection. Use as an async context manager."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._credentials.ssl_context()),
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            headers={"Authorization": f"Bearer {self._credentials.token()}"},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        user: str = "",
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, by the administrator or by another `user` with the same powers.

        A broken connection or a 429 is tried again: a repeated create may find what the first one made.
        """
        headers = {"Content-Type": content}
        pairs = [*headers.items()]
        if user:
            pairs += [("Impersonate-User", user), ("Impersonate-Group", "system:masters")]
        data = None if body is None else json.dumps(body)
        for attempt in range(TRIES):
            try:
                answer = await self._once(method, path, data, pairs, params or {})
            except (aiohttp.ClientError, TimeoutError):
                if attempt == TRIES - 1:
                    raise
            else:
                if answer.code not in (429, 503) or attempt == TRIES - 1:
                    return answer
            await asyncio.sleep(0.5)
        raise AssertionError("unreachable")

    async def _once(
        self, method: str, path: str, data: str | None, headers: list[tuple[str, str]], params: Mapping[str, str]
    ) -> Answer:
        assert self._session is not None
        self.sent += 1
        url = self._credentials.server + path
        async with self._session.request(method, url, data=data, headers=headers, params=params) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text or "{}"))


def collection(kind: str, namespace: str) -> str:
    """REST path of the objects of one of our kinds."""
    return f"/apis/millrace.dev/v1alpha1/namespaces/{namespace}/{PLURALS[kind]}"
