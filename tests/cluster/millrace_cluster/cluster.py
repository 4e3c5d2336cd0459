"""A cluster that tests and the demo can use, whichever kind it is."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Literal

from millrace_cluster.failure import ClusterError

Kind = Literal["embedded", "kind", "own"]


class Kubectl(PosixPath):
    """Path of kubectl that, when called with arguments, runs it on its cluster."""

    kubeconfig: Path

    def __call__(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl. With `check`, a failure raises ClusterError carrying kubectl's own message."""
        command = [str(self), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed", (done.stderr or done.stdout).strip())
        return done


def bind_kubectl(program: Path, kubeconfig: Path) -> Kubectl:
    """The program at `program`, bound to the cluster of `kubeconfig`."""
    bound = Kubectl(program)
    bound.kubeconfig = kubeconfig
    return bound


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A reachable cluster.

    `image_prefix` comes before the names of the project's images ("localhost/" where they are loaded as archives).
    `node_address` is where a NodePort answers from this machine, or None where only port-forward does.
    """

    kind: Kind
    kubeconfig: Path
    kubectl: Kubectl
    image_prefix: str
    node_address: str | None
    _load: Callable[[Path], list[str]] = dataclasses.field(repr=False, compare=False)

    def load_image(self, archive: Path) -> list[str]:
        """Make the images of a docker or OCI archive usable by pods; return their names."""
        if not archive.is_file():
            raise ClusterError(f"there is no image archive {archive}", "", f"ls -l {archive.parent}")
        return self._load(archive.resolve())
