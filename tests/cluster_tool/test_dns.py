"""The CoreDNS that is built here, with the node's own Corefile, against a control plane alone."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_cluster import addresses, binaries, evidence, nodefiles, ports
from millrace_cluster.control_plane import ControlPlane

pytestmark = pytest.mark.apiserver

POD = "10.244.0.7"
ADDRESS, POINTER = 1, 12
NO_SUCH_NAME = 3
SERVICES = f"""
apiVersion: v1
kind: Service
metadata: {{name: api}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{clusterIP: None, ports: [{{port: 5432}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: db-1, labels: {{kubernetes.io/service-name: db}}}}
addressType: IPv4
ports: [{{port: 5432}}]
endpoints: [{{addresses: [{POD}], hostname: db-0, conditions: {{ready: true}}}}]
"""


def ask(port: int, name: str, kind: int = ADDRESS) -> tuple[int, list[bytes]]:
    """The code and the data of the records with which 127.0.0.1:`port` answers (RFC 1035, over UDP)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        client.send(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question)
        answer = client.recv(4096)
    _, flags, _, count, _, _ = struct.unpack_from("!6H", answer)
    records, at = [], 12 + len(question)
    for _ in range(count):
        while 0 < answer[at] < 0xC0:  # a name in full ends with 0, a shortened one with a pointer of two bytes
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        (length,) = struct.unpack_from("!8xH", answer, at)
        records.append(answer[at + 10 : at + 10 + length])
        at += 10 + length
    return flags & 15, records


def addresses_of(port: int, name: str) -> list[str]:
    return [socket.inet_ntoa(record) for record in ask(port, name)[1]]


@contextlib.contextmanager
def answering(plane: ControlPlane, folder: Path) -> Iterator[int]:
    """CoreDNS with the node's Corefile on a port of loopback, once it answers."""
    port, log = ports.free_port(), folder / "coredns.log"
    corefile = nodefiles.coredns(plane.kubeconfig_for("dns")).replace(addresses.NODE_IP, "127.0.0.1")
    (folder / "Corefile").write_text(corefile)
    command = [str(binaries.ensure(["coredns"])["coredns"]), f"-conf={folder / 'Corefile'}", f"-dns.port={port}"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
        evidence.offered(lambda: {"CoreDNS' log": log.read_text()}),
    ):
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                assert process.poll() is None, "CoreDNS ended"
                with contextlib.suppress(OSError):  # also a port unreachable, before it listens
                    if addresses_of(port, "kubernetes.default.svc.cluster.local"):
                        break
                time.sleep(0.05)
            else:
                raise AssertionError("CoreDNS does not know the API server's own Service")
            yield port
        finally:
            process.kill()


def test_names_of_services_pods_and_the_machine_are_answered_and_no_other(tmp_path: Path):
    with ControlPlane(tmp_path / "plane", users={"dns": ["system:masters"]}) as plane:
        plane.kubectl("apply", "-f", "-", stdin=SERVICES)
        service = json.loads(plane.kubectl("get", "service", "api", "-o", "json").stdout)
        with answering(plane, tmp_path) as port:
            assert addresses_of(port, "api.default.svc.cluster.local") == [service["spec"]["clusterIP"]]
            assert addresses_of(port, "db.default.svc.cluster.local") == [POD]
            assert addresses_of(port, "db-0.db.default.svc.cluster.local") == [POD]
            assert addresses_of(port, "10-244-0-7.default.pod.cluster.local") == [POD]
            assert ask(port, "7.0.244.10.in-addr.arpa", POINTER) == (
                0, [b"\4db-0\2db\7default\3svc\7cluster\5local\0"])  # fmt: skip
            assert addresses_of(port, addresses.HOST_ALIAS) == [addresses.HOST_IP]
            assert ask(port, "absent.default.svc.cluster.local") == (NO_SUCH_NAME, [])
            assert ask(port, "pypi.example") == (NO_SUCH_NAME, [])
