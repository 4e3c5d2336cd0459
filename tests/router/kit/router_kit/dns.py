"""A name server on loopback that knows a few names, each of which stands for the addresses of the moment."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Self, cast

A, IN = 1, 1
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183
POINTER = 0xC00C
TTL_SECONDS = 5
"""What CoreDNS says of the names of Services."""

Names = dict[str, Callable[[], list[str]]]


class NameServer(asyncio.DatagramProtocol):
    """An async context manager; `port` is where it listens on 127.0.0.1."""

    def __init__(self) -> None:
        self.names: Names = {}
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, address: tuple[str | Any, int]) -> None:
        """One question; whatever it asks for, only addresses are known."""
        name, end = _question(data)
        (kind,) = struct.unpack("!H", data[end : end + 2])
        known = self.names.get(name)
        found = known() if known is not None and kind == A else []
        head = data[:2] + struct.pack("!HHHHH", ANSWER if known else NO_SUCH_NAME, 1, len(found), 0, 0)
        records = b"".join(
            struct.pack("!HHHIH", POINTER, A, IN, TTL_SECONDS, 4) + socket.inet_aton(one) for one in found
        )
        cast("asyncio.DatagramTransport", self._transport).sendto(head + data[12 : end + 4] + records, address)


def _question(data: bytes) -> tuple[str, int]:
    """The name that is asked for, without its last dot, and where its type begins."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def resolver(port: int) -> dict[str, Any]:
    """What makes a cluster of Envoy ask that name server and no other."""
    kind = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port, "protocol": "UDP"}}
    return {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": f"type.googleapis.com/{kind}",
            "resolvers": [address],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
