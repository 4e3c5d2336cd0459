"""Loopback ports for the servers that tests start.

A port that the kernel hands out (`bind` to 0) lies in the range of outgoing connections: between the answer and the
server's own `bind` any connection of anybody may take it. These ports lie below that range (Linux: 32768 and up) and
below Kubernetes' NodePorts (30000 and up), and no port is given twice in one process.
"""

from __future__ import annotations

import secrets
import socket

CANDIDATES = range(20_000, 30_000)

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports on which nobody listens on 127.0.0.1 now, never given before by this process."""
    found: list[int] = []
    # Not `random`: Hypothesis seeds it, and two test processes would draw the same ports.
    while len(found) < count:
        port = secrets.choice([port for port in CANDIDATES if port not in _given])
        _given.add(port)
        if _is_free(port):
            found.append(port)
    return found


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
