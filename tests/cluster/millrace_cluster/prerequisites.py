"""What the embedded cluster needs of the machine, checked before anything is changed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from millrace_cluster.failure import ClusterError

_PROGRAMS = {"runc": "runc", "iptables": "iptables", "ip": "iproute2", "unshare": "util-linux",
             "nsenter": "util-linux", "mount": "mount", "openssl": "openssl"}  # fmt: skip
_CNI_PROGRAMS = ("ptp", "host-local", "loopback", "portmap")
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_BUSYBOX = (Path("/bin/busybox"), Path("/usr/bin/busybox"), Path("/usr/lib/busybox/busybox-static"))
_SEARCH = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


def locate(program: str) -> str | None:
    """Path of a system program, administrators' directories included, or None."""
    return shutil.which(program) or shutil.which(program, path=_SEARCH)


def cni_directory() -> Path | None:
    """The directory that holds every CNI plugin the node uses, or None."""
    for directory in _CNI_DIRECTORIES:
        if all(os.access(directory / program, os.X_OK) for program in _CNI_PROGRAMS):
            return directory
    return None


def static_busybox() -> Path | None:
    """A busybox that needs no shared library, or None."""
    for path in _BUSYBOX:
        if path.is_file():
            head = path.read_bytes()[:8192]
            if b"/ld-linux" not in head and b"/ld-musl" not in head and b"/ld64" not in head:
                return path
    return None


def missing_packages() -> list[str]:
    """Debian packages to install before the embedded cluster can run."""
    packages = [package for program, package in _PROGRAMS.items() if not locate(program)]
    if not cni_directory():
        packages.append("containernetworking-plugins")
    if not static_busybox():
        packages.append("busybox-static")
    return sorted(set(packages))


def check() -> None:
    """Raise ClusterError (exit code 2) saying what is lacking and the one command that supplies it."""
    other = "or give a cluster of your own: MILLRACE_CLUSTER=kubeconfig MILLRACE_KUBECONFIG=<file>"
    if platform.system() != "Linux":
        raise ClusterError("the embedded cluster runs on Linux only", f"this is {platform.system()}",
                           f"start Docker, {other}", exit_code=2)  # fmt: skip
    packages = missing_packages()
    if packages:
        raise ClusterError("the embedded cluster lacks programs of this machine", " ".join(packages),
                           f"sudo apt-get install -y {' '.join(packages)}", exit_code=2)  # fmt: skip
    if os.geteuid() != 0:
        raise ClusterError("the embedded cluster needs root", "it makes namespaces, mounts and control groups",
                           f"run the same command with sudo, {other}", exit_code=2)  # fmt: skip
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    if probe.returncode:
        raise ClusterError("this machine does not allow namespaces", probe.stderr.strip(),
                           f"run on a machine (or a privileged container) that does, {other}", exit_code=2)  # fmt: skip
