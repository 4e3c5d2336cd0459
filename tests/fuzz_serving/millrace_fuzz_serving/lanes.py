"""Connections: what is sent on one, and everything that comes back."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from dataclasses import dataclass

from millrace_fuzz_serving.mutations import Case

ANSWER_SECONDS = 20.0
"""For a request that ends where it says; the server may be busy with sixty others."""
QUIET_SECONDS = 0.15
"""After this long without a byte nothing more is expected for a request that may never end."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """Statuses in their order, and all bytes that came."""

    statuses: tuple[int, ...]
    data: bytes
    refused: bool = False
    """Nobody listened."""

    @property
    def body(self) -> bytes:
        """Of the first answer."""
        return self.data.partition(b"\r\n\r\n")[2]


async def ask(port: int, case: Case) -> Heard:
    """Send it on a connection of its own. Never raises for what the server does."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return Heard((), b"", refused=True)
    _reset_when_closed(writer)
    try:
        writer.write(case.wire)
        data = await (_one(reader, case) if case.framed else _all(reader))
    except OSError:
        data = b""
    finally:
        writer.transport.abort()
    return Heard(tuple(int(found) for found in _STATUS.findall(data)), data)


async def _one(reader: asyncio.StreamReader, case: Case) -> bytes:
    """One answer, or what came of it before the connection was closed."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            size = int(found[1]) if found and not case.wire.startswith(b"HEAD ") else 0
            return head + await reader.readexactly(size)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    except (TimeoutError, asyncio.LimitOverrunError):
        return b""


async def _all(reader: asyncio.StreamReader) -> bytes:
    """Whatever comes until it is quiet, or the connection is closed."""
    parts: list[bytes] = []
    while True:
        try:
            part = await asyncio.wait_for(reader.read(65536), QUIET_SECONDS)
        except (TimeoutError, OSError):
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def _reset_when_closed(writer: asyncio.StreamWriter) -> None:
    """Fifty thousand connections would otherwise wait out their end, and no port be left."""
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
