"""What is under way, and when it is too much.

A request beyond the limits is turned away before its body is read, or while it is, where its head did not tell the
length. A server that takes more than it can hold fails everybody's requests late; one that says so at once lets the
caller, or the router, try another.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from millrace_runtime.serving.failure import RequestFailed


class Load:
    """Requests that were admitted and not answered yet, and the bytes of their bodies."""

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.requests = 0
        self.bytes = 0

    def admit(self, size: int) -> Admitted:
        """One more request, with the length that its head tells (bytes; 0 if none). Raises RequestFailed(503)."""
        if self.requests >= self._most_requests:
            raise RequestFailed(503, f"busy: {self.requests} requests are under way, and no more are taken")
        self.take(size, self.requests)
        self.requests += 1
        return Admitted(self, size)

    def take(self, size: int, others: int) -> None:
        """So many bytes more; a request without ``others`` may have any number. Raises RequestFailed(503)."""
        if others and self.bytes + size > self._most_bytes:
            raise RequestFailed(503, f"busy: bodies of {self.bytes} bytes are under way, and no more are taken")
        self.bytes += size


class Admitted:
    """One request's share of the load, a context manager."""

    def __init__(self, load: Load, size: int) -> None:
        self._load = load
        self._size = size

    def hold(self, size: int) -> None:
        """Its body has so many bytes, which its head may not have told. Raises RequestFailed(503)."""
        if size > self._size:
            self._load.take(size - self._size, self._load.requests - 1)
            self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._load.requests -= 1
        self._load.bytes -= self._size
