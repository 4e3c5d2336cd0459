"""Everything a node finds under its state directory when it starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from millrace_cluster import (
    addresses,
    binaries,
    certificates,
    daemons,
    images,
    kubeconfig,
    nodefiles,
    prerequisites,
    volumes,
)
from millrace_cluster.failure import ClusterError

CONTAINERD_SOCKET = nodefiles.CONTAINERD_SOCKET
# As the node sees it; on the machine it lies below the state directory.
VOLUMES = Path("/var/lib/millrace-volumes")
_MASKED = ("/var/lib", "/var/log", "/run")


def on_host(state: Path, masked: str) -> Path:
    """Where a directory the node has for itself lies on the machine."""
    return state / "node" / masked.strip("/").replace("/", "-")


def volumes_on_host(state: Path) -> Path:
    """The directory of the volumes as the machine sees it."""
    return on_host(state, "/var/lib") / VOLUMES.name


def enter_command(node_pid: int, *command: str) -> list[str]:
    """`command`, run inside the node."""
    return ["nsenter", f"--target={node_pid}", "--mount", "--net", "--pid", "--uts", "--ipc", "--", *command]


def import_command(state: Path, node_pid: int, archive: Path) -> list[str]:
    """The command that imports an image archive into the node's containerd.

    It reads the archive itself (`--local`), which costs half of sending it through containerd's transfer service.
    """
    client = [str(binaries.path_of("ctr")), f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io"]
    choice = f"--snapshotter={choose_snapshotter(state)}"
    return enter_command(node_pid, *client, "images", "import", "--local", choice, str(archive))


def write(state: Path, programs: dict[str, Path], port: int) -> None:
    """Write certificates, configuration and the plan `machine` follows."""
    files, pki = state / "files", state / "pki"
    for directory in (files, pki, files / "cni", files / "plugins", state / "logs"):
        directory.mkdir(parents=True)
    for masked in _MASKED:
        on_host(state, masked).mkdir(parents=True)
    for private in (state / "node", pki):
        private.chmod(0o700)
    volumes.make_directories(volumes_on_host(state))
    _write_credentials(state, files, pki, port)
    _write_files(files, pki, state)
    plan = {
        "hostname": addresses.NODE_NAME,
        "link": addresses.NODE_LINK,
        "address": f"{addresses.NODE_IP}/30",
        "services": addresses.SERVICE_RANGE,
        "api": f"https://{addresses.NODE_IP}:{addresses.API_PORT}",
        "authority": str(pki / "ca.crt"),
        "client": [str(pki / "admin.crt"), str(pki / "admin.key")],
        "programs": str(programs["containerd"].parent),
        "masks": {masked: str(on_host(state, masked)) for masked in _MASKED},
        "kept": sorted({str(binaries.cache()), str(Path(__file__).resolve().parents[3]), sys.prefix, sys.base_prefix}),
        "files": {"/etc/hosts": str(files / "hosts")},
        "daemons": daemons.list_daemons(programs, state),
    }
    (state / "plan.json").write_text(json.dumps(plan, indent=1))


def _write_credentials(state: Path, files: Path, pki: Path, port: int) -> None:
    authority = certificates.Authority(pki)
    certificates.make_token_key(pki / "tokens.key")
    authority.issue("apiserver", "/CN=kube-apiserver", (
        "IP:127.0.0.1", f"IP:{addresses.NODE_IP}", f"IP:{addresses.API_SERVICE_IP}", "DNS:localhost", "DNS:kubernetes",
        "DNS:kubernetes.default", "DNS:kubernetes.default.svc",
        f"DNS:kubernetes.default.svc.{addresses.DNS_DOMAIN}"))  # fmt: skip
    inside = f"https://{addresses.NODE_IP}:{addresses.API_PORT}"
    subjects = {
        "admin": "/O=system:masters/CN=millrace-admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "kubelet": f"/O=system:nodes/CN=system:node:{addresses.NODE_NAME}",
        "kube-proxy": "/CN=system:kube-proxy",
        "dns": "/O=system:masters/CN=millrace-dns",
    }
    for name, subject in subjects.items():
        credential = kubeconfig.certificate_user(*authority.issue(name, subject))
        kubeconfig.write(files / f"{name}.kubeconfig", inside, authority.certificate, {name: credential})
        if name == "admin":
            outside = f"https://127.0.0.1:{port}"
            kubeconfig.write(state / "kubeconfig", outside, authority.certificate, {"admin": credential})


def _write_files(files: Path, pki: Path, state: Path) -> None:
    plugins, busybox = prerequisites.cni_directory(), prerequisites.static_busybox()
    runc = prerequisites.locate("runc")
    if not (plugins and busybox and runc):
        raise ClusterError("a program the node needs has just been removed", "", "python tests/cluster up", exit_code=2)
    (files / "containerd.toml").write_text(
        nodefiles.containerd(plugins, files / "cni", runc, choose_snapshotter(state)))  # fmt: skip
    (files / "cni" / "10-millrace.conflist").write_text(nodefiles.cni())
    (files / "kubelet.json").write_text(nodefiles.kubelet(pki / "ca.crt", files / "resolv.conf", files / "plugins"))
    (files / "kube-proxy.json").write_text(nodefiles.kube_proxy(files / "kube-proxy.kubeconfig"))
    (files / "Corefile").write_text(nodefiles.coredns(files / "dns.kubeconfig"))
    (files / "resolv.conf").write_text(f"nameserver {addresses.NODE_IP}\n")
    (files / "hosts").write_text(
        f"127.0.0.1 localhost\n{addresses.NODE_IP} {addresses.NODE_NAME}\n"
        f"{addresses.HOST_IP} {addresses.HOST_ALIAS}\n")  # fmt: skip
    images.write_busybox(busybox, files / "busybox.tar")


def choose_snapshotter(state: Path) -> str:
    """`overlayfs`, or `native` where the state directory is itself an overlay (as inside a container)."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if state.is_relative_to(target) and len(target) >= len(best[0]):
            best = (target, kind)
    return "native" if best[1] == "overlay" else "overlayfs"
