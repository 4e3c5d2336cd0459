"""Whether another server of this revision takes the traffic, asked by one that was told to stop.

The servers of a revision are found by name, in the cluster's DNS: there is nobody else to ask, and a pod has no way to
the API server. A server that was told to stop as well is no successor, so of two that go at once the last one stays
until a third is ready. If the name is gone, nobody finds this server any more, and there is nothing to wait for.
"""

from __future__ import annotations

import asyncio
import random
import socket
from enum import Enum

import orjson

from millrace.contract.environment import SERVER_READY_PATH, ServerEnvironment
from millrace.contract.router import revision_host

ASKING_SECONDS = 1.0
MOST_ASKED = 8
"""So many at a time, of however many there are."""


class Succession(Enum):
    """Who takes the traffic."""

    NOBODY = "nobody else is ready, or nobody knows"
    READY = "another server is ready and stays"
    GONE = "the servers of this revision have no name, or none any more"


class Peers:
    """The servers of this revision, this one among them."""

    def __init__(self, settings: ServerEnvironment) -> None:
        self._names = tuple(name.strip() for name in settings.peers.split(",") if name.strip())
        self._port = settings.port
        host = revision_host(settings.revision)
        self._request = f"GET {SERVER_READY_PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    async def look(self) -> Succession:
        """Ask them. Never raises, and takes a few seconds at most."""
        if not self._names:
            return Succession.GONE
        try:
            found = await asyncio.gather(*(self._addresses(name) for name in self._names))
        except socket.gaierror as error:
            return Succession.GONE if error.errno == socket.EAI_NONAME else Succession.NOBODY
        except (OSError, TimeoutError, UnicodeError):
            return Succession.NOBODY
        addresses = sorted(set().union(*found))
        asked = random.sample(addresses, min(MOST_ASKED, len(addresses)))
        answers = await asyncio.gather(*(self._stays(address) for address in asked))
        return Succession.READY if any(answers) else Succession.NOBODY

    async def _addresses(self, name: str) -> set[str]:
        async with asyncio.timeout(ASKING_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(name, self._port, type=socket.SOCK_STREAM)
        return {str(address[0]) for *_, address in found}

    async def _stays(self, address: str) -> bool:
        """Whether a server of this revision answers there, takes traffic and was not told to stop."""
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                reader, writer = await asyncio.open_connection(address, self._port)
                try:
                    writer.write(self._request)
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        head, _, body = answer.partition(b"\r\n\r\n")
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            return False
        is_ready = head.partition(b"\r\n")[0].split()[1:2] == [b"200"]
        return is_ready and isinstance(said, dict) and not said.get("draining", False)
