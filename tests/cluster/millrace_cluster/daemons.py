"""The node's processes in starting order, as plain command lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from millrace_cluster import addresses


class Daemon(TypedDict):
    """One process: `stage` 0 starts at once, 1 when the API server is ready."""

    name: str
    stage: int
    command: list[str]


def list_daemons(programs: Mapping[str, Path], state: Path) -> list[Daemon]:
    """Command lines of the whole node; files are those `embedded` writes under `state`."""
    files, pki = state / "files", state / "pki"
    stages: list[tuple[str, int, list[str]]] = [
        ("etcd", 0, _etcd(state)),
        ("kube-apiserver", 0, _apiserver(pki)),
        ("containerd", 0, [f"--config={files / 'containerd.toml'}", "--log-level=warn"]),
        ("kubelet", 1, [f"--config={files / 'kubelet.json'}", f"--kubeconfig={files / 'kubelet.kubeconfig'}",
                        f"--hostname-override={addresses.NODE_NAME}", f"--node-ip={addresses.NODE_IP}",
                        "--housekeeping-interval=30s"]),
        ("kube-controller-manager", 1, _controller_manager(files, pki)),
        ("kube-scheduler", 1, _scheduler(files)),
        ("kube-proxy", 1, [f"--config={files / 'kube-proxy.json'}"]),
        ("coredns", 1, [f"-conf={files / 'Corefile'}", "-dns.port=53"]),
    ]  # fmt: skip
    return [Daemon(name=name, stage=stage, command=[str(programs[name]), *flags]) for name, stage, flags in stages]


def _etcd(state: Path) -> list[str]:
    return [f"--data-dir={state / 'etcd'}", "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380",
            # Nothing here outlives the machine, so a write need not reach the disk before it is answered.
            "--unsafe-no-fsync", "--log-level=warn"]  # fmt: skip


def _apiserver(pki: Path) -> list[str]:
    return ["--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0",
            f"--advertise-address={addresses.NODE_IP}", f"--secure-port={addresses.API_PORT}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--client-ca-file={pki / 'ca.crt'}", f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--kubelet-client-certificate={pki / 'admin.crt'}", f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP", f"--service-cluster-ip-range={addresses.SERVICE_RANGE}",
            f"--service-account-issuer=https://kubernetes.default.svc.{addresses.DNS_DOMAIN}",
            f"--service-account-key-file={pki / 'tokens.key'}",
            f"--service-account-signing-key-file={pki / 'tokens.key'}"]  # fmt: skip


def _controller_manager(files: Path, pki: Path) -> list[str]:
    return [f"--kubeconfig={files / 'controller-manager.kubeconfig'}", "--leader-elect=false", "--secure-port=0",
            "--allocate-node-cidrs=true", f"--cluster-cidr={addresses.POD_RANGE}",
            f"--service-cluster-ip-range={addresses.SERVICE_RANGE}", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'tokens.key'}", f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}"]  # fmt: skip


def _scheduler(files: Path) -> list[str]:
    return [f"--kubeconfig={files / 'scheduler.kubeconfig'}", "--leader-elect=false", "--secure-port=0"]
