"""The one list of Debian packages that anything here needs, each with its reason and how to see that it is there.

Whether a package is there is asked of the machine, not of dpkg: what was installed another way counts too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from millrace_machine import interpreters

# What something is needed for. `wants.py` says which command wants which.
PYTHON = "python"  # the locked environment
CHECKOUT = "checkout"  # tests of the checkout itself: which files it tracks, what an older commit held
PROGRAMS = "programs"  # building the Go programs: Kubernetes, etcd, Helm ...
CONTROL_PLANE = "control plane"  # etcd and kube-apiserver on loopback
NODE = "node"  # the embedded cluster
BUILDER = "builder"  # building images without a Docker engine
BASE = "base image"  # making the base image where none can be pulled
PROMETHEUS = "prometheus"  # the end-to-end test of the dashboard

CNI_PROGRAMS = ("ptp", "host-local", "loopback", "portmap")
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
BUSYBOX = (Path("/bin/busybox"), Path("/usr/bin/busybox"), Path("/usr/lib/busybox/busybox-static"))
AUTHORITIES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
DEBIANS_KEYS = (Path("/usr/share/keyrings/debian-archive-keyring.gpg"),)
ADMINISTRATORS = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


def locate(program: str) -> str | None:
    """Path of a system program, administrators' directories included, or None."""
    return shutil.which(program) or shutil.which(program, path=ADMINISTRATORS)


def cni_directory() -> Path | None:
    """The directory that holds every CNI plugin the node uses, or None."""
    for directory in CNI_DIRECTORIES:
        if all(os.access(str(directory / program), os.X_OK) for program in CNI_PROGRAMS):
            return directory
    return None


def static_busybox() -> Path | None:
    """A busybox that needs no shared library, or None."""
    for path in BUSYBOX:
        if path.is_file():
            with path.open("rb") as program:
                head = program.read(8192)
            if b"/ld-linux" not in head and b"/ld-musl" not in head and b"/ld64" not in head:
                return path
    return None


@dataclass(frozen=True)
class Package:
    """One Debian package. `programs` are those that we call; `found` replaces looking for them."""

    name: str
    reason: str
    wanted_for: frozenset[str]
    programs: tuple[str, ...] = ()
    found: Callable[[], bool] | None = None

    @property
    def there(self) -> bool:
        """Whether the machine has what the package is installed for."""
        return self.found() if self.found else all(locate(program) for program in self.programs)


def _exists(paths: Iterable[Path]) -> bool:
    return any(path.exists() for path in paths)


def _authorities() -> bool:
    return bool(os.environ.get("SSL_CERT_FILE")) or _exists(AUTHORITIES)


PACKAGES = (
    Package("make", "reads the Makefile", frozenset({PYTHON}), ("make",)),
    Package("python3", "runs everything here, 3.11 or newer", frozenset({PYTHON}),
            found=lambda: interpreters.find() is not None),
    Package("python3-venv", "makes .venv", frozenset({PYTHON}), found=interpreters.makes_environments),
    Package("git", "lists what the checkout tracks", frozenset({CHECKOUT}), ("git",)),
    Package("ca-certificates", "lets Go download over HTTPS", frozenset({PROGRAMS}), found=_authorities),
    Package("openssl", "makes the certificates of a control plane", frozenset({CONTROL_PLANE, NODE}), ("openssl",)),
    Package("util-linux", "ends a control plane with its test, makes the node's namespaces",
            frozenset({CONTROL_PLANE, NODE}), ("setpriv", "unshare", "nsenter")),
    Package("runc", "runs the containers", frozenset({NODE}), ("runc",)),
    Package("containernetworking-plugins", "connects the pods", frozenset({NODE}),
            found=lambda: cni_directory() is not None),
    Package("iptables", "is how kube-proxy routes services", frozenset({NODE}),
            ("iptables", "iptables-save", "ip6tables-save")),
    Package("iproute2", "connects the node to the machine", frozenset({NODE}), ("ip",)),
    Package("mount", "mounts inside the node", frozenset({NODE, BUILDER}), ("mount", "umount")),
    Package("busybox-static", "is the sandbox of each pod", frozenset({NODE}),
            found=lambda: static_busybox() is not None),
    Package("buildah", "builds the images without a Docker engine", frozenset({BUILDER}), ("buildah",)),
    Package("debootstrap", "makes the base image where none can be pulled", frozenset({BASE}), ("debootstrap",)),
    Package("debian-archive-keyring", "checks whose packages the base image gets", frozenset({BASE}),
            found=lambda: _exists(DEBIANS_KEYS)),
    Package("prometheus", "asks the dashboard's queries", frozenset({PROMETHEUS}), ("prometheus",)),
)  # fmt: skip
BY_NAME: dict[str, Package] = {package.name: package for package in PACKAGES}


def missing(wants: Iterable[str]) -> list[Package]:
    """The packages that are wanted and not there, in the order of the list."""
    wanted = frozenset(wants)
    return [package for package in PACKAGES if package.wanted_for & wanted and not package.there]


def install_line(names: Iterable[str]) -> str:
    """The one line that somebody who is not root types to have packages; works on a machine that never updated."""
    return "sudo apt-get update && sudo apt-get install -y --no-install-recommends " + " ".join(sorted(names))
