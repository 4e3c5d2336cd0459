"""One HTTP exchange after another with the server under test."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.conformance.case import Failed

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as strict JSON: NaN and Infinity are none. Raises Failed."""
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except ValueError as error:
            raise Failed(f"expected JSON, got {self.body[:60]!r} ({error})") from error

    def object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Failed."""
        found = self.json()
        if not isinstance(found, dict):
            raise Failed(f"expected a JSON object, got {self.body[:60]!r}")
        return found


class Exchange:
    """Requests to one base URL; a connection for each, so that no answer can be another request's."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        """Raises ValueError for a URL that is not http or https."""
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected http://HOST[:PORT] or https://HOST[:PORT], got {url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = dict(headers)
        self._timeout = timeout

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``path`` without a leading slash. Raises Failed when there is no answer."""
        connection = self._connection()
        try:
            connection.request(method, f"{self._prefix}/{path}", body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"expected an answer, got {type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
