"""Ports that nobody takes between being chosen and being listened on."""

from __future__ import annotations

import socket
from pathlib import Path

from millrace_cluster import ports


def test_no_outgoing_connection_can_be_given_a_port_that_was_chosen() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not set(ports.free_ports(50)) & set(range(low, high + 1))


def test_a_port_is_given_once() -> None:
    given = [*ports.free_ports(200), ports.free_port()]
    assert len(set(given)) == 201


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch) -> None:
    taken, free = ports.free_ports(2)
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "CANDIDATES", (taken, free))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        assert ports.free_port() == free
